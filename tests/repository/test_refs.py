"""Refs: lists of any length come back, and similar lists share their blocks."""

import pytest
from blake3 import blake3

from strongroom.errors import Damaged, VersionUnknown
from strongroom.ids import RefsId
from strongroom.repository import refs
from strongroom.repository.refs import RefsWriter

Blocks = dict[RefsId, bytes]


def ids(count: int, salt: bytes = b"") -> list[bytes]:
    return [blake3(salt + n.to_bytes(4, "little")).digest() for n in range(count)]


def written(chunks: list[bytes]) -> tuple[RefsId, Blocks]:
    blocks: Blocks = {}
    writer = RefsWriter(blocks.__setitem__, lambda _: False)
    for chunk in chunks:
        writer.add(chunk)
    root = writer.finish()
    assert writer.count == len(chunks)
    return root, blocks


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 5000, 20_000])
def test_lists_come_back(count: int) -> None:
    chunks = ids(count)
    root, blocks = written(chunks)
    assert list(refs.read_all(root, blocks.__getitem__, 10**6)) == chunks
    assert {block for block, _, _ in refs.walk_blocks(root, blocks.__getitem__, 10**6)} == set(blocks)


def test_one_by_one_and_joined_are_the_same() -> None:
    chunks = ids(7000)
    blocks: Blocks = {}
    writer = RefsWriter(blocks.__setitem__, lambda _: False)
    writer.add_all(b"".join(chunks[:3000]))
    writer.add_all(b"")
    writer.add(chunks[3000])
    writer.add_all(b"".join(chunks[3001:]))
    assert (writer.finish(), blocks) == written(chunks)
    assert writer.count == 7000


def test_a_change_costs_few_new_blocks() -> None:
    chunks = ids(50_000)
    _, before = written(chunks)
    _, after = written([*chunks[:25_000], *ids(3, b"new"), *chunks[25_001:]])
    assert len(set(after) - set(before)) <= 5 < len(before)


def test_the_same_id_over_and_over_is_cut_at_the_bound() -> None:
    """As an archive of one file many times would have it."""
    for repeated in (bytes(32), b"\xff" * 32):
        root, blocks = written([repeated] * 9000)
        assert list(refs.read_all(root, blocks.__getitem__, 10**6)) == [repeated] * 9000
        assert all(len(blob) <= refs.MAX_BLOCK for blob in blocks.values())


def block(level: int, chunks: list[bytes]) -> tuple[RefsId, bytes]:
    blob = b"SRREFS\x00\x01" + bytes([level]) + b"".join(chunks)
    return RefsId(blake3(blob).digest()), blob


def test_a_block_is_what_its_name_says() -> None:
    name, blob = block(0, ids(3))
    assert refs.decode(blob, name) == (0, ids(3))
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises(Damaged):
            refs.decode(bytes(changed), name)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"SRREFS\x00\x01",
        b"SRREFX\x00\x01\x00",
        block(7, ids(1))[1],
        block(1, [])[1],
        block(0, [bytes(31)])[1],
        block(0, ids(4097))[1],
    ],
)
def test_impossible_blocks_are_refused(blob: bytes) -> None:
    with pytest.raises(Damaged):
        refs.decode(blob, RefsId(blake3(blob).digest()))


def test_a_future_version_is_told() -> None:
    blob = b"SRREFS\x00\x02\x00"
    with pytest.raises(VersionUnknown):
        refs.decode(blob, RefsId(blake3(blob).digest()))


def test_a_block_at_a_level_where_it_cannot_be_is_refused() -> None:
    leaf, leaf_blob = block(0, ids(2))
    root, root_blob = block(2, [leaf])
    blocks = {leaf: leaf_blob, root: root_blob}
    with pytest.raises(Damaged, match="level"):
        list(refs.read_all(root, blocks.__getitem__, 10**6))
