"""A server that shows an old, another or a cut-off log to those who know better."""

import shutil
from pathlib import Path

import pytest

from program import Done, Program


@pytest.fixture
def seen(sr: Program, src: Path) -> Program:
    """With archives `one`, `two`, `three`, all of which this machine has seen; `old` has the first alone."""
    (src / "file").write_text("1")
    sr("create", "::one", "src").ok()
    shutil.copytree(sr.repo, sr.root / "old")
    for name in ("two", "three"):
        (src / "file").write_text(name)
        sr("create", f"::{name}", "src").ok()
    return sr


def put_in_place(program: Program, other: Path) -> None:
    shutil.rmtree(program.repo)
    shutil.copytree(other, program.repo)


def refused(done: Done) -> None:
    sentence = done.sentence()
    assert "rolled back or replaced" in sentence and "Do not write to it" in sentence, sentence


def everything_refused(program: Program) -> None:
    before = {path for path in program.repo.rglob("*") if path.is_file()}
    for words in (("list",), ("create", "::four", "src"), ("extract", "::one"), ("check",)):
        refused(program(*words))
    assert {path for path in program.repo.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("cache", ["kept", "lost"])
def test_an_old_copy_of_the_repository_is_refused(seen: Program, cache: str) -> None:
    put_in_place(seen, seen.root / "old")
    if cache == "lost":
        seen.lose_cache()
    everything_refused(seen)
    assert "part at record 3, of 4 seen" in seen("list").err


@pytest.mark.parametrize("cache", ["kept", "lost"])
def test_a_log_without_its_last_record_is_refused(seen: Program, cache: str) -> None:
    max((seen.repo / "log").iterdir()).unlink()
    if cache == "lost":
        seen.lose_cache()
    everything_refused(seen)


@pytest.mark.parametrize("cache", ["kept", "lost"])
def test_a_fork_is_refused_by_whoever_saw_the_other_branch(seen: Program, src: Path, cache: str) -> None:
    """Every record in it is properly signed: the server let two machines write, each without the other."""
    branch = seen.another("other", STRONGROOM_REPO=str(seen.root / "old"))
    for name in ("other two", "other three", "other four"):
        (src / "file").write_text(name)
        branch("create", f"::{name}", "src").ok()
    put_in_place(seen, seen.root / "old")
    if cache == "lost":
        seen.lose_cache()
    everything_refused(seen)


def test_the_memory_outlives_the_cache_and_a_new_machine_has_none(seen: Program) -> None:
    """The limit: whoever never saw the newer head cannot know of it; one who did can tell them."""
    put_in_place(seen, seen.root / "old")
    stranger = seen.another("stranger")
    assert stranger("list", "--short").ok().out.split() == ["one"]
    base = Path(seen.env["STRONGROOM_BASE_DIR"]) / ".config" / "strongroom" / "security"
    heads = list(base.glob("*/head"))
    assert len(heads) == 1 and b'"seq":4' in heads[0].read_bytes()
    told = Path(stranger.env["STRONGROOM_BASE_DIR"]) / ".config" / "strongroom" / "security"
    shutil.copy(heads[0], told / heads[0].parent.name / "head")
    refused(stranger("list"))
