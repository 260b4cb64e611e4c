"""What is read in the order of a walk is opened before, as far ahead as memory allows."""

import stat
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.archive.entries import HOLE, Entry
from strongroom.archive.lookahead import Lookahead
from strongroom.errors import Damaged
from strongroom.ids import ID_SIZE, ChunkId

MiB = 1 << 20
MOST = 4096  # entries ahead

ids = st.integers(0, 40).map(lambda number: ChunkId(bytes([number]) * ID_SIZE))  # 0 is a hole
files = st.lists(st.tuples(ids, st.integers(1, 8 * MiB)), max_size=12)


def entry(chunks: list[tuple[ChunkId, int]] | None) -> Entry:
    """A file, or without chunks a folder."""
    if chunks is None:
        return Entry(b"", stat.S_IFDIR | 0o755, 0, 0, None, None, 0, 0, b"")
    sizes = [size for _, size in chunks]
    content = b"".join(chunk for chunk, _ in chunks)
    return Entry(b"", stat.S_IFREG, 0, 0, None, None, 0, sum(sizes), content, sizes=sizes)


class Bundles:
    """Chunks of which two or three are in one bundle, all of which stay open."""

    def __init__(self) -> None:
        self.asked: set[ChunkId] = set()
        self.open: set[int] = set()
        self.unread: set[int] = set()
        self.most = 0

    def opens(self, chunk: ChunkId) -> bool:
        assert chunk != HOLE
        self.asked.add(chunk)
        if chunk[0] // 3 in self.open:
            return False
        self.open.add(chunk[0] // 3)
        self.unread.add(chunk[0] // 3)
        self.most = max(self.most, len(self.unread))
        return True

    def read(self, chunk: ChunkId) -> memoryview:
        assert chunk in self.asked
        self.unread.discard(chunk[0] // 3)
        return memoryview(chunk)


@given(st.lists(st.one_of(st.none(), files), max_size=30), st.booleans(), st.lists(st.booleans(), min_size=1))
def test_all_is_read_in_order_and_was_ordered_before(
    tree: list[list[tuple[ChunkId, int]] | None], fails: bool, reads: list[bool]
) -> None:
    def walk() -> Iterator[tuple[bytes, Entry]]:
        for number, content in enumerate(tree):
            yield b"%d" % number, entry(content)
        if fails:
            raise Damaged("the folder")

    bundles = Bundles()
    found = []

    def run() -> None:
        ahead = Lookahead(walk(), bundles)
        for path, one in ahead:
            found.append(path)
            if all(reads) or reads[len(found) % len(reads)]:
                for chunk, _ in one.chunks() if one.is_regular else ():
                    assert chunk == HOLE or not all(reads) or bytes(ahead.read(chunk)) == chunk

    if fails:
        with pytest.raises(Damaged):
            run()
    else:
        run()
    assert found == [b"%d" % number for number in range(len(tree))]
    assert bundles.most <= 16


def test_what_is_skipped_does_not_end_it() -> None:
    """More than the window has, none of which is read."""
    tree = [entry([(ChunkId(bytes([number]) * ID_SIZE), 8 * MiB)]) for number in range(1, 100)]
    bundles = Bundles()
    ahead = Lookahead(((b"", one) for one in tree), bundles)
    for number, (_, one) in enumerate(ahead):
        if number in (0, 97, 98):
            bundles.asked.add(chunk := next(iter(one.chunks()))[0])
            ahead.read(chunk)
    assert number == 98 and 3 <= len(bundles.open) < 12


def test_a_million_without_content_are_not_held() -> None:
    walked = 0

    def walk() -> Iterator[tuple[bytes, Entry]]:
        nonlocal walked
        for walked in range(100_000):  # noqa: B007 - told
            yield b"", entry(None)

    for number, _ in enumerate(Lookahead(walk(), Bundles())):
        assert walked <= number + MOST
    assert number == 99_999
