"""Who holds the server learns no name and no content, and cannot change the past unnoticed."""

import shutil
from pathlib import Path

import pytest

from program import Program, patterned

NAMES = ["payroll-2026.ods", "dr-müller-diagnosis", "nested-folder-name"]
TEXTS = [b"the launch code is 0000 " * 4, b"dear diary, today I stole a pencil", patterned(300_000, 5)]
ARCHIVE, COMMENT = "secret-archive-name", "comment that tells too much"


@pytest.fixture
def filled(sr: Program, src: Path) -> Program:
    (src / NAMES[2]).mkdir()
    (src / NAMES[0]).write_bytes(TEXTS[0])
    (src / NAMES[2] / NAMES[1]).write_bytes(TEXTS[1])
    (src / "random").write_bytes(TEXTS[2])
    (src / "link").symlink_to("/the/target/of/the/link")
    sr("create", "--comment", COMMENT, "--compression", "none", f"::{ARCHIVE}", "src").ok()
    (src / "more").write_bytes(TEXTS[1])
    sr("create", "::second", "src").ok()
    return sr


def everything(repo: Path) -> bytes:
    return b"\n".join(
        str(path).encode() + b"\n" + (path.read_bytes() if path.is_file() else b"")
        for path in sorted(repo.rglob("*"))
    )


def plaintexts() -> list[bytes]:
    words = [*NAMES, ARCHIVE, COMMENT, "second", "/the/target", "strongroom create", "/work", "a secret"]
    return [word.encode() for word in words] + [text[at : at + 16] for text in TEXTS for at in (0, 7)]


def test_no_name_and_no_content_is_in_the_repository(filled: Program) -> None:
    held = everything(filled.repo).replace(str(filled.repo).encode(), b"")
    for word in plaintexts():
        assert word not in held, word
        assert word[::-1] not in held
        assert word.hex().encode() not in held


def test_the_search_would_find_them(filled: Program, src: Path) -> None:
    """In a repository without encryption they are all there."""
    env = {"STRONGROOM_REPO": str(filled.root / "open"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    filled("init", "-e", "none", env=env).ok()
    words = ("--comment", COMMENT, "--compression", "none", f"::{ARCHIVE}", "src")
    filled("create", *words, env=env).ok()
    held = everything(filled.root / "open")
    for word in [*NAMES, ARCHIVE, COMMENT]:
        assert word.encode() in held, word
    assert all(text[:16] in held for text in TEXTS)


def test_the_same_content_looks_different_in_two_repositories(filled: Program) -> None:
    env = {"STRONGROOM_REPO": str(filled.root / "twin")}
    filled("init", "-e", "repokey", env=env).ok()
    filled("create", f"::{ARCHIVE}", "src", env=env).ok()
    names = {path.name for path in filled.repo.rglob("*") if len(path.name) == 64}
    twins = {path.name for path in (filled.root / "twin").rglob("*") if len(path.name) == 64}
    assert names and twins and not names & twins


# --- the past ---


def rolled_back(program: Program, src: Path) -> Path:
    """A copy of the repository before one more archive."""
    old = program.root / "old"
    shutil.copytree(program.repo, old)
    (src / "newest").write_text("x")
    program("create", "::newest", "src").ok()
    return old


@pytest.mark.parametrize("lose_cache", [False, True])
def test_an_older_copy_is_refused_and_the_record_named(filled: Program, src: Path, lose_cache: bool) -> None:
    old = rolled_back(filled, src)
    shutil.rmtree(filled.repo)
    shutil.copytree(old, filled.repo)
    if lose_cache:
        filled.lose_cache()
    for words in (
        ["list"],
        ["create", "::x", "src"],
        ["extract", "::second"],
        ["check"],
        ["delete", "::second"],
    ):
        done = filled(*words, env={"STRONGROOM_EXIT_CODES": "modern"})
        assert done.code == 64, (words, done)
        assert "record 4" in done.sentence()
    assert "newest" not in everything(filled.repo).decode("latin-1")


def test_a_fork_is_refused(filled: Program, src: Path) -> None:
    """The server shows one past to this machine and another to that."""
    old = rolled_back(filled, src)
    other = filled.another("other", STRONGROOM_REPO=str(old))
    other("create", "::of-the-other", "src").ok()
    other("create", "::of-the-other-2", "src").ok()
    shutil.rmtree(filled.repo)
    shutil.copytree(old, filled.repo)
    done = filled("list", env={"STRONGROOM_EXIT_CODES": "modern"})
    assert done.code == 64 and "record 4" in done.sentence()


def test_another_repository_in_the_same_place_is_noticed(filled: Program) -> None:
    other = filled.another("attacker", STRONGROOM_REPO=str(filled.root / "fake"))
    other("init", "-e", "none").ok()
    shutil.rmtree(filled.repo)
    shutil.copytree(filled.root / "fake", filled.repo)
    done = filled("create", "::a", "src")
    assert done.code == 2, done
    assert everything(filled.repo).count(TEXTS[0][:16]) == 0


def records(program: Program) -> list[Path]:
    return sorted((program.repo / "log").iterdir())


@pytest.mark.parametrize("lose", ["cache", "all", "nothing"])
@pytest.mark.parametrize(
    "how",
    ["swap", "remove-middle", "remove-first", "copy-forward", "flip", "foreign", "remove-last", "empty"],
)
def test_forged_removed_and_reordered_records(filled: Program, how: str, lose: str) -> None:
    filled("delete", "::second").ok()
    paths = records(filled)
    blobs = [path.read_bytes() for path in paths]
    assert len(paths) == 4
    if how == "swap":
        paths[2].write_bytes(blobs[3])
        paths[3].write_bytes(blobs[2])
    elif how == "remove-middle":
        paths[2].unlink()
    elif how == "remove-first":
        paths[0].unlink()
    elif how == "remove-last":
        paths[3].unlink()
    elif how == "empty":
        paths[3].write_bytes(b"")
    elif how == "copy-forward":
        paths[3].with_name(f"{5:020d}").write_bytes(blobs[3])
    elif how == "flip":
        changed = bytearray(blobs[2])
        changed[len(changed) // 3] ^= 4
        paths[2].write_bytes(changed)
    else:
        env = {"STRONGROOM_REPO": str(filled.root / "foreign")}
        filled("init", "-e", "repokey", env=env).ok()
        for name in "abc":
            filled("create", f"::{name}", "src", env=env).ok()
        paths[3].write_bytes(sorted((filled.root / "foreign" / "log").iterdir())[3].read_bytes())
    if lose == "cache":
        filled.lose_cache()
    elif lose == "all":
        shutil.rmtree(filled.root / "base")
    refused = [filled(*words) for words in (["check"], ["list"], ["create", "::x", "src"])]
    if how == "remove-last" and lose == "all":
        assert refused[1].code == 0  # nobody who never saw it can know
        return
    if lose == "nothing" and how in ("swap", "remove-middle", "remove-first", "flip"):
        # the cache has verified what came before: the check from the store tells
        assert refused[0].code != 0
        return
    if how in ("remove-middle", "remove-first", "flip", "empty"):
        # it may as well have rotted: reading goes on, and says so; nothing is written
        for done in refused[:2]:
            assert done.code == 1 and "log/" in done.err, done
        refused = refused[2:]
    for done in refused:
        assert done.code == 2, done
        assert "log" in done.sentence().lower()


@pytest.mark.parametrize("place", ["archives", "packs", "index", "refs"])
def test_objects_exchanged_with_each_other_are_noticed(filled: Program, place: str) -> None:
    one, other, *_ = [path for path in sorted((filled.repo / place).rglob("*")) if path.is_file()]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    filled.lose_cache()
    assert filled("check", "--verify-data").code != 0
    out = filled.root / "out"
    out.mkdir()
    done = filled("extract", f"::{ARCHIVE}", cwd=out)
    restored = out / "src" / NAMES[0]
    assert done.code != 0 or restored.read_bytes() == TEXTS[0]
    assert "Internal error" not in done.err and "Traceback" not in done.err


def test_a_planted_key_is_not_used(filled: Program) -> None:
    """A key object that the server made up, for a passphrase that it does not know."""
    other = filled.another("attacker", STRONGROOM_REPO=str(filled.root / "fake"))
    other("init", "-e", "repokey").ok()
    for key in (filled.root / "fake" / "keys").iterdir():
        shutil.copy(key, filled.repo / "keys")
    filled("list").ok()
    filled("create", "::c", "src").ok()
    (filled.repo / "keys" / ("ab" * 32)).write_bytes(b"rubbish")
    done = filled("list")
    assert done.code in (0, 2) and "Internal error" not in done.err
