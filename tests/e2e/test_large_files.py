"""Large files, which are restored past the page cache where the disk's file system takes that."""

import os
import random
from pathlib import Path

import pytest

from program import Program

RANDOM = random.Random(3).randbytes(7_000_001)
WORDS = b" ".join(random.Random(4).choices([b"alpha", b"beta", b"gamma", b"delta"], k=1_300_000))


def fill(src: Path) -> None:
    (src / "random").write_bytes(RANDOM)
    (src / "shifted").write_bytes(b"odd" + RANDOM)  # most chunks lie at two offsets
    (src / "words").write_bytes(WORDS)
    (src / "repeated").write_bytes(RANDOM[:3_000_000] * 3)
    (src / "small").write_bytes(RANDOM[:70_000])
    with (src / "holes").open("wb") as stream:
        for at in (5_000_000, 20_000_000):
            stream.seek(at)
            stream.write(RANDOM[:2_500_000])
        stream.truncate(40_000_000)


def compare(src: Path, place: Path) -> None:
    for path in src.iterdir():
        restored = place / "src" / path.name
        assert restored.read_bytes() == path.read_bytes(), path.name
        assert restored.stat().st_mtime_ns == path.stat().st_mtime_ns
    assert (place / "src/holes").stat().st_blocks * 512 < 12_000_000


@pytest.mark.parametrize("mode", ["repokey", "none"])
@pytest.mark.parametrize("compression", ["zstd", "none", "lz4"])
def test_on_a_disk(program: Program, src: Path, tmp_path: Path, mode: str, compression: str) -> None:
    program("init", f"--encryption={mode}").ok()
    fill(src)
    program("create", "--compression", compression, "::a", "src").ok()
    program("extract", "--to", tmp_path / "out", "--verify", "::a").ok()
    compare(src, tmp_path / "out")


def test_in_memory_and_over_what_is_there(sr: Program, src: Path, tmp_path: Path) -> None:
    fill(src)
    sr("create", "::a", "src").ok()
    compare(src, sr.extract("a"))
    place = tmp_path / "out"
    sr("extract", "--to", place, "::a").ok()
    for name in ("random", "words", "holes"):
        fd = os.open(place / "src" / name, os.O_RDWR)
        os.pwrite(fd, b"spoiled", 5_500_000)
        os.ftruncate(fd, 6_500_000)
        os.close(fd)
    sr("extract", "--to", place, "--continue", "--verify", "::a").ok()
    compare(src, place)
    sr("extract", "--to", place, "::a").ok()
    compare(src, place)
