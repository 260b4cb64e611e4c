"""Not a free byte on the client's disk: reading works, and what writes works or says that it cannot."""

import shutil
from pathlib import Path

import pytest

from e2e.test_full_disk import fill
from program import Program, patterned
from programfixtures import Disk
from strongroom.store.local import LocalStore

READING = [
    *(["list"], ["list", "::a"], ["info"], ["info", "::a"], ["extract", "--dry-run", "::a"]),
    *(["check", "--verify-data"], ["audit"], ["find", "src"], ["diff", "::a", "b"], ["du", "::a"]),
]


@pytest.fixture
def full(program: Program, src: Path, small_disk: Disk, known: str) -> Program:
    """All that the program keeps lies on a full disk; the repository and temporary files do not."""
    program.env["STRONGROOM_BASE_DIR"] = str(small_disk("client", "4m") / "base")
    program("init", "--encryption=repokey").ok()
    for number, name in enumerate("ab"):
        (src / name).write_bytes(patterned(20_000, number))
        program("create", f"::{name}", "src").ok()
    base = Path(program.env["STRONGROOM_BASE_DIR"])
    if known == "nothing known":
        shutil.rmtree(base)
    fill(base.parent)
    return program


@pytest.mark.parametrize("known", ["all known", "nothing known"])
def test_reading_works_without_a_free_byte(full: Program, known: str) -> None:
    for words in READING:
        done = full(*words)
        assert done.code == (1 if known == "nothing known" or words == ["audit"] else 0), (words, done)
        assert done.code == 0 or "No space left" in done.err or "no room" in done.out, (words, done)


@pytest.mark.parametrize("known", ["all known"])
@pytest.mark.parametrize("words", [["create", "::c", "src"], ["delete", "::a"], ["rename", "::a", "z"]])
def test_what_was_recorded_is_no_failure_though_it_cannot_be_remembered(
    full: Program, words: list[str], known: str
) -> None:
    assert known
    before = len(list(LocalStore(str(full.repo)).list("log/")))
    done = full(*words)
    recorded = len(list(LocalStore(str(full.repo)).list("log/"))) - before
    assert (done.code, recorded) in ((1, 1), (2, 0)), done
    assert "No space left" in done.err and "Free some space" in done.err
    again = full(*words)
    assert again.code == 2 and "No space left" in again.sentence()  # nothing on top of what is not remembered


@pytest.mark.parametrize("known", ["nothing known"])
def test_nothing_is_written_by_a_machine_that_remembers_nothing(full: Program, known: str) -> None:
    assert known
    before = sorted((full.repo / "log").iterdir())
    for words in (["create", "::c", "src"], ["delete", "::a"], ["prune", "--keep-last", "1"], ["compact"]):
        assert "No space left" in full(*words).sentence()
    assert sorted((full.repo / "log").iterdir()) == before
