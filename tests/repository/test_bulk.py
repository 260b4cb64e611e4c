"""Many index objects at once go another way into the cache than few, and come to the same."""

import random
import weakref
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import lmdb
import pytest

from strongroom.crypto import hashing
from strongroom.crypto.sealing import DATA
from strongroom.errors import CacheDamaged
from strongroom.ids import ID_SIZE, ChunkId, IndexId, RepositoryId
from strongroom.repository import bulk, packs
from strongroom.repository.cache import Cache
from strongroom.repository.index import ChunkIndex, chunks_of
from strongroom.repository.packs import BundleEntry, IndexedPack
from strongroom.store.local import LocalStore
from strongroom.store.protocol import Range

REPOSITORY = RepositoryId(bytes(16))
DICE = random.Random(6)


def made_up(number: int, *, shared: list[bytes]) -> IndexedPack:
    """A pack of two bundles; some of its chunks are others' too, and one comes twice in it."""
    own = [DICE.randbytes(ID_SIZE) for _ in range(60)]
    chunks = own + DICE.sample(shared, 10) + own[:1]
    DICE.shuffle(chunks)
    first, second = b"".join(chunks[:30]), b"".join(chunks[30:])
    begin = len(packs.HEADER)
    bundles = [BundleEntry(begin, 100, DATA, 0, first), BundleEntry(begin + 100, 100, DATA, 0, second)]
    return IndexedPack(hashing.plain_hash(b"%d" % number), begin + 300, bundles)


@pytest.fixture(scope="module")
def tables() -> list[IndexedPack]:
    shared = [DICE.randbytes(ID_SIZE) for _ in range(40)]
    return [made_up(number, shared=shared) for number in range(40)]


@pytest.fixture
def store(tmp_path: Path, tables: list[IndexedPack]) -> LocalStore:
    store = LocalStore.create(str(tmp_path / "repo"), reserve=0)
    for table in tables:
        index, blob = packs.encode_index([table])
        store.put(packs.index_name(index), [blob])
    return store


def indexes_of(tables: Iterable[IndexedPack]) -> list[IndexId]:
    return [packs.encode_index([table])[0] for table in tables]


def told(index: ChunkIndex, tables: list[IndexedPack]) -> dict[bytes, list[tuple[bytes, int, int]]]:
    """Where each chunk lies."""
    found = {}
    for table in tables:
        for chunk in chunks_of(table):
            places = {index.find(ChunkId(chunk)), *index.others(ChunkId(chunk))}
            found[chunk] = sorted((place.pack, place.bundle.offset, place.position) for place in places)
    return found


@pytest.mark.parametrize("known_before", [0, 5])
def test_both_ways_come_to_the_same(
    store: LocalStore,
    tables: list[IndexedPack],
    tmp_path: Path,
    known_before: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "_KEPT", 3 * 40)  # every way round the file is gone
    monkeypatch.setattr(bulk, "_COMMIT", 500)
    results = []
    for way, least in (("each", 1000), ("all", 1)):
        monkeypatch.setattr(bulk, "LEAST", 1000)
        cache = Cache(tmp_path / way, REPOSITORY)
        index = ChunkIndex(cache)
        index.add_pending(tables[-1])
        index.load(store, indexes_of(tables[:known_before]))
        monkeypatch.setattr(bulk, "LEAST", least)
        assert index.load(store, indexes_of(tables)) == []
        assert index.load(store, indexes_of(tables)) == []
        results.append((told(index, tables), index.count()))
        cache.close()
    assert results[0] == results[1]


class Watched(IndexedPack, array_like=True, frozen=True, weakref=True):
    pass


def test_tables_of_packs_themselves_come_in_both_ways_and_are_not_kept(
    tables: list[IndexedPack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.repository.index._GROUP", 100)
    results = []
    for many in (False, True):
        cache = Cache(tmp_path / str(many), REPOSITORY)
        index = ChunkIndex(cache)
        alive: list[weakref.ref[IndexedPack]] = []

        def each(alive: list[weakref.ref[IndexedPack]] = alive) -> Iterator[IndexedPack]:
            for table in tables:
                made = Watched(table.pack, table.size, table.bundles)
                alive.append(weakref.ref(made))
                yield made
                del made
                assert sum(one() is not None for one in alive) <= 5, "all of them would fill the memory"

        index.take_in(each(), many=many)
        results.append((told(index, tables), index.count()))
        cache.close()
    assert results[0] == results[1]


class Stopped(Exception):
    pass


class StoppingStore(LocalStore):
    """Ends the work in the middle of an index that is read."""

    def get_many(self, ranges: Iterable[Range]) -> Iterator[bytes]:
        for number, blob in enumerate(super().get_many(ranges)):
            if number == 25:
                raise Stopped
            yield blob


def test_a_run_that_ends_in_between_leaves_nothing_half_known(
    store: LocalStore, tables: list[IndexedPack], tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache", REPOSITORY)
    unnamed = made_up(1000, shared=[DICE.randbytes(ID_SIZE) for _ in range(10)])
    ChunkIndex(cache).add_pending(unnamed)
    with pytest.raises(Stopped):
        ChunkIndex(cache).load(StoppingStore(store.path), indexes_of(tables))
    following = ChunkIndex(cache)
    following.recover()
    assert following.count() == len(set(chunks_of(unnamed)))  # what nobody named yet is not forgotten
    following.load(store, indexes_of(tables))
    assert set(told(following, [*tables, unnamed])) == {
        one for table in [*tables, unnamed] for one in chunks_of(table)
    }
    again = ChunkIndex(cache)
    again.recover()
    assert again.count() == following.count()
    cache.close()


def test_nobody_builds_on_what_another_left_unfinished(
    store: LocalStore, tables: list[IndexedPack], tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache", REPOSITORY)
    with pytest.raises(Stopped):
        ChunkIndex(cache).load(StoppingStore(store.path), indexes_of(tables))
    with pytest.raises(CacheDamaged, match="again"):
        ChunkIndex(cache).load(store, indexes_of(tables[:3]))
    cache.close()
    whole = Cache(tmp_path / "cache", REPOSITORY)
    index = ChunkIndex(whole)
    index.load(store, indexes_of(tables))
    assert len(told(index, tables)) == index.count()
    whole.close()


def test_what_another_process_took_in_is_seen(
    store: LocalStore, tables: list[IndexedPack], tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache", REPOSITORY)
    ours, others = ChunkIndex(cache), ChunkIndex(cache)
    chunk = ChunkId(next(chunks_of(tables[0])))
    assert ours.get(chunk) is None
    others.load(store, indexes_of(tables))
    assert ours.load(store, indexes_of(tables)) == []
    assert ours.get(chunk) is not None


def test_many_small_index_objects_do_not_cost_a_synced_commit_each(
    store: LocalStore, tables: list[IndexedPack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = 0
    writing = Cache.writing

    def counting(cache: Cache, name: str = "meta") -> AbstractContextManager[lmdb.Transaction]:
        nonlocal commits
        commits += 1
        return writing(cache, name)

    monkeypatch.setattr(Cache, "writing", counting)
    index = ChunkIndex(Cache(tmp_path / "cache", REPOSITORY))
    index.load(store, indexes_of(tables))
    assert index.count() > 40 * 60
    assert commits == 4  # the note of what begins, the packs, their chunks, what was taken in
