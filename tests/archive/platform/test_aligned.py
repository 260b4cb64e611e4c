"""Writes past the page cache: the same bytes as any other, and another way where they are refused."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from economy import times
from strongroom.archive.platform import aligned
from strongroom.repository.room import Space
from strongroom.store.direct import BLOCK

RANDOM = random.Random(5).randbytes(64 * BLOCK)


@contextmanager
def opened(path: Path) -> Iterator[tuple[int, int]]:
    """A new file, and a second descriptor past the page cache, or -1."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    folder = os.open(path.parent, os.O_RDONLY)
    direct = aligned.open_direct(fd, folder, os.fsencode(path.name))
    try:
        yield fd, direct
    finally:
        for one in (fd, folder, *([direct] if direct >= 0 else [])):
            os.close(one)
        path.unlink()


@settings(max_examples=times(60), deadline=None)
@given(
    pieces=st.lists(
        st.tuples(st.integers(0, 5 * BLOCK), st.sampled_from([0, 1, 700, BLOCK, 3 * BLOCK + 1])), max_size=8
    )
)
def test_pieces_that_touch_each_other(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int]]
) -> None:
    expected = bytearray()
    space = Space()
    with opened(tmp_path_factory.getbasetemp() / "pieces") as (fd, direct):
        for length, gap in pieces:
            offset = len(expected) + gap
            data = space.view[offset % BLOCK :][:length]
            data[:] = RANDOM[:length]
            aligned.write(fd, direct if direct >= 0 else fd, offset, data)
            if length:
                expected += bytes(gap) + RANDOM[:length]
        assert os.pread(fd, 1 << 20, 0) == expected


def test_a_refusal_goes_the_usual_way(tmp_path: Path) -> None:
    """Off by one in memory: what the kernel refuses is written through the page cache."""
    space = Space()
    data = space.view[1 : 1 + 16 * BLOCK]
    data[:] = RANDOM[: 16 * BLOCK]
    with opened(tmp_path / "off") as (fd, direct):
        if direct < 0:
            pytest.skip("no file system for direct writes here")
        aligned.write(fd, direct, 0, data)
        assert os.pread(fd, 1 << 20, 0) == data


def test_memory_is_no_place_for_it() -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("no tmpfs here")
    with opened(Path(f"/dev/shm/strongroom-aligned-{os.getpid()}")) as (_, direct):
        assert direct == -1


def test_another_file_of_that_name_is_never_written_to(tmp_path: Path) -> None:
    path = tmp_path / "name"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    folder = os.open(tmp_path, os.O_RDONLY)
    (tmp_path / "other").write_bytes(b"precious")
    os.rename(tmp_path / "other", path)
    try:
        assert aligned.open_direct(fd, folder, b"name") == -1
        path.unlink()
        path.symlink_to("/etc/hostname")
        assert aligned.open_direct(fd, folder, b"name") == -1
    finally:
        os.close(fd)
        os.close(folder)
