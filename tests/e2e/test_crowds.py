"""A folder of very many entries is backed up as any other, though little of it is kept in memory."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from program import Program, clock_ahead
from strongroom.archive import build, crowd
from strongroom.archive.crowd import Child, Crowd
from treefacts import differences, facts


def small_crowds() -> None:
    """For `before`: a crowd begins with the fourth file."""
    crowd.FROM = 3
    build._ROWS = 4


def aged_crowds() -> None:
    small_crowds()
    clock_ahead()


@pytest.fixture
def many(src: Path) -> Path:
    for number in range(20):
        (src / f"file-{number}").write_text(f"{number}")
        (src / f"folder-{number}").mkdir()
        (src / f"folder-{number}" / "inside").write_text("x")
    (src / "link").symlink_to("file-1")
    os.mkfifo(src / "pipe")
    os.link(src / "file-1", src / "again")
    with open(src / "sparse", "wb") as stream:
        stream.truncate(1 << 20)
        stream.seek(700_000)
        stream.write(b"data")
    return src


def letters(program: Program, name: str, before: Callable[[], None] = aged_crowds) -> dict[str, str]:
    return program("create", "--list", f"::{name}", "src", before=before).ok().letters


def test_a_crowd_is_stored_as_any_other_folder(sr: Program, many: Path) -> None:
    letters(sr, "plain", clock_ahead)
    sr.lose_cache()
    letters(sr, "crowd")
    assert sr("diff", "::plain", "crowd").ok().out == ""
    assert differences(facts(many), facts(sr.extract("crowd") / "src")) == []


def test_what_changed_in_a_crowd_is_read_and_nothing_else(sr: Program, many: Path) -> None:
    letters(sr, "one")
    assert set(letters(sr, "two").values()) <= {"U", "d", "s", "f", "h"}
    (many / "file-7").write_text("changed")
    (many / "new").write_text("new")
    (many / "file-8").unlink()
    found = letters(sr, "three")
    assert {path: letter for path, letter in found.items() if letter in "AMC"} == {
        "src/file-7": "M",
        "src/new": "A",
    }
    assert differences(facts(many), facts(sr.extract("three") / "src")) == []


def test_patterns_hold_in_a_crowd(sr: Program, many: Path) -> None:
    sr("create", "--exclude", "src/file-1*", "::a", "src", before=small_crowds).ok()
    assert {path for path in sr.paths("a") if path.startswith("src/file-1")} == set()
    assert "src/file-2" in sr.paths("a") and "src/folder-19/inside" in sr.paths("a")


def test_what_vanishes_between_two_looks_is_told_once(tmp_path: Path) -> None:
    names = [b"a", b"b", b"c"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_text("x")
    lost: list[bytes] = []
    crowded = Crowd(names, lambda: os.open(tmp_path, os.O_RDONLY), lambda name, _: lost.append(name))
    assert [name for name, _ in crowded] == names
    (tmp_path / "b").unlink()
    (tmp_path / "c").unlink()
    (tmp_path / "c").mkdir()
    assert [name for name, _ in crowded] == [b"a"] == [name for name, _ in crowded]
    assert lost == [b"b", b"c"] and len(crowded) == 1


def test_a_crowd_whose_folder_vanished_is_empty(tmp_path: Path) -> None:
    lost: list[bytes] = []

    def gone() -> int:
        raise FileNotFoundError(2, "gone")

    crowded = Crowd([b"a"], gone, lambda name, _: lost.append(name))
    assert (list(crowded), lost) == ([], [b""])


def test_the_looks_of_a_crowd_are_not_all_held_at_once(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number:02}").write_text("x")
    crowded = Crowd(
        sorted(os.fsencode(name) for name in os.listdir(tmp_path)),
        lambda: os.open(tmp_path, os.O_RDONLY),
        lambda name, error: None,
    )
    looked: Iterator[Child] = iter(crowded)
    next(looked)
    (tmp_path / "49").write_text("longer")
    *_, last = looked
    assert last[1].st_size == 6
