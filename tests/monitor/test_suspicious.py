"""Encryption and loss are flagged, an upgrade is not: on a real tree, the standard library's."""

import gzip
import os
import py_compile
import re
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from program import Program, end_all, fast_folder, make_program, remove_tree
from strongroom.monitor.thresholds import Points, Thresholds

LIBRARY = Path(sysconfig.get_path("stdlib"))
PACKAGES = ("asyncio", "email", "json", "logging", "http", "importlib", "unittest")


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A tree like a distribution's, in three archives: sources, byte code, libraries, packed documents."""
    root = Path(tempfile.mkdtemp(prefix="strongroom-", dir=fast_folder()))
    program = make_program(root)
    program("init", "--encryption=repokey").ok()
    src = program.cwd / "src"
    for package in PACKAGES:
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(LIBRARY / package, src / "lib" / package, ignore=skip)
    install(src, "1.2")
    for number in range(3):
        (src / "diary").write_text(f"day {number}")
        program("create", f"::day-{number}", "src").ok()
    yield root
    end_all(program)
    remove_tree(root)


@pytest.fixture
def system(program: Program, made: Path) -> Path:
    """A copy of the tree, and of all that belongs to its repository."""
    shutil.copytree(made, program.root, dirs_exist_ok=True)
    program.env["STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK"] = "yes"
    return program.cwd / "src"


def install(src: Path, version: str) -> None:
    """What a package manager makes of the sources: byte code, a library, change logs."""
    for path in sorted(src.rglob("*.py")):
        py_compile.compile(str(path), str(path.with_suffix(".pyc")), doraise=True)
    (src / f"libsystem.so.{version}").write_bytes(b"\x7fELF" + version.encode() * 40_000)
    info = src / f"system-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Version: {version}\n" * 100)
    with gzip.GzipFile(info / "changelog.gz", "wb", mtime=0) as stream:
        stream.write(b"".join(path.read_bytes() for path in sorted(src.glob("lib/json/*.py"))))


def upgrade(src: Path) -> None:
    """Every source is another one, some are gone, more have come; each is put in place by a rename."""
    for number, path in enumerate(sorted(src.rglob("*.py"))):
        if number % 9 == 0:
            path.unlink()
            path.with_suffix(".pyc").unlink()
            continue
        text = re.sub(r"\bself\b", "this", path.read_text()) + f"\n__version__ = '2.0.{number}'\n"
        new = path.with_name(path.name + ".dpkg-new")
        new.write_text(text)
        if number % 4 == 0:
            path.rename(path.with_name(path.name + ".dpkg-old"))
        new.rename(path)
        if number % 6 == 0:
            path.with_name(f"_added_{path.name}").write_text(text.replace("this", "that"))
    shutil.rmtree(src / "system-1.2.dist-info")
    (src / "libsystem.so.1.2").unlink()
    install(src, "1.3")


def files(src: Path) -> list[Path]:
    return [path for path in sorted(src.rglob("*")) if path.is_file()]


def scramble(src: Path, suffix: str) -> None:
    for path in files(src):
        path.write_bytes(os.urandom(path.stat().st_size))
        if suffix:
            path.rename(path.with_name(path.name + suffix))


def judged(program: Program, *words: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and the newest archive's score."""
    done = program("audit", "--json", "--last", "1", *words)
    assert done.code == done.json["exit_code"], done
    (score,) = done.json["archives"]
    return done.code, score


def codes(score: dict[str, Any]) -> set[str]:
    return {sign["code"] for sign in score["signs"]}


@pytest.mark.parametrize("suffix", [".locked", ""])
def test_an_encrypt_everything_run_is_flagged_with_and_without_a_key(
    program: Program, system: Path, suffix: str
) -> None:
    scramble(system, suffix)
    program("create", "::day-3", "src").ok()
    code, score = judged(program, "--with-key")
    assert code == 1 and score["flagged"] and score["name"] == "day-3" and "scrambled" in codes(score), score
    assert ("renamed" in codes(score)) == bool(suffix)
    code, score = judged(program)
    assert code == 1 and score["flagged"] and score["view"] == "server" and score["name"] is None, score
    done = program("audit", "--with-key")
    assert "day-3 looks suspicious" in done.out and done.out.count("looks suspicious") == 1
    assert "for a person to judge" in done.err


def test_encryption_is_seen_where_nothing_is_compressed(sr: Program, src: Path) -> None:
    """With the key: samples of the content are looked at."""
    shutil.copytree(LIBRARY / "asyncio", src / "asyncio")
    sr("create", "--compression=none", "::day-1", "src").ok()
    for path in files(src):
        path.write_bytes(path.read_bytes() + b"# a new line\n")
    sr("create", "--compression=none", "::day-2", "src").ok()
    assert judged(sr, "--with-key")[0] == 0
    scramble(src, "")
    sr("create", "--compression=none", "::day-3", "src").ok()
    code, score = judged(sr, "--with-key")
    assert code == 1 and score["flagged"] and "scrambled" in codes(score), score


def test_a_distribution_upgrade_is_not_flagged(program: Program, system: Path) -> None:
    upgrade(system)
    program("create", "::day-3", "src").ok()
    for words in (("--with-key",), ()):
        code, score = judged(program, *words)
        assert code == 0 and not score["flagged"], score
        assert codes(score) <= {"churn", "new-bytes"} and "churn" in codes(score), score


def test_loss_without_replacement_and_a_source_that_vanished_are_flagged(
    program: Program, system: Path
) -> None:
    for path in files(system)[::3] + files(system)[1::3]:
        path.unlink()
    program("create", "::day-3", "src").ok()
    for words in (("--with-key",), ()):
        code, score = judged(program, *words)
        assert code == 1 and score["flagged"] and "lost" in codes(score), score
    (program.cwd / "more").mkdir()
    (program.cwd / "more/file").write_text("x")
    program("create", "::day-4", "src", "more").ok()
    shutil.rmtree(program.cwd / "more")
    assert program("create", "::day-5", "src", "more").code == 1
    code, score = judged(program, "--with-key")
    assert code == 1 and score["measures"]["vanished"] == ["more"] and "vanished" in codes(score), score
    program("create", "::day-6", "src").ok()
    assert judged(program, "--with-key")[0] == 0


def test_more_photos_are_no_ransomware(program: Program, system: Path) -> None:
    """Much that does not compress has come; nothing has gone for it."""
    (system / "photos").mkdir()
    for number in range(60):
        (system / f"photos/{number}.jpg").write_bytes(os.urandom(30_000))
    program("create", "::day-3", "src").ok()
    for words in (("--with-key",), ()):
        code, score = judged(program, *words)
        assert code == 0 and not score["flagged"], score


def test_a_person_sets_the_thresholds_and_accepts_what_was_judged(program: Program, system: Path) -> None:
    scramble(system, "")
    program("create", "::day-3", "src").ok()
    archive = judged(program)[1]["id"]
    limits = program.cwd / "limits.toml"
    for text, flagged, accepted in (
        ("flag = 200\n", False, False),
        ("[points]\nscrambled = 0\n", False, False),
        ("scrambled = 1.0\n[points]\nchurn = 60\n", True, False),
        (f'accepted = ["aid:{archive[:16]}"]\n', False, True),
    ):
        limits.write_text(text)
        code, score = judged(program, "--with-key", "--thresholds", str(limits))
        assert (code, score["flagged"], score["accepted"]) == (int(flagged), flagged, accepted), (text, score)
    for text in ("flag = -1", "nonsense = 1", "scrambled = 2.0", "[", 'accepted = ["day-3"]', "flag = 'x'"):
        limits.write_text(text)
        assert str(limits) in program("audit", "--thresholds", str(limits)).sentence()
    assert "nowhere" in program("audit", "--thresholds", "nowhere").sentence()


def test_each_series_has_its_own_predecessors(program: Program, system: Path) -> None:
    """Two sources in turn, each of its own name: neither is the other with everything gone."""
    (program.cwd / "mail").mkdir()
    for number in range(40):
        (program.cwd / f"mail/{number}").write_text(f"letter {number}\n" * 300)
    for number in range(3):
        program("create", f"::mail-{number}", "mail").ok()
        program("create", f"::day-1{number}", "src").ok()
    for words in (("--with-key",), ()):
        done = program("audit", "--json", *words)
        scores = done.json["archives"]
        assert len(scores) == (7 if words else 8)
        flagged = [one for one in scores if one["flagged"]]
        # without names, the first of the mails looks like all the rest gone
        assert len(flagged) <= (0 if words else 1), flagged


def test_requests_for_deletion_are_told_and_the_newest_among_them_is_odd(sr: Program, src: Path) -> None:
    sr("key", "add", "--role=backup", "--no-passphrase", "--output=laptop.key", "::", "laptop").ok()
    laptop = sr.another("laptop", STRONGROOM_PASSPHRASE="unknown")
    laptop("key", "import", "::", "laptop.key").ok()
    for number in range(4):
        (src / "file").write_text(str(number))
        laptop("create", f"::n-{number}", "src").ok()
    laptop("prune", "--keep-last", "1").ok()
    done = sr("audit", "--json")
    (found,) = (one for one in done.json["findings"] if one["code"] == "deletion-requested")
    assert (done.code, found["severity"], found["key"], len(found["archives"])) == (0, "note", "laptop", 3)
    laptop("delete", "::n-3").ok()
    done = sr("audit", "--json")
    (found,) = (one for one in done.json["findings"] if one["code"] == "deletion-requested")
    assert (done.code, found["severity"], len(found["archives"])) == (1, "warning", 4)
    assert "The newest archive is among them" in sr("audit").out


def test_what_administrators_did_is_listed_once(sr: Program, src: Path) -> None:
    sr("create", "::one", "src").ok()
    sr("key", "add", "--role=backup", "--no-passphrase", "--output=x.key", "::", "laptop").ok()
    sr("key", "revoke", "::", "laptop").ok()
    sr("delete", "::one").ok()
    done = sr("audit", "--json").ok()
    assert [one["kind"] for one in done.json["administration"]] == ["key-add", "key-revoke", "delete"]
    assert {(one["key"], one["role"]) for one in done.json["administration"]} == {("admin", "admin")}
    assert "key-add" not in sr("audit").ok().out  # told by the audit before
    sr("undelete", "::one").ok()
    sr("delete", "::one").ok()
    assert "delete of aid:" in sr("audit").ok().out


def test_the_page_shows_the_defaults() -> None:
    page = (Path(__file__).parents[2] / "docs/audit.md").read_text()
    shown = page.split("```toml\n")[1].split("```")[0]
    assert msgspec.toml.decode(shown, type=Thresholds) == Thresholds()
    assert msgspec.toml.decode(shown).keys() == set(Thresholds.__struct_fields__)
    assert msgspec.toml.decode(shown)["points"].keys() == set(Points.__struct_fields__)
