"""The drill: what it restores, what it says, and that it leaves nothing behind."""

import json
import os
import re
from pathlib import Path

import pytest

from program import Program, patterned
from strongroom.archive.entries import Entry
from strongroom.cli.commands.drill import _as_text, span
from strongroom.commands.drill import Drilled, DrillOptions, _Sample
from strongroom.commands.results import ArchiveInfo
from strongroom.ids import ArchiveId


@pytest.fixture
def filled(sr: Program, src: Path) -> Program:
    for number in range(130):
        folder = src / f"d{number % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"file {number}").write_text(f"content {number}\n" * number)
    (src / "big").write_bytes(patterned(3_000_000))
    (src / "link").symlink_to("big")
    os.link(src / "big", src / "d1" / "big-too")
    for name in ("one", "two", "three", "four"):
        (src / "changing").write_text(name)
        sr("create", f"::{name}", "src").ok()
    return sr


def scratch(program: Program) -> Path:
    made = program.root / "scratch"
    made.mkdir(exist_ok=True)
    return made


def drilled(program: Program, *words: str) -> list[dict[str, object]]:
    place = scratch(program)
    done = program("drill", "--json", "--to", place, *words).ok()
    assert list(place.iterdir()) == []
    archives: list[dict[str, object]] = json.loads(done.out)["archives"]
    return archives


def test_a_sample_of_some_archives(filled: Program) -> None:
    found = drilled(filled, "--files", "50")
    names = [one["archive"] for one in found]
    assert names[:2] == ["four", "one"] and len(set(names)) == 3
    for one in found:
        assert 1 <= one["files"] <= 50 and one["all_files"] == 134  # type: ignore[operator]
        assert one["differences"] == 0
        told: list[float] | None = one["whole_restore_seconds"]  # type: ignore[assignment]
        assert told is None or 0 < told[0] <= told[1]


def test_an_estimate_that_nobody_can_make_is_none(filled: Program) -> None:
    (one,) = drilled(filled, "--full")
    low, high = one["whole_restore_seconds"]  # type: ignore[misc]
    assert low == high == one["seconds"]
    archive = ArchiveInfo(ArchiveId(bytes(32)), 1, "a")
    text = _as_text(Drilled(archive, 1, 300, 10**6, 10**9, 0.06, None, [], {}), full=False, iec=False)
    assert text.splitlines() == [
        "a: 1 of 1000000 files (300 B of 1.00 GB) restored in 0.1 s, all as archived.",
        "    Too little was restored to tell how long the whole archive would take;"
        " --files and --size restore more.",
    ]


def test_the_same_seed_chooses_the_same(filled: Program) -> None:
    def sizes(seed: str) -> list[object]:
        return [one["size"] for one in drilled(filled, "--files", "9", "--archives", "1", "--seed", seed)]

    assert sizes("7") == sizes("7")
    assert len({str(sizes(str(seed))) for seed in range(5)}) > 1


def test_all_of_the_newest_archive(filled: Program) -> None:
    (one,) = drilled(filled, "--full")
    assert one["archive"] == "four"
    assert one["files"] == one["all_files"] == 134
    assert one["size"] == one["all_size"]
    assert [one["archive"] for one in drilled(filled, "::two", "--full")] == ["two"]


def test_bytes_bound_the_sample(filled: Program) -> None:
    for one in drilled(filled, "--size", "1K"):
        assert one["size"] <= 1000 and one["all_size"] > 6_000_000  # type: ignore[operator]


def test_what_is_damaged_is_told(filled: Program) -> None:
    pack = max(filled.repo.glob("packs/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[1_000_000] ^= 1
    pack.write_bytes(content)
    done = filled("drill", "--full", "--to", scratch(filled))
    assert done.code == 1
    assert "not restored as archived" in done.err and "2 not as archived" in done.out
    assert list(scratch(filled).iterdir()) == []


def test_a_damaged_folder_keeps_nothing_else_from_being_drilled(sr: Program, src: Path) -> None:
    (src / "lost").mkdir()
    for number in range(8000):  # its names are bundles of their own
        (src / "lost" / f"{number}-{'x' * 200}").touch()
    (src / "sound").write_text("content")
    sr("create", "-C", "none", "::a", "src").ok()
    (src / "lost").rename(sr.root / "lost")
    sr("create", "::b", "src").ok()
    pack = max(sr.repo.glob("packs/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[len(content) // 3] ^= 1
    pack.write_bytes(content)
    for words in ((), ("--full", "-a", "*")):
        done = sr("drill", "--to", scratch(sr), *words)
        assert done.code == 1 and "src/lost: what" in done.err, done
        assert re.search("^b: .* all as archived[.]$", done.out, re.MULTILINE), done.out
        assert re.search("^a: 1 of 1 .* but 1 folder cannot be read[.]$", done.out, re.MULTILINE), done.out
    out = sr.root / "out"
    done = sr("extract", "--verify", "--to", out, "::a")
    assert done.code == 1 and "src/lost: what" in done.err and (out / "src/sound").read_text() == "content"
    done = sr("compare", "::a", str(out))
    assert done.code == 1 and "src/lost: what the archive has" in done.err and done.out == "", done


def test_an_ordinary_user_drills_without_owners(user: Program) -> None:
    os.mkdir(user.cwd / "src")
    (user.cwd / "src/file").write_text("content")
    os.chown(user.cwd / "src/file", 12345, 12345)
    user("create", "::a", "src").ok()
    done = user("drill", "--to", user.cwd).ok()
    assert done.err == ""
    assert "all as archived" in done.out


@pytest.mark.parametrize(
    "words", [["--files", "0"], ["--archives", "0"], ["--to", "/nowhere"], ["::nothing"], ["-a", "nothing*"]]
)
def test_what_cannot_be_drilled(filled: Program, words: list[str]) -> None:
    done = filled("drill", *words)
    assert done.code == 2 and done.err.count("\n") <= 2


def test_every_file_has_its_chance() -> None:
    """Over many seeds, the first, a middle and the last file are all chosen now and then."""
    import random

    seen: set[bytes] = set()
    entry = Entry(b"x", 0o100644, 0, 0, None, None, 0, 1, b"")
    for seed in range(60):
        sample = _Sample(DrillOptions(files=60), random.Random(seed))
        for number in range(500):
            sample.offer(b"%d" % number, entry)
        assert sample.all_files == 500
        chosen = sample.chosen()
        assert 1 <= len(chosen) <= 60
        seen |= {one.path for one in chosen}
    assert len(seen) == 500


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.2, 0.4, "1 s"),
        (3, 9, "3 to 9 s"),
        (111, 121, "2 min"),
        (20, 240, "1 to 4 min"),
        (3600, 7300, "1.0 to 2.0 h"),
    ],
)
def test_how_long_it_would_take_is_told_in_one_unit(low: float, high: float, words: str) -> None:
    assert span(low, high) == words
