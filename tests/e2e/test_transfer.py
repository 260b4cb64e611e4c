"""Archives brought over into a repository with other keys: equal in all that people restore."""

import os
import shutil
from pathlib import Path

import pytest

from program import Program, patterned
from strongroom.repository import log
from treefacts import differences, facts

OTHER = {"STRONGROOM_OTHER_PASSPHRASE": "of the old one"}


@pytest.fixture
def old(sr: Program, src: Path) -> str:
    """The location of a repository with two archives; `sr`'s own has another passphrase."""
    place = str(sr.root / "old")
    as_old = {"STRONGROOM_PASSPHRASE": OTHER["STRONGROOM_OTHER_PASSPHRASE"]}
    sr("init", "--encryption=repokey", place, env=as_old).ok()
    for name in ("a/one", "a/b/two"):
        (src / name).parent.mkdir(parents=True, exist_ok=True)
        (src / name).write_text(name)
    (src / "big").write_bytes(patterned(7_000_000))
    os.link(src / "big", src / "a/big-too")
    (src / "link").symlink_to("big")
    with open(src / "sparse", "wb") as file:
        file.truncate(9_000_000)
        file.seek(5_000_000)
        file.write(patterned(600_000, seed=2))
    os.setxattr(src / "a/one", "user.note", b"value")
    sr("create", "--sparse", "--comment", "the first", f"{place}::one", "src", env=as_old).ok()
    shutil.copytree(src, sr.root / "first", symlinks=True)
    (src / "later").write_text("later")
    sr("create", f"{place}::two", "src", env=as_old).ok()
    return place


def test_all_archives_come_over_with_all_that_is_in_them(sr: Program, src: Path, old: str) -> None:
    done = sr("transfer", "--list", "--from", old, env=OTHER).ok()
    assert done.err.count("Brought over: ") == 2
    assert differences(facts(src), facts(sr.extract("two") / "src")) == []
    first = sr.extract("one", "--sparse") / "src"
    assert not (first / "later").exists()
    assert (first / "sparse").read_bytes() == (src / "sparse").read_bytes()
    assert "Comment: the first" in sr("info", "::one").ok().out
    sr("check", "--verify-data").ok()
    for key in ("{archive} {start} {end} {comment} {hostname} {username}{NL}", "{name} {size} {nfiles}{NL}"):
        before = sr("list", "--format", key, old, env={"STRONGROOM_PASSPHRASE": "of the old one"})
        assert sr("list", "--format", key).out == before.out


def test_the_next_backup_finds_everything_there(sr: Program, old: str) -> None:
    sr("transfer", "--from", old, env=OTHER).ok()
    before = sr.stored()
    sr("create", "::three", "src").ok()
    assert sr.stored() - before < 20_000


def test_nothing_is_done_twice(sr: Program, old: str) -> None:
    sr("transfer", "--from", old, "--first", "1", env=OTHER).ok()
    before = sr.stored()
    done = sr("transfer", "--list", "--from", old, env=OTHER).ok()
    assert "Is there: one" in done.err and "Brought over: two" in done.err
    assert sr.stored() - before < 20_000
    assert sr("transfer", "--list", "--from", old, env=OTHER).ok().err.count("Is there: ") == 2


def test_a_dry_run_changes_nothing(sr: Program, old: str) -> None:
    done = sr("transfer", "-n", "--list", "--from", old, env=OTHER).ok()
    assert done.err.count("Would bring over: ") == 2
    assert sr("list").out == ""


def test_what_was_carried_is_not_believed_once_it_is_gone(sr: Program, src: Path, old: str) -> None:
    sr("transfer", "--from", old, env=OTHER).ok()
    sr("delete", "-a", "*").ok()
    sr("compact", "--quarantine", "0").ok()
    assert sr.stored() == 0
    sr("transfer", "--from", old, env=OTHER).ok()
    assert differences(facts(src), facts(sr.extract("two") / "src")) == []


def test_a_damaged_archive_is_left_out_and_told(sr: Program, old: str) -> None:
    pack = max(Path(old).glob("packs/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[2_000_000] ^= 1
    pack.write_bytes(content)
    done = sr("transfer", "--from", old, env=OTHER)
    assert done.code == 1
    assert "Archive one is not brought over" in done.err and "Archive two is not brought over" in done.err
    assert sr("list").out == ""


@pytest.mark.parametrize("lost", ["one", "two"])
def test_a_log_with_a_gap_gives_all_that_records_vouch_for(
    sr: Program, src: Path, old: str, lost: str
) -> None:
    """The other archive comes over whole, though it rests on packs that the lost record named."""
    kept = {"one": "two", "two": "one"}[lost]
    record = Path(old) / log.name({"one": 2, "two": 3}[lost])
    (sr.root / "restored").mkdir()
    record.chmod(0o600)
    record.write_bytes(b"rubbish" + record.read_bytes()[7:])
    known = {"STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK": "yes", "STRONGROOM_BASE_DIR": str(sr.root / "fresh")}
    sr("init", "--encryption=repokey", "new", env=known).ok()
    done = sr("transfer", "--list", "--from", old, "new", env=OTHER | known)
    assert done.code == 1 and f"log/{record.name}" in done.err
    assert f"Archive {lost} of " in done.err and "is not brought over" in done.err
    assert sr("list", "--short", "new", env=known).ok().out.split() == [kept]
    sr("check", "--verify-data", "new", env=known).ok()
    sr("extract", f"{sr.cwd}/new::{kept}", env=known, cwd=sr.root / "restored").ok()
    restored = sr.root / "restored/src"
    assert (restored / "later").exists() == (kept == "two")
    for name in ("a/one", "a/b/two", "big", "sparse"):
        assert (restored / name).read_bytes() == (src / name).read_bytes()


def test_another_archive_of_the_name_is_no_copy(sr: Program, old: str) -> None:
    sr("create", "::one", "src/a").ok()
    done = sr("transfer", "--from", old, env=OTHER)
    assert done.code == 1 and "another archive of that name" in done.err
    assert len(sr("list").out.splitlines()) == 2


def test_one_repository_is_not_brought_over_to_itself(sr: Program, old: str) -> None:
    done = sr("transfer", "--from", str(sr.repo))
    assert done.code == 2 and "replicate" in done.err
    wrong = sr("transfer", "--from", old, env={"STRONGROOM_OTHER_PASSPHRASE": "wrong"})
    assert wrong.code == 2 and len(wrong.err.splitlines()) == 1
