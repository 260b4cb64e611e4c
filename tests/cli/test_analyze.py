"""`analyze` names the folders in which something came, and how much of it was new to the repository."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def growth(run: Run, *words: str) -> dict[str, tuple[int, int, int]]:
    """Of each folder what was added and removed, and how often."""
    done = run("analyze", "--json-lines", *words)
    assert done.code == 0, done
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["stored"] for row in rows] == sorted((row["stored"] for row in rows), reverse=True)
    return {row["path"]: (row["added"], row["removed"], row["files"]) for row in rows}


@pytest.fixture
def series(repository: Run) -> Run:
    for folder in ("src/logs/web", "src/same", "src/moved"):
        Path(folder).mkdir(parents=True)
    Path("src/same/file").write_bytes(os.urandom(1000))
    Path("src/moved/old").write_bytes(os.urandom(100_000))
    Path("src/top").write_text("x")
    for day in range(3):
        Path("src/logs/web/log").write_bytes(os.urandom(50_000))
        if day == 1:
            Path("src/moved/old").rename("src/same/new")
            Path("src/top").unlink()
        assert repository("create", f"::day-{day}", "src").code == 0
    return repository


def test_growth_is_summed_up_by_folder(series: Run) -> None:
    assert growth(series) == {
        "src/logs/web": (100_000, 100_000, 2),
        "src/same": (100_000, 0, 1),
        "src/moved": (0, 100_000, 1),
        "src": (0, 1, 1),
    }
    assert growth(series, "--depth", "2")["src/logs"] == (100_000, 100_000, 2)
    assert growth(series, "--depth", "1").keys() == {"src"}
    assert growth(series, "--last", "2") == {"src/logs/web": (50_000, 50_000, 1)}


def test_what_only_moved_takes_nothing(series: Run) -> None:
    rows = {row["path"]: row for row in map(json.loads, series("analyze", "--json-lines").out.splitlines())}
    assert rows["src/same"]["stored"] == 0 and 100_000 < rows["src/logs/web"]["stored"] < 110_000
    lines = series("analyze", "--most", "1").out.splitlines()
    assert len(lines) == 2 and lines[1].endswith(" src/logs/web")


def test_one_archive_alone_shows_no_growth(series: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done = series("analyze", "--last", "1")
    assert done.code == 2 and len(done.err.splitlines()) == 1
    monkeypatch.setattr("socket.gethostname", lambda: "other")
    assert series("create", "::elsewhere", "src/same").code == 0
    assert growth(series).keys() == {"src/logs/web", "src/same", "src/moved", "src"}
