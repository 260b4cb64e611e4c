"""Packs past the page cache: what is stored never depends on whether the file system plays along."""

import ctypes
import mmap
import os
from pathlib import Path

import pytest

from children import in_child
from strongroom.errors import StoreFull
from strongroom.store.direct import BLOCK, LEAST, write_direct
from strongroom.store.local import LocalStore

PACK = "packs/ab/" + "ab" * 32
SIZE = 3 * LEAST


def pages(size: int) -> memoryview:
    memory = memoryview(mmap.mmap(-1, size))
    memory[:] = os.urandom(size)
    return memory


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore.create(str(tmp_path / "repo"), reserve=0)


@pytest.mark.parametrize("before", [0, 1, BLOCK])
@pytest.mark.parametrize("shift", [0, 1, 512])
@pytest.mark.parametrize("size", [LEAST - 1, LEAST, SIZE, SIZE + 17])
def test_every_place_in_memory_and_file_gives_the_same_bytes(
    store: LocalStore, before: int, shift: int, size: int
) -> None:
    memory = pages(size + shift)[shift:]
    with store.begin(PACK) as upload:
        if before:
            upload.write(bytes(before))
        upload.write(memory, b"trailer")
        upload.commit()
        assert upload.size == before + size + len(b"trailer")
    assert store.get(PACK) == bytes(before) + bytes(memory) + b"trailer"


def test_a_file_that_takes_no_direct_writes_is_left_alone() -> None:
    fd = os.open("/dev/null", os.O_WRONLY)
    try:
        assert write_direct(fd, pages(SIZE), 0) == 0
    finally:
        os.close(fd)


def test_what_is_behind_the_whole_blocks_is_left_to_the_caller(tmp_path: Path) -> None:
    memory = pages(SIZE + 17)
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    try:
        done = write_direct(fd, memory, 0)
        assert done in (0, SIZE)
        os.write(fd, memory[done:])
    finally:
        os.close(fd)
    assert (tmp_path / "file").read_bytes() == bytes(memory)


def is_cached(path: Path) -> bool:
    """Whether the file's first page is in memory: mincore(2), which reads nothing."""
    answer = ctypes.c_ubyte()
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), BLOCK) as view:
        first = ctypes.c_char.from_buffer(view)
        address = ctypes.c_void_p(ctypes.addressof(first))
        failed = ctypes.CDLL(None).mincore(address, ctypes.c_size_t(BLOCK), ctypes.byref(answer))
        del first  # or the map could not be closed
    assert not failed
    return bool(answer.value & 1)


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="the system knows no direct writes")
def test_a_pack_takes_no_page_cache(store: LocalStore, tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    try:
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
        os.writev(fd, [pages(BLOCK)])
        os.close(fd)
        spared = not is_cached(probe)
    except OSError:
        spared = False
    if not spared:
        pytest.skip("this file system keeps everything in memory")
    store.put(PACK, [pages(SIZE), b"trailer"])
    assert not is_cached(Path(store.path, PACK))


def test_a_full_disk_is_named_there_too(store: LocalStore) -> None:
    def work() -> None:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LEAST, LEAST))
        with pytest.raises(StoreFull, match="packs"):
            store.put(PACK, [pages(SIZE)])

    in_child(work)
    assert os.listdir(store.scratch) == []


@pytest.mark.parametrize("cached", [False, True])
def test_parts_are_read_as_they_are(store: LocalStore, cached: bool) -> None:
    """At any offset, also where the object ends; twice, for the first time leaves a trace."""
    content = pages(SIZE)
    store.put(PACK, [content])
    if cached:
        store.get(PACK)
    space = pages(SIZE + 2 * BLOCK)
    for offset, length in (
        *((0, SIZE), (1, SIZE - 2), (BLOCK, 200_000), (BLOCK - 1, 150_001), (5, 70), (SIZE - 9, 9)),
        *((SIZE - 140_000, 200_000), (SIZE, 200_000), (SIZE + 10 * BLOCK, 200_000), (0, SIZE)),
    ):
        for _ in range(2):
            found = store.get_into(PACK, offset, length, space)
            assert found == content[offset : offset + length]
