"""A file of so many chunks that its entry is stored in pieces goes through commands as others do."""

import os
import random
from pathlib import Path

import pytest

from program import Done, Program
from strongroom.archive import long_files

MIB = 1 << 20


@pytest.fixture
def long(sr: Program, src: Path) -> Program:
    """One of 12 chunks or so, and a sparse one, among others; pieces are small."""
    data = random.Random(7).randbytes(12 * MIB)
    (src / "a").write_text("before")
    (src / "long").write_bytes(data)
    with open(src / "sparse", "wb") as stream:
        for number in range(30):
            stream.seek(number * 16384)
            stream.write(b"%04096d" % number)
        stream.truncate(31 * 16384)
    (src / "z").write_text("behind")
    play(sr, "create", "--sparse", "::one", "src")
    with open(src / "long", "r+b") as stream:
        stream.seek(5 * MIB)
        stream.write(b"changed")
    play(sr, "create", "--sparse", "::two", "src")
    return sr


def pieces() -> None:
    long_files.CHUNKS = 3


def play(sr: Program, *words: str | Path) -> Done:
    return sr(*words, before=pieces).ok()


def same(restored: Path, src: Path, *names: str) -> None:
    for name in names or ("a", "long", "sparse", "z"):
        assert (restored / name).read_bytes() == (src / name).read_bytes()
        assert (restored / name).stat().st_mtime_ns == (src / name).stat().st_mtime_ns


def test_it_is_restored_and_checked(long: Program, src: Path) -> None:
    play(long, "check", "--verify-data")
    play(long, "extract", "--sparse", "--to", "out", "::two")
    same(long.cwd / "out/src", src)
    assert (long.cwd / "out/src/sparse").stat().st_blocks * 512 < 31 * 16384
    assert play(long, "cat", "::two", "src/sparse").raw == (src / "sparse").read_bytes()


def test_two_versions_of_it_are_told_apart(long: Program, src: Path) -> None:
    assert [line.split()[-1] for line in play(long, "diff", "::one", "two").out.splitlines()] == ["src/long"]
    assert play(long, "find", "long", "--json").out.count('"size": 12582912') >= 2
    assert "src/long" not in play(long, "compare", "--content", "::two").out
    assert "src/long" in play(long, "compare", "--content", "::one").out


def test_it_comes_through_a_tar_archive_and_another_repository(long: Program, src: Path) -> None:
    play(long, "export-tar", "::two", "x.tar")
    play(long, "import-tar", "::from-tar", "x.tar")
    play(long, "extract", "--to", "from-tar", "::from-tar")
    same(long.cwd / "from-tar/src", src)
    play(long, "recreate", "::two", "--exclude", "src/z")
    old, long.env["STRONGROOM_REPO"] = long.env["STRONGROOM_REPO"], str(long.root / "other")
    play(long, "init", "-e", "repokey")
    play(long, "transfer", "--from", old)
    play(long, "check", "--verify-data")
    play(long, "extract", "--to", "moved", "::two")
    assert not (long.cwd / "moved/src/z").exists()
    same(long.cwd / "moved/src", src, "a", "long", "sparse")


def test_what_was_lost_of_its_refs_is_made_anew(long: Program, src: Path) -> None:
    for block in (long.repo / "refs").glob("*/*"):
        block.unlink()
    long("check", "--repair", before=pieces, env={"STRONGROOM_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES"})
    play(long, "check", "--verify-data")
    assert os.listdir(long.repo / "refs")
