"""One damaged or planted object must not stop or mislead those who use the others."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from program import Program
from strongroom.archive import trees
from strongroom.archive.entries import Entry
from strongroom.errors import Damaged
from strongroom.ids import RefsId
from strongroom.repository import refs
from strongroom.repository.refs import RefsCounter, RefsWriter


def spoil(path: Path) -> None:
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(blob)


def newest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture
def two(sr: Program, src: Path) -> Program:
    (src / "file").write_text("text")
    sr("create", "::one", str(src)).ok()
    (src / "file").write_text("other text")
    sr("create", "::two", str(src)).ok()
    return sr


def test_a_damaged_archive_hides_no_other(two: Program) -> None:
    spoil(newest(two.repo / "archives"))
    two.lose_cache()
    done = two("list")
    assert done.code == 1 and "one " in done.out and "(damaged " in done.out and "damaged" in done.err
    two("extract", "::one", cwd=two.root).ok()


def test_rot_in_a_deleted_archive_is_found_while_it_can_still_come_back(two: Program) -> None:
    path = newest(two.repo / "archives")
    two("delete", "::two").ok()
    two("check").ok()
    spoil(path)
    done = two("check")
    assert done.code == 1 and path.name in done.err


def test_a_damaged_key_in_the_repository_stops_no_other(two: Program) -> None:
    rotten = two.repo / "keys" / ("ab" * 32)
    rotten.write_bytes(b"STRONGROOMKEY and then nonsense")
    two("list").ok()
    done = two("check")
    assert done.code == 1 and rotten.name in done.err


def test_chunks_that_do_not_fill_their_place_count_as_lost(sr: Program, src: Path) -> None:
    """A hostile client's entry claims other chunk sizes than the chunks have; the sum is right."""
    (src / "file").write_bytes(os.urandom(9_000_000))

    def shift(entries: list[Entry]) -> Iterator[bytes]:
        for entry in entries:
            if entry.sizes is not None:
                entry.sizes[0] += 1
                entry.sizes[-1] -= 1
        return real(entries)

    real: Callable[[list[Entry]], Iterator[bytes]] = trees.encode_tree

    def before() -> None:
        trees.encode_tree = shift

    sr("create", "::a", str(src), before=before).ok()
    done = sr("extract", "::a", cwd=sr.root)
    assert done.code == 1 and "are lost" in done.err
    assert sr("extract", "--stdout", "::a").code == 2


def test_blocks_that_list_more_than_anybody_can_read_are_refused() -> None:
    blocks: dict[RefsId, bytes] = {}
    writer = RefsWriter(blocks.__setitem__)
    writer.add_all(b"\xff" * 32 * refs.MAX_IDS)
    block = writer.finish()
    for level in range(1, refs.MAX_LEVEL + 1):
        blob = refs.HEADER + bytes((level,)) + block * refs.MAX_IDS
        block = RefsId(refs.hashing.plain_hash(blob))
        blocks[block] = blob
    total, missing = RefsCounter(blocks.__getitem__, len).count(block)
    assert total == missing == refs.MAX_IDS ** (refs.MAX_LEVEL + 1)
    with pytest.raises(Damaged, match="more chunks"):
        list(refs.read_all(block, blocks.__getitem__, 10_000))
