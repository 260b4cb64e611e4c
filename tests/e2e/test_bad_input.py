"""Whatever is wrong: one sentence, the right exit code, and nothing lost."""

import contextlib
import os
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from program import Program, patterned
from programfixtures import Disk

MODERN = {"STRONGROOM_EXIT_CODES": "modern"}


@pytest.fixture
def kept(sr: Program, src: Path) -> Program:
    """With an archive that must survive."""
    (src / "file").write_text("content")
    (src / "big").write_bytes(patterned(3_000_000))
    sr("create", "::kept", "src").ok()
    return sr


def fails(program: Program, modern: int, *words: str | Path, **how: object) -> str:
    """The sentence of a failure that has this modern code, and 2 without."""
    env = dict(how.pop("env", {}))  # type: ignore[call-overload]
    done = program(*words, env=env, **how)
    assert done.code == 2, done
    sentence = done.sentence()
    again = program(*words, env=env | MODERN, **how)
    assert again.code == modern, again
    return sentence


def still_there(program: Program, **how: object) -> None:
    program("check", "--verify-data").ok()
    out = program.extract("kept")
    assert (out / "src/file").read_text() == "content"
    assert (out / "src/big").read_bytes() == patterned(3_000_000)


def test_a_wrong_passphrase(kept: Program) -> None:
    wrong = {"STRONGROOM_PASSPHRASE": "wrong"}
    for words in (["list"], ["create", "::b", "src"], ["extract", "::kept"], ["delete", "::kept"]):
        assert "passphrase" in fails(kept, 52, *words, env=wrong).lower()
    still_there(kept)


def test_no_passphrase_and_no_terminal(kept: Program) -> None:
    sentence = fails(kept, 50, "list", env={"STRONGROOM_PASSPHRASE": None}, before=os.setsid)
    assert "STRONGROOM_PASSPHRASE" in sentence


def test_a_missing_repository(kept: Program) -> None:
    for words in (["list"], ["create", "::b", "src"], ["check"], ["info"], ["delete", "::kept"]):
        assert "does not exist" in fails(kept, 13, *words, env={"STRONGROOM_REPO": str(kept.root / "no")})
    assert not (kept.root / "no").exists()


@pytest.mark.parametrize("kind", ["empty", "file", "borg", "other", "future"])
def test_a_foreign_repository(kept: Program, kind: str) -> None:
    foreign = kept.root / "foreign"
    if kind == "file":
        foreign.write_text("not a folder")
    else:
        foreign.mkdir()
    if kind == "borg":
        (foreign / "config").write_text("[repository]\nversion = 1\nid = " + "0" * 64 + "\n")
    elif kind == "other":
        (foreign / "config").write_bytes(b"\xff" * 5000)
    elif kind == "future":
        (foreign / "config").write_bytes(b"strongroom repository, format 2\n{}\nff\n")
    code = 48 if kind == "future" else 15
    sentence = fails(kept, code, "list", env={"STRONGROOM_REPO": str(foreign)})
    assert ("Upgrade" in sentence) == (kind == "future")


def test_a_half_made_repository(kept: Program) -> None:
    """`init` that was killed between its steps: it says so, and can be run again."""
    half = {"STRONGROOM_REPO": str(kept.root / "half")}
    kept("init", "-e", "repokey", env=half).ok()
    shutil.rmtree(kept.root / "half" / "log")
    done = kept("list", env=half)
    assert done.code == 2 and "log" in done.sentence()
    shutil.rmtree(kept.root / "half")
    (kept.root / "half" / "keys").mkdir(parents=True)
    for key in (kept.repo / "keys").iterdir():
        shutil.copy(key, kept.root / "half" / "keys")  # a whole key of a repository that never was
    kept("init", "-e", "repokey", env=half).ok()
    kept("create", "::a", "src", env=half).ok()


def test_init_replaces_nothing(kept: Program) -> None:
    fails(kept, 10, "init", "-e", "repokey")
    other = kept.root / "other"
    other.mkdir()
    (other / "precious").write_text("mine")
    fails(kept, 19, "init", "-e", "repokey", env={"STRONGROOM_REPO": str(other)})
    fails(kept, 18, "init", "-e", "repokey", env={"STRONGROOM_REPO": str(kept.root / "a/b/c")})
    assert (other / "precious").read_text() == "mine"
    still_there(kept)


def test_names_of_archives(kept: Program) -> None:
    assert "kept" in fails(kept, 30, "create", "::kept", "src")
    for words in (["list", "::no"], ["extract", "::no"], ["rename", "::no", "x"], ["info", "::no"]):
        assert "no" in fails(kept, 31, *words)
    done = kept("delete", "::no")  # a warning, as Borg has it: the others named are deleted
    assert done.code == 1 and "Archive no not found" in done.err
    fails(kept, 30, "rename", "::kept", "kept")
    still_there(kept)


def test_paths_that_do_not_exist(kept: Program) -> None:
    done = kept("create", "::b", "nothing-here")
    assert done.code == 1 and "nothing-here" in done.err
    done = kept("extract", "::kept", "nothing/here", cwd=kept.root)
    assert done.code == 1 and "nothing/here" in done.err
    still_there(kept)


# --- full disks ---


def test_a_full_disk_under_the_repository(program: Program, src: Path, small_disk: Disk) -> None:
    disk = small_disk("full", "9m")
    program.env["STRONGROOM_REPO"] = str(disk / "repo")
    program("init", "-e", "repokey").ok()
    (src / "file").write_text("content")
    (src / "big").write_bytes(patterned(3_000_000))
    program("create", "::kept", "src").ok()
    (src / "more").write_bytes(patterned(20_000_000, 1))
    assert "space" in fails(program, 14, "create", "::b", "src")
    assert program.names() == ["kept"]
    still_there(program)
    subprocess.run(["mount", "-o", "remount,size=60m", str(disk)], check=True)
    program("create", "::b", "src").ok()
    assert (program.extract("b") / "src/more").read_bytes() == patterned(20_000_000, 1)
    still_there(program)


@pytest.mark.parametrize("room", [0, 4096, 20_000])
def test_no_room_for_the_last_small_objects(program: Program, src: Path, small_disk: Disk, room: int) -> None:
    disk = small_disk("full", "9m")
    program.env["STRONGROOM_REPO"] = str(disk / "repo")
    program("init", "-e", "repokey").ok()
    (src / "file").write_text("content")
    (src / "big").write_bytes(patterned(3_000_000))
    program("create", "::kept", "src").ok()
    (src / "small").write_text("one more")
    status = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(status.f_bavail * status.f_bsize - room))
    for words in (["create", "::b", "src"], ["rename", "::kept", "other"], ["delete", "::kept"]):
        done = program(*words)
        if done.code:
            assert "space" in done.err, done
        else:
            assert room >= 4096
            break
    (disk / "ballast").unlink()
    program("check", "--verify-data").ok()
    program("create", "::c", "src").ok()
    assert (program.extract("c") / "src/small").read_text() == "one more"


@pytest.mark.parametrize("size", ["64k", "200k", "1m"])
def test_a_full_disk_under_the_cache(kept: Program, small_disk: Disk, size: str) -> None:
    for number in range(400):
        (kept.cwd / "src" / f"{number}").mkdir()
        (kept.cwd / "src" / f"{number}" / "f").write_text(str(number) * 50)
    env = {"STRONGROOM_CACHE_DIR": str(small_disk("cache", size))}
    done = kept("create", "::b", "src", env=env)
    if done.code:
        assert done.code == 2 and "Traceback" not in done.err and len(done.err.splitlines()) <= 2, done
        sentence = done.err.splitlines()[-1]  # a warning may precede it, that nothing is remembered
        assert "cache" in sentence or "space" in sentence, sentence
    done = kept("list", env=env)
    assert done.code in (0, 2) and "Internal error" not in done.err
    still_there(kept)
    kept("create", "::c", "src").ok()
    kept.extract("c")


def test_a_full_disk_under_the_security_folder(kept: Program, small_disk: Disk) -> None:
    """The commit is made, what is seen of it cannot be remembered: said, and nothing is lost."""
    disk = small_disk("security", "64k")
    shutil.copytree(kept.root / "base/.config/strongroom/security", disk, dirs_exist_ok=True)
    (disk / "ballast").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096))
    env = {"STRONGROOM_SECURITY_DIR": str(disk)}
    done = kept("create", "::b", "src", env=env)
    assert done.code == 1 and "No space left on this machine to remember" in done.err
    (disk / "ballast").unlink()
    assert kept("list", "--short", env=env).ok().out.split() == ["kept", "b"]
    still_there(kept)


@pytest.mark.parametrize("full", ["cache", "security"])
def test_news_that_a_full_disk_cannot_remember(kept: Program, small_disk: Disk, full: str) -> None:
    """Another machine wrote since: reading goes on and warns, writing ends, and room makes all well."""
    disk = small_disk(full, "24m")
    place = (
        kept.root / "base" / {"cache": ".cache/strongroom", "security": ".config/strongroom/security"}[full]
    )
    variable = f"STRONGROOM_{full.upper()}_DIR"
    env = {variable: str(disk)}
    shutil.copytree(place, disk, dirs_exist_ok=True)
    for database in disk.glob("*/data.mdb"):  # without free pages: what is new needs room
        with lmdb.open(str(database.parent), max_dbs=20) as opened:
            opened.copy(str(kept.root), compact=True)
        shutil.copyfile(kept.root / "data.mdb", database)
    (kept.cwd / "src/more").write_bytes(patterned(500_000, 2))
    kept("create", "::new", "src", env={variable: str(place)}).ok()
    for size in (1 << 20, 4096, 1):
        with contextlib.suppress(OSError), open(disk / f"ballast{size}", "wb", buffering=0) as stream:
            while stream.write(bytes(size)) == size:
                pass
    before = set(Path(tempfile.gettempdir()).glob("strongroom-cache-*"))
    for words in (["list", "--short"], ["info"], ["info", "::new"], ["extract", "::new"], ["check"]):
        done = kept(*words, env=env)
        assert done.code == 1 and "No space left on this machine to remember" in done.err, (words, done)
    assert (kept.cwd / "src/more").read_bytes() == patterned(500_000, 2)
    for words in (["create", "::b", "src"], ["delete", "::new"], ["prune", "--keep-last=1"]):
        assert "No space left on this machine to remember" in fails(kept, 60, *words, env=env)
    assert kept.names() == ["kept", "new"]
    assert set(Path(tempfile.gettempdir()).glob("strongroom-cache-*")) <= before
    for ballast in disk.glob("ballast*"):
        ballast.unlink()
    kept("create", "::b", "src", env=env).ok()
    assert kept("list", "--short", env=env).ok().out.split() == ["kept", "new", "b"]


def test_a_full_disk_under_the_restored_files(kept: Program, small_disk: Disk) -> None:
    disk = small_disk("out", "2m")
    sentence = fails(kept, 14, "extract", "::kept", cwd=disk)
    assert "space" in sentence.lower() and "src/big" in sentence
    still_there(kept)


def test_a_limit_on_file_sizes(kept: Program) -> None:
    out = kept.root / "limited"
    out.mkdir()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    done = kept("extract", "::kept", cwd=out, before=limit)
    assert done.code in (1, 2) and "Traceback" not in done.err and "src/big" in done.err, done
    done = kept("create", "::b", "src", before=limit)
    assert "Internal error" not in done.err and "Traceback" not in done.err, done.err
    still_there(kept)


# --- what may not be written ---


def read_only(path: Path) -> Callable[[], None]:
    words = ["mount", "--bind", str(path), str(path)]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("may not mount")
    subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)
    return lambda: subprocess.run(["umount", "-l", str(path)], check=True) and None


def test_a_read_only_repository_is_read_and_not_written(kept: Program) -> None:
    undo = read_only(kept.repo)
    try:
        kept("list").ok()
        kept("list", "::kept").ok()
        kept("info").ok()
        kept("check").ok()
        kept.extract("kept")
        kept.lose_cache()
        kept("list").ok()
        for words in (["create", "::b", "src"], ["delete", "::kept"], ["rename", "::kept", "x"]):
            assert "ead-only" in fails(kept, 72, *words)
    finally:
        undo()
    still_there(kept)


def test_an_unwritable_cache(user: Program) -> None:
    (user.cwd / "f").write_text("x")
    os.chmod(user.cwd / "f", 0o644)
    user("create", "::kept", "f").ok()
    shutil.rmtree(user.root / "base" / ".cache")
    (user.root / "base" / ".cache").mkdir(mode=0o755)
    for words in (["list"], ["create", "::b", "f"]):
        sentence = fails(user, 60, *words)
        assert "STRONGROOM_CACHE_DIR" in sentence
    assert user.another("other", STRONGROOM_CACHE_DIR=str(user.root / "base/c"))("list").code == 0


def test_an_unwritable_security_folder(user: Program) -> None:
    (user.cwd / "f").write_text("x")
    os.chmod(user.cwd / "f", 0o644)
    user("create", "::kept", "f").ok()
    closed = user.root / "closed"
    closed.mkdir(mode=0o755)
    done = user("list", env={"STRONGROOM_SECURITY_DIR": str(closed)})
    assert done.code == 2 and str(closed) in done.sentence()


def test_an_unreadable_repository(user: Program) -> None:
    os.chmod(user.repo, 0)
    os.chown(user.repo, 0, 0)
    assert "Permission denied" in fails(user, 72, "list")


# --- damage ---


@pytest.mark.parametrize("place", ["packs", "index", "refs", "archives", "log", "keys", "config"])
@pytest.mark.parametrize("how", ["flip", "truncate", "remove"])
def test_damage_is_told_in_a_sentence(kept: Program, place: str, how: str) -> None:
    paths = [kept.repo / "config"] if place == "config" else sorted((kept.repo / place).rglob("*"))
    victim = [path for path in paths if path.is_file()][-1]
    content = bytearray(victim.read_bytes())
    if how == "remove":
        victim.unlink()
    else:
        content[len(content) // 2] ^= 1
        victim.write_bytes(content if how == "flip" else content[: len(content) // 2])
    kept.lose_cache()
    out = kept.root / "out"
    out.mkdir()
    found = False
    for words in (
        ["check", "--verify-data"],
        ["extract", "::kept"],
        ["list", "::kept"],
        ["create", "::b", "src"],
    ):
        done = kept(*words, cwd=kept.cwd if words[0] == "create" else out)
        assert "Traceback" not in done.err and "Internal error" not in done.err, done.err
        found = found or (done.code != 0 and bool(re.search(r"\w{16}|config|record \d", done.err)))
        if words[0] == "check":
            assert done.code != 0, "check found nothing"
    assert found


def test_a_folder_where_an_object_should_be(kept: Program) -> None:
    pack = next(kept.repo.glob("packs/*/*"))
    pack.unlink()
    pack.mkdir()
    kept.lose_cache()
    assert kept("check").code != 0
    done = kept("extract", "::kept", cwd=kept.root)
    assert done.code in (1, 2) and "Internal error" not in done.err


def test_a_lost_pack_costs_its_files_only(kept: Program, src: Path) -> None:
    (src / "later").write_text("of another pack")
    kept("create", "::b", "src").ok()
    packs = sorted(kept.repo.glob("packs/*/*"), key=lambda path: path.stat().st_mtime_ns)
    packs[0].unlink()
    kept.lose_cache()
    out = kept.root / "out"
    out.mkdir()
    done = kept("extract", "::b", cwd=out)
    assert done.code == 1 and "src/big" in done.err and "lost" in done.err
    assert (out / "src/later").read_text() == "of another pack"


@pytest.mark.parametrize(
    "words",
    [
        ["create", f"::{'n' * 4097}", "src"],
        ["create", f"::{'ü' * 2049}", "src"],
        ["rename", "::good", "n" * 4097],
        ["recreate", "::good", "--target", "n" * 4097],
        ["create", "--stdin-name", f"in/{'n' * 1025}", "::new", "-"],
    ],
    ids=lambda words: words[0],
)
def test_a_name_that_no_reader_takes_is_not_written(sr: Program, src: Path, words: list[str]) -> None:
    """Such an archive was written, told as made, and damaged ever after."""
    sr("create", "::good", "src").ok()
    assert re.search(r"4096 bytes|1024 bytes", sr(*words, stdin=b"data").sentence())
    assert sr.names() == ["good"]
    sr("check").ok()
