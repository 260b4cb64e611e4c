"""Packs go to a local store while they are made: nobody sees a part, and nothing is left of a vain one."""

import random
from pathlib import Path

import pytest

from shelf import Shelf
from strongroom.archive.pipeline import Pipeline
from strongroom.crypto import hashing
from strongroom.crypto.sealing import DATA
from strongroom.errors import StoreFull
from strongroom.ids import ChunkId
from strongroom.repository.compression import parse_compression
from strongroom.repository.outgoing import PART, PARTS
from strongroom.repository.repository import Repository
from strongroom.store.upload import Upload

MIB = 1 << 20


def chunks(seed: int) -> list[bytes]:
    """More than fits in memory at once, and one that is larger than a part, none of whole blocks."""
    source = random.Random(seed)
    sizes = [source.randrange(MIB // 2, 4 * MIB) for _ in range(11)]
    return [source.randbytes(size) for size in (*sizes, PART + 4097, 5)]


def stored_packs(shelf: Shelf) -> dict[str, bytes]:
    return {name: blob for name, blob in shelf.objects().items() if name.startswith("packs/")}


def put_all(repository: Repository, data: list[bytes], workers: int = 2) -> list[ChunkId]:
    repository.load_index()
    with Pipeline(repository, parse_compression("none"), workers=workers) as pipeline:
        ids = [pipeline.add(DATA, chunk) for chunk in data]
        pipeline.finish()
    return ids


def test_packs_that_came_in_parts_hold_what_was_put_in(shelf: Shelf) -> None:
    data = chunks(1)
    assert sum(map(len, data)) > PART * PARTS
    with shelf.open() as repository:
        ids = put_all(repository, data)
        reader = repository.chunk_reader()
        assert [bytes(reader.read(one)) for one in ids] == data
    packs = stored_packs(shelf)
    assert max(map(len, packs.values())) > PART
    assert all(hashing.plain_hash(blob).hex() == Path(name).name for name, blob in packs.items())
    assert not [name for name in shelf.objects() if name.startswith("tmp/")]


@pytest.mark.parametrize("writes", [1, 3])
def test_a_disk_that_fills_up_in_the_middle_of_a_pack_keeps_nothing_of_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    write, done = Upload.write, 0

    def fills_up(upload: Upload, *parts: bytes) -> None:
        nonlocal done
        done += 1
        write(upload, *parts)
        if done == writes:
            raise StoreFull("The disk is full.")

    with shelf.open() as repository, monkeypatch.context() as patched:
        patched.setattr(Upload, "write", fills_up)
        with pytest.raises(StoreFull):
            put_all(repository, chunks(2))
    assert done >= writes
    left = shelf.objects()
    assert not [name for name in left if name.startswith("tmp/")]
    assert all(
        hashing.plain_hash(blob).hex() == Path(name).name for name, blob in stored_packs(shelf).items()
    )
    with shelf.open() as repository:
        ids = put_all(repository, chunks(2))
        reader = repository.chunk_reader()
        assert [bytes(reader.read(one)) for one in ids] == chunks(2)
