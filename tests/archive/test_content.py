"""A file's content at any offset is what a file system would give."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chest import Chest
from strongroom.archive.browsing import stored_size
from strongroom.archive.content import AHEAD_BYTES, AHEAD_FROM, FileContent
from strongroom.archive.entries import HOLE, Entry
from strongroom.errors import Damaged


def entry_of(chest: Chest, parts: list[bytes | int]) -> tuple[Entry, bytes]:
    """A file of chunks and, where a number stands, holes of so many bytes."""
    ids = [HOLE if isinstance(part, int) else chest.put(part) for part in parts]
    sizes = [part if isinstance(part, int) else len(part) for part in parts]
    whole = b"".join(bytes(part) if isinstance(part, int) else part for part in parts)
    entry = Entry(b"f", 0o100644, 0, 0, None, None, 0, len(whole), b"".join(ids), sizes=sizes or None)
    return entry, whole


PARTS = st.lists(st.one_of(st.binary(min_size=1, max_size=40), st.integers(1, 60)), max_size=8)


@given(PARTS, st.integers(0, 400), st.integers(0, 400))
def test_any_range_of_any_file(parts: list[bytes | int], offset: int, size: int) -> None:
    chest = Chest()
    entry, whole = entry_of(chest, parts)
    content = FileContent(entry, chest)
    assert content.read(offset, size) == whole[offset : offset + size]
    target = bytearray(b"\xaa" * size)
    done = content.read_into(memoryview(target), offset)
    assert done == len(whole[offset : offset + size]) and set(target[done:]) <= {0xAA}


@given(PARTS)
def test_holes_are_where_they_are(parts: list[bytes | int]) -> None:
    chest = Chest()
    entry, whole = entry_of(chest, parts)
    content = FileContent(entry, chest)
    kinds = [
        isinstance(part, int) for part in parts for _ in range(part if isinstance(part, int) else len(part))
    ]
    for at in range(len(whole)):
        data = next((i for i in range(at, len(whole)) if not kinds[i]), None)
        hole = next((i for i in range(at, len(whole)) if kinds[i]), len(whole))
        assert (content.seek_data(at), content.seek_hole(at)) == (data, hole)
    assert content.seek_data(len(whole)) is None and content.seek_hole(len(whole)) is None
    assert stored_size(entry) == kinds.count(False)


def test_a_file_of_one_chunk_has_no_list_of_sizes() -> None:
    chest = Chest()
    entry = Entry(b"f", 0o100644, 0, 0, None, None, 0, 5, chest.put(b"hello"))
    assert FileContent(entry, chest).read(1, 100) == b"ello"
    assert FileContent(Entry(b"f", 0o100644, 0, 0, None, None, 0, 0, b""), chest).read(0, 10) == b""


def test_a_chunk_of_another_size_than_its_file_says_is_damage() -> None:
    chest = Chest()
    entry, _ = entry_of(chest, [b"12345", b"67"])
    entry.sizes = [4, 3]
    with pytest.raises(Damaged, match="size"):
        FileContent(entry, chest).read(0, 7)


def test_only_who_reads_on_gets_more_than_asked_for() -> None:
    chest = Chest()
    piece = 1 << 20
    parts: list[bytes | int] = [os.urandom(8) + bytes(piece - 8) for _ in range(40)]
    entry, _ = entry_of(chest, parts)
    ids = [chunk for chunk, _ in entry.chunks()]
    thumbnail = FileContent(entry, chest)
    thumbnail.read(0, 128 * 1024)
    for at in (20 * piece, 3 * piece, 33 * piece, 9 * piece):
        thumbnail.read(at, 4096)
    assert chest.read_ahead == []
    content = FileContent(entry, chest)
    for offset in range(0, 30 * piece, AHEAD_FROM):
        content.read(offset, AHEAD_FROM)
    assert chest.read_ahead == ids[1 : 1 + len(chest.read_ahead)]  # each once, in order
    assert len(chest.read_ahead) == min(40, 30 + AHEAD_BYTES // piece) - 1


def test_many_threads_read_one_file() -> None:
    chest = Chest()
    entry, whole = entry_of(chest, [os.urandom(5000) for _ in range(20)])
    content = FileContent(entry, chest)
    wrong: list[int] = []

    def run(step: int) -> None:
        offsets = range(step, len(whole), 997)
        wrong.extend(at for at in offsets if content.read(at, 3000) != whole[at : at + 3000])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
