"""`find`: every version of a path over all archives, by name, path, size, time and content."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
DAY = 86_400


def stamp(path: Path, day: int) -> None:
    os.utime(path, (day * DAY, day * DAY))


@pytest.fixture
def days(repository: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Archives day-1 to day-4 of a folder in which something happens every day."""
    monkeypatch.setenv("TZ", "UTC")
    src = Path("src")
    (src / "docs").mkdir(parents=True)
    (src / "big").write_bytes(b"x" * 2_000_000)
    (src / "gone").write_text("gone")
    (src / "docs/letter.odt").write_text("first")
    stamp(src / "docs/letter.odt", 100)

    def backup(day: int) -> None:
        begun = f"2026-01-0{day}T00:00:00"
        assert repository("create", "--timestamp", begun, f"::day-{day}", "src").code == 0

    backup(1)
    (src / "docs/letter.odt").write_text("second one")
    stamp(src / "docs/letter.odt", 200)
    (src / "gone").unlink()
    backup(2)
    (src / "docs/copy").write_text("first")
    backup(3)
    shutil.rmtree(src / "docs")
    (src / "gone").write_text("gone")
    backup(4)
    return repository


def found(days: Run, *words: str, code: int = 0) -> dict[str, list[tuple[str, str, str | None]]]:
    """Of each path the versions as (first, last, gone)."""
    done = days("find", "--json-lines", *words)
    assert done.code == code, done
    paths = {}
    for line in done.out.splitlines():
        record = json.loads(line)
        paths[record["path"]] = [
            (one["first"]["name"], one["last"]["name"], one["gone"] and one["gone"]["name"])
            for one in record["versions"]
        ]
    return paths


LETTER = [("day-1", "day-1", None), ("day-2", "day-3", "day-4")]


def test_versions_are_told_with_first_last_and_end(days: Run) -> None:
    assert found(days, "letter.odt") == {"src/docs/letter.odt": LETTER}
    assert found(days, "gone")["src/gone"] == [("day-1", "day-1", "day-2"), ("day-4", "day-4", None)]
    assert found(days, "src", "--type", "d")["src"] == [("day-1", "day-4", None)]
    assert found(days, "src/docs") == {
        "src/docs": [("day-1", "day-3", "day-4")],
        "src/docs/letter.odt": LETTER,
        "src/docs/copy": [("day-3", "day-3", "day-4")],
    }


def test_the_text_is_a_line_for_each_version(days: Run) -> None:
    assert days("find", "letter.odt").out.splitlines() == [
        "src/docs/letter.odt",
        "  -rw-r--r--        5 B  1970-04-11 00:00:00  day-1 (1 archive)",
        "  -rw-r--r--       10 B  1970-07-20 00:00:00  day-2 .. day-3 (2 archives, gone in day-4)",
    ]
    assert days("find", "--short", "*.odt").out == "src/docs/letter.odt\n"


def test_patterns_choose_by_name_path_and_style(days: Run) -> None:
    assert found(days, "*.odt", "c?py").keys() == {"src/docs/letter.odt", "src/docs/copy"}
    assert found(days, "re:odt$").keys() == {"src/docs/letter.odt"}
    assert found(days, "sh:**/c*y").keys() == {"src/docs/copy"}
    assert found(days, "pf:src/gone", "big").keys() == {"src/gone", "src/big"}
    assert found(days, "::", "big").keys() == {"src/big"}
    repo = os.environ["STRONGROOM_REPO"]
    assert found(days, repo, "big").keys() == {"src/big"}
    assert found(days, "src/big", "--repo", repo).keys() == {"src/big"}


def test_conditions_choose_among_versions(days: Run) -> None:
    assert found(days, "--size", "1M..").keys() == {"src/big"}
    assert found(days, "--size", "..5", "*.odt") == {"src/docs/letter.odt": LETTER[:1]}
    assert found(days, "--size", "10") == {"src/docs/letter.odt": LETTER[1:]}
    assert found(days, "--changed-before", "1970-06-01").keys() == {"src/docs/letter.odt"}
    assert found(days, "--changed-after", "1970-06-01", "*.odt") == {"src/docs/letter.odt": LETTER[1:]}
    assert found(days, "--type", "d").keys() == {"src", "src/docs"}
    assert found(days, "--gone").keys() == {"src/docs", "src/docs/letter.odt", "src/docs/copy"}
    assert found(days, "gone", "--last", "2") == {"src/gone": [("day-4", "day-4", None)]}
    assert found(days, "gone", "-a", "day-[12]") == {"src/gone": [("day-1", "day-1", "day-2")]}


def test_a_file_is_found_by_its_content_whatever_its_name(days: Run, tmp_path: Path) -> None:
    copy = tmp_path / "unknown"
    copy.write_text("first")
    assert found(days, "--same-as", str(copy)) == {
        "src/docs/letter.odt": LETTER[:1],
        "src/docs/copy": [("day-3", "day-3", "day-4")],
    }
    copy.write_text("First")
    assert found(days, "--same-as", str(copy), code=1) == {}


def test_a_large_file_is_found_however_its_holes_lie(days: Run) -> None:
    for name, dense in (("sparse", False), ("dense", True)):
        with open(name, "wb") as file:
            for at in (0, 3_000_000, 9_000_001):
                file.seek(at)
                file.write(b"data" * 500_000)
            if dense:
                file.seek(2_000_000)
                file.write(bytes(1_000_000))
            file.truncate(20_000_000)
    assert days("create", "::sparse", "sparse").code == 0
    assert days("create", "::dense", "dense").code == 0
    for name in ("sparse", "dense"):
        assert found(days, "--same-as", name).keys() == {"sparse", "dense"}
    with open("dense", "r+b") as file:
        file.seek(19_999_999)
        file.write(b"!")
    assert found(days, "--same-as", "dense", code=1) == {}


def test_machines_are_told_apart(days: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    here = os.uname()
    monkeypatch.setattr("os.uname", lambda: os.uname_result(("Linux", "other", *here[2:])))
    shutil.rmtree("src")
    os.mkdir("src")
    assert days("create", "::other", "src").code == 0
    # another machine's archive says nothing of what this one has
    assert found(days, "big") == {"src/big": [("day-1", "day-4", None)]}
    done = days("find", "--json-lines", "pf:src")
    assert len({json.loads(line)["hostname"] for line in done.out.splitlines()}) == 2


def test_nothing_found_and_nothing_asked_are_told(days: Run) -> None:
    done = days("find", "no such")
    assert (done.code, done.out) == (1, "") and len(done.err.splitlines()) == 1
    for words in ([], ["--size", ".."], ["--size", "x.."], ["--size", "5k..2k"], ["--type", "q"],
                  ["--same-as", "src"], ["--same-as", "no such"], ["re:("]):  # fmt: skip
        done = days("find", *words)
        assert done.code == 2 and done.out == "" and "Traceback" not in done.err, done
