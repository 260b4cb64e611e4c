"""A pack's chunks go into a large index some at a time; who ends in between, or works beside, loses none."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest

from strongroom.errors import CacheFull
from strongroom.ids import PackId, RepositoryId
from strongroom.repository.cache import Cache
from strongroom.repository.index import ChunkIndex, chunks_of
from strongroom.repository.packs import IndexedPack

from .test_bulk import DICE, ID_SIZE, Stopped, made_up, told

PARTS = 1 + 71 // 7 + 1  # transactions of one pack


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cache]:
    monkeypatch.setattr("strongroom.repository.index._AT_ONCE", 7)
    monkeypatch.setattr("strongroom.repository.index._FEW_PAGES", -1)
    opened = Cache(tmp_path / "cache", RepositoryId(bytes(16)))
    yield opened
    opened.close()


@pytest.fixture
def table() -> IndexedPack:
    return made_up(1, shared=[DICE.randbytes(ID_SIZE) for _ in range(10)])


def before_part(cache: Cache, number: int, act: Callable[[], object]) -> None:
    """Something happens before a transaction."""
    real, left = cache.writing, [number]

    @contextlib.contextmanager
    def writing(name: str = "meta") -> Iterator[lmdb.Transaction]:
        left[0] -= 1
        if left[0] == -1:
            cache.writing = real  # type: ignore[method-assign]
            act()
        with real(name) as txn:
            yield txn

    cache.writing = writing  # type: ignore[method-assign]


def entries(cache: Cache, name: str) -> int:
    with cache.reading(name) as txn:
        return int(txn.stat(cache.dbs[name])["entries"])


def unplaced(cache: Cache) -> int:
    return entries(cache, "unplaced")


def stop() -> None:
    raise Stopped


def all_places(table: IndexedPack, tmp_path: Path) -> dict[bytes, list[tuple[bytes, int, int]]]:
    """Where its chunks are to be found."""
    whole = Cache(tmp_path / "whole", RepositoryId(bytes(16)))
    index = ChunkIndex(whole)
    index.take_in([table], many=False)
    found = told(index, [table])
    whole.close()
    return found


@pytest.mark.parametrize("part", range(1, PARTS))
def test_what_was_left_is_put_in_by_the_next(
    cache: Cache, table: IndexedPack, part: int, tmp_path: Path
) -> None:
    before_part(cache, part, stop)
    with pytest.raises(Stopped):
        ChunkIndex(cache).add_pending(table)
    assert unplaced(cache) == 1 and [one.pack for one in ChunkIndex(cache).pending()] == [table.pack]
    following = ChunkIndex(cache)
    following.recover()
    assert told(following, [table]) == all_places(table, tmp_path)
    assert following.count() == len(set(chunks_of(table))) and not unplaced(cache)


def test_a_full_disk_keeps_nobody_from_reading(cache: Cache, table: IndexedPack, tmp_path: Path) -> None:
    def full() -> None:
        raise CacheFull("no room")

    before_part(cache, 3, full)
    with pytest.raises(CacheFull):
        ChunkIndex(cache).add_pending(table)
    before_part(cache, 2, full)
    ChunkIndex(cache).recover()
    assert unplaced(cache)
    following = ChunkIndex(cache)
    following.recover()
    assert told(following, [table]) == all_places(table, tmp_path) and not unplaced(cache)


@pytest.mark.parametrize("part", range(1, PARTS))
def test_another_that_does_it_meanwhile_does_no_harm(
    cache: Cache, table: IndexedPack, part: int, tmp_path: Path
) -> None:
    before_part(cache, part, lambda: ChunkIndex(cache).recover())
    index = ChunkIndex(cache)
    index.add_pending(table)
    assert told(index, [table]) == all_places(table, tmp_path) and not unplaced(cache)


@pytest.mark.parametrize("freed", [True, False])
@pytest.mark.parametrize("part", range(1, PARTS))
def test_a_pack_that_is_forgotten_meanwhile_is_not_relied_on(
    cache: Cache, table: IndexedPack, part: int, freed: bool
) -> None:
    """Or a writer would take its chunks for stored."""
    before_part(cache, part, lambda: ChunkIndex(cache).forget_pack(PackId(table.pack), freed=freed))
    index = ChunkIndex(cache)
    index.add_pending(table)
    index.recover()
    index.refresh()
    assert not any(chunk in index for chunk in chunks_of(table)) and index.count() == 0
    assert not unplaced(cache)


@pytest.mark.parametrize("part", range(1, PARTS))
def test_an_index_that_is_begun_anew_meanwhile_has_it(
    cache: Cache, table: IndexedPack, part: int, tmp_path: Path
) -> None:
    before_part(cache, part, lambda: ChunkIndex(cache)._begin_anew())
    index = ChunkIndex(cache)
    index.add_pending(table)
    index.refresh()
    assert told(index, [table]) == all_places(table, tmp_path) and not unplaced(cache)
    assert entries(cache, "doubles") == 1  # the chunk that comes twice in it; no place of before


def test_a_small_index_takes_it_at_once(
    cache: Cache, table: IndexedPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.repository.index._FEW_PAGES", 100)
    before_part(cache, 1, stop)
    index = ChunkIndex(cache)
    index.add_pending(table)
    assert index.count() == len(set(chunks_of(table)))
