import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.archive.platform import data_extents, may_have_holes, write_sparse

MIB = 1 << 20


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def assembled(fd: int, size: int) -> bytes:
    """The file as its extents tell it, each hole as zeros."""
    parts = []
    at = 0
    for offset, length, is_hole in data_extents(fd, size):
        assert offset == at and length > 0
        parts.append(bytes(length) if is_hole else os.pread(fd, length, offset))
        at += length
    return b"".join(parts)


def holes_work(path: Path) -> bool:
    """Whether the file system under the tests can say where holes are."""
    with open(path / "probe", "wb") as probe:
        probe.truncate(MIB)
        try:
            return os.lseek(probe.fileno(), 0, os.SEEK_DATA) != 0
        except OSError as error:
            return error.errno == errno.ENXIO


def test_holes_and_data_are_told_apart(fd: int, tmp_path: Path) -> None:
    os.pwrite(fd, b"x" * 8192, MIB)
    os.pwrite(fd, b"y" * 4096, 3 * MIB)
    os.ftruncate(fd, 4 * MIB)
    extents = list(data_extents(fd, 4 * MIB))
    if holes_work(tmp_path):
        assert extents == [
            (0, MIB, True),
            (MIB, 8192, False),
            (MIB + 8192, 2 * MIB - 8192, True),
            (3 * MIB, 4096, False),
            (3 * MIB + 4096, MIB - 4096, True),
        ]
        assert may_have_holes(os.fstat(fd))
    else:
        assert extents == [(0, 4 * MIB, False)]


def test_a_full_file_is_one_extent_and_an_empty_one_is_none(fd: int) -> None:
    assert list(data_extents(fd, 0)) == []
    os.pwrite(fd, b"x" * 100_000, 0)
    os.fsync(fd)
    assert list(data_extents(fd, 100_000)) == [(0, 100_000, False)]
    assert not may_have_holes(os.fstat(fd))


def test_where_the_file_system_cannot_tell_all_is_data() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError, match="Illegal seek"):
            list(data_extents(reading, 10))
    finally:
        os.close(reading)
        os.close(writing)
    with open("/proc/self/status", "rb") as special:  # seq_file: knows no SEEK_DATA
        assert list(data_extents(special.fileno(), 1000)) == [(0, 1000, False)]


@pytest.mark.parametrize("left", [0, 1, MIB, MIB + 1, 2 * MIB, 2 * MIB + 5])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_file_that_shrinks_ends_where_it_ends(fd: int, left: int, after: int) -> None:
    for at in (0, 2, 4):
        os.pwrite(fd, b"x" * MIB, at * MIB)
    extents = data_extents(fd, 5 * MIB)
    seen = [next(extents) for _ in range(after)]
    os.ftruncate(fd, left)
    seen += list(extents)
    assert [extent.offset for extent in seen] == [sum(e.length for e in seen[:n]) for n in range(len(seen))]
    assert all(extent.offset < left for extent in seen[after:])


def test_a_file_that_grows_is_told_up_to_the_size_asked_for(fd: int) -> None:
    os.ftruncate(fd, MIB)
    extents = data_extents(fd, MIB)
    os.pwrite(fd, b"x" * MIB, MIB)
    os.pwrite(fd, b"x", MIB // 2)
    assert sum(extent.length for extent in extents) == MIB
    assert assembled(fd, MIB)[MIB // 2 : MIB // 2 + 1] == b"x"


runs = st.lists(
    st.tuples(st.integers(0, 3 * 4096), st.sampled_from([b"\0", b"x", b"\0" * 4095 + b"y"])), max_size=8
).map(lambda parts: b"".join((piece * length)[:20_000] for length, piece in parts))


@given(runs, st.integers(0, 5000), st.integers(1, 30_000))
def test_what_is_written_sparse_reads_back_whole(data: bytes, start: int, step: int) -> None:
    with open(os.memfd_create("sparse"), "w+b") as file:
        fd = file.fileno()
        for at in range(0, len(data), step):
            write_sparse(fd, start + at, data[at : at + step])
        os.ftruncate(fd, start + len(data))
        assert assembled(fd, start + len(data)) == bytes(start) + data


def test_zeros_are_not_written(fd: int) -> None:
    data = bytearray(MIB)
    data[300_000] = 1
    assert write_sparse(fd, 0, data) == 4096
    assert write_sparse(fd, MIB, bytes(MIB)) == 0
    os.ftruncate(fd, 2 * MIB)
    os.fsync(fd)
    assert os.fstat(fd).st_blocks * 512 < MIB
    assert os.pread(fd, 2 * MIB, 0) == bytes(data) + bytes(MIB)
