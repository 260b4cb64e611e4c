"""Where each chunk lies: the union of the repository's index objects, in the local cache.

What a revoked key wrote when it was not to be trusted any more counts for readers alone, and after
all other places: a chunk that lies nowhere else is absent for writers, who store it anew.
"""

import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import NamedTuple, TypeVar

import lmdb
import msgspec

from strongroom.errors import CacheFull, ChunkMissing
from strongroom.ids import ID_SIZE, ChunkId, IndexId, PackId
from strongroom.repository import bulk
from strongroom.repository.cache import COMPLETE_RUNS, FOLLOWED, Cache
from strongroom.repository.guarded import guard
from strongroom.repository.index_objects import Unreadable, each_tables
from strongroom.repository.packs import BundleEntry, IndexedPack
from strongroom.store.protocol import Store

_PLACE = struct.Struct("<IHH")  # pack number, bundle number, position in the bundle
_T = TypeVar("_T")
_Group = list[tuple[IndexId | None, list[IndexedPack]]]
_BUNDLE = 6  # bytes of a place that tell its bundle
_NUMBER = struct.Struct(">I")
_AT_ONCE = 256  # chunks of a pack in one transaction: each may touch a page
_FEW_PAGES = 2048  # of the index, of 4 KiB
_GROUP = 100_000  # chunks of several index objects that are taken in together
_decoder = msgspec.msgpack.Decoder(IndexedPack)


class Place(NamedTuple):
    """A chunk's bundle, and its position in it."""

    pack: PackId
    pack_size: int
    bundle: BundleEntry
    position: int


class ChunkIndex:
    """Look-ups by one thread at a time; several processes may share the cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._txn: lmdb.Transaction | None = None
        self._chunks = cache.dbs["chunks"]
        self._pack = lru_cache(maxsize=32)(self._load_pack)
        self._untold: AbstractSet[IndexId] = frozenset()  # of distrusted records
        self._given_up: set[IndexId] = set()  # index objects that cannot be read

    # --- filling ---

    def distrust(self, named: AbstractSet[PackId], indexes: AbstractSet[IndexId]) -> None:
        """From now on these packs, and the packs that these index objects alone tell of, are distrusted.

        Where that is news, all index objects are loaded anew: one of these may have lied about any pack.
        """
        self._untold = indexes
        with self._cache.reading("distrusted") as txn:
            if all(txn.get(one) is not None for one in (*named, *indexes)):
                return
        self._begin_anew([*named, *indexes])

    def _begin_anew(self, distrusted: Iterable[bytes] = ()) -> None:
        pending = list(self.pending())
        with self._cache.writing() as txn:
            for name in ("chunks", "doubles", "packs", "numbers", "indexes", "unplaced"):
                txn.drop(self._cache.dbs[name], delete=False)
            for one in distrusted:
                txn.put(one, b"", db=self._cache.dbs["distrusted"])
            txn.delete(FOLLOWED)
            txn.delete(COMPLETE_RUNS)  # no folder's chunks are known to be stored any more
            txn.delete(bulk.UNFINISHED)
            for table in pending:
                self._put(txn, table)
        self._pack.cache_clear()
        self.refresh()

    def recover(self) -> None:
        """Finish what a run left of a pack, or of all the index. To be called before all else."""
        if self._is_unfinished():
            with bulk.alone(self._cache):  # it may be at work still
                if self._is_unfinished():
                    self._begin_anew()
        with self._cache.reading("unplaced") as txn:
            unplaced = [PackId(bytes(pack)) for pack, _ in txn.cursor()]
        for pack in unplaced:
            table, number = self.table(pack), self._number(pack)
            if table is not None and number is not None:
                with contextlib.suppress(CacheFull):  # a full disk keeps nobody from reading
                    self._put_piecemeal(table, _items(table, number))

    def _is_unfinished(self) -> bool:
        with self._cache.reading("meta") as txn:
            return self._cache.noted(txn, bulk.UNFINISHED) is not None

    def load(self, store: Store, indexes: Iterable[IndexId]) -> list[Unreadable]:
        """Take in the index objects that are not in the cache yet; returns those that cannot be read.

        They are asked for again by the next process, not by this one. One that was never valid counts
        as empty: a fallen client planted it, which must cost nobody else an archive. `check` names it.
        Raises `VersionUnknown`, and the store's errors.
        """
        wanted = list(indexes)
        self.refresh()  # where nothing is missing, another process may have taken it in
        if not self._missing(wanted):
            return []
        with bulk.alone(self._cache):
            if self._is_unfinished():  # whoever did it died since `recover`
                raise self._cache.damaged()
            missing = self._missing(wanted)
            fill = self._load_each if len(missing) < bulk.LEAST else self._load_all
            unreadable = fill(store, missing)
        self._given_up.update(one.id for one in unreadable)
        self.refresh()
        return unreadable

    def _missing(self, indexes: Iterable[IndexId]) -> list[IndexId]:
        with self._cache.reading("indexes") as txn:
            return [one for one in indexes if txn.get(one) is None and one not in self._given_up]

    def _load_each(self, store: Store, missing: list[IndexId]) -> list[Unreadable]:
        unreadable: list[Unreadable] = []
        for index, tables in each_tables(store, missing, unreadable):
            with self._cache.writing() as txn:
                for table in tables:
                    if index not in self._untold or self._is_distrusted(txn, table):
                        self._put(txn, table)
                txn.put(index, b"", db=self._cache.dbs["indexes"])
        return unreadable

    def _load_all(self, store: Store, missing: list[IndexId]) -> list[Unreadable]:
        unreadable: list[Unreadable] = []
        taken: list[IndexId] = []

        def noted() -> Iterator[_Group]:
            for group in _groups(each_tables(store, missing, unreadable)):
                taken.extend(index for index, _ in group if index is not None)
                yield group

        self._put_in_bulk(noted(), taken)
        return unreadable

    def _put_in_bulk(self, groups: Iterable[_Group], taken: Iterable[IndexId] = ()) -> None:
        """Many at once, in memory that does not grow with them. `taken` is looked at in the end."""
        with self._cache.writing() as txn:
            self._cache.note(txn, bulk.UNFINISHED, b"")
        with bulk.Places(self._cache, _PLACE.size) as places:
            for group in groups:
                rows: list[bytes] = []
                with self._cache.writing() as txn:
                    for index, table in ((one, table) for one, tables in group for table in tables):
                        if self._is_distrusted(txn, table):
                            self._put(txn, table)
                        elif index not in self._untold:
                            rows += [chunk + place for chunk, place in self._register(txn, table)]
                rows.sort()
                places.add(rows)
            places.put_in()
        with self._cache.writing() as txn:
            for index in taken:
                txn.put(index, b"", db=self._cache.dbs["indexes"])
            txn.delete(bulk.UNFINISHED)

    def without_table(self, named: Iterable[PackId]) -> list[PackId]:
        """Those packs of which nothing is known here yet."""
        with self._cache.reading("numbers") as txn:
            return [one for one in named if txn.get(one) is None]

    def take_in(self, tables: Iterable[IndexedPack], *, many: bool) -> None:
        """Tables that come from the packs themselves, in place of an index object; each is let go at once."""
        if many:
            with bulk.alone(self._cache):
                if self._is_unfinished():
                    raise self._cache.damaged()
                self._put_in_bulk(_groups((None, [table]) for table in tables))
        else:
            for table in tables:
                with self._cache.writing() as txn:
                    self._put(txn, table)
        self.refresh()

    def intend(self, table: IndexedPack) -> None:
        """Journal a pack that is about to be stored: should we die before we know that it was, the
        next run looks for it. Until then nothing may be deduplicated against it."""
        with self._cache.writing("intents") as txn:
            txn.put(table.pack, _guarded(table.pack, table))

    def add_pending(self, table: IndexedPack) -> None:
        """Journal a pack that is safely stored but that no record names yet."""
        with self._cache.writing() as txn:
            items = self._register(txn, table)
            small = txn.stat(self._chunks)["leaf_pages"] <= _FEW_PAGES
            if small or len(items) <= _AT_ONCE:
                self._put_items(txn, table, items)
                items = []
            else:
                txn.put(table.pack, b"", db=self._cache.dbs["unplaced"])
            txn.put(table.pack, _guarded(table.pack, table), db=self._cache.dbs["pending"])
            txn.delete(table.pack, db=self._cache.dbs["intents"])
        self._put_piecemeal(table, items)

    def _put_piecemeal(self, table: IndexedPack, items: list[tuple[bytes, bytes]]) -> None:
        """Some at a time, in memory that does not grow with the index; who ends meanwhile leaves a mark."""
        unplaced = self._cache.dbs["unplaced"]
        items.sort()  # neighbours share pages
        for at in range(0, len(items), _AT_ONCE):
            with self._cache.writing() as txn:
                if txn.get(table.pack, db=unplaced) is None:
                    return  # another process did it, or the pack was forgotten
                self._put_items(txn, table, items[at : at + _AT_ONCE])
                if at + _AT_ONCE >= len(items):
                    txn.delete(table.pack, db=unplaced)

    def intents(self) -> Iterator[IndexedPack]:
        with self._cache.reading("intents") as txn:
            for key, value in txn.cursor():
                yield self._table(bytes(key), value)

    def forget_intent(self, table: IndexedPack) -> None:
        with self._cache.writing("intents") as txn:
            txn.delete(table.pack)

    def pending(self) -> Iterator[IndexedPack]:
        with self._cache.reading("pending") as txn:
            for key, value in txn.cursor():
                yield self._table(bytes(key), value)

    def settle(self, named: Iterable[PackId], indexes: Iterable[IndexId]) -> None:
        """Packs that a record names now are no longer pending; `indexes` are ours, already taken in."""
        with self._cache.writing() as txn:
            for pack in named:
                txn.delete(pack, db=self._cache.dbs["pending"])
            for index in indexes:
                txn.put(index, b"", db=self._cache.dbs["indexes"])

    def forget_pack(self, pack: PackId, *, freed: bool) -> None:
        """It was freed, or turned out not to be in the store: nothing may be deduplicated against it.

        Chunks that lie elsewhere too are found there from now on. A freed pack never comes back, not even
        by another process of this machine that has not heard of it and takes in an older index object.
        """
        with self._cache.writing() as txn:
            numbers, tables = self._cache.dbs["numbers"], self._cache.dbs["packs"]
            for name in ("pending", "intents", "unplaced"):
                txn.delete(pack, db=self._cache.dbs[name])
            key = txn.get(pack, db=numbers)
            key = bytes(key or b"")
            if freed:
                txn.put(pack, b"", db=numbers)
            if not key:
                return
            (number,) = _NUMBER.unpack(key)
            for chunk in chunks_of(self._table(key, txn.get(key, db=tables))):
                self._forget_place(txn, chunk, number)
            txn.delete(key, db=tables)
            if not freed:
                txn.delete(pack, db=numbers)
        self.refresh()

    def _forget_place(self, txn: lmdb.Transaction, chunk: bytes, number: int) -> None:
        """The chunk is no longer in the pack of that number: its next place, if any, becomes the first."""
        left: list[bytes] = []
        with txn.cursor(db=self._cache.dbs["doubles"]) as cursor:
            more = cursor.set_range(chunk)
            while more and cursor.key()[:ID_SIZE] == chunk:
                place = bytes(cursor.key()[ID_SIZE:])
                if _PLACE.unpack(place)[0] == number:
                    more = cursor.delete()
                else:
                    left.append(place)
                    more = cursor.next()
        first = txn.get(chunk, db=self._chunks)
        if first is None or _PLACE.unpack(first)[0] != number:
            return
        txn.delete(chunk, db=self._chunks)
        if left:
            txn.put(chunk, left[0], db=self._chunks)
            txn.delete(chunk + left[0], db=self._cache.dbs["doubles"])

    def _is_distrusted(self, txn: lmdb.Transaction, table: IndexedPack) -> bool:
        return txn.get(table.pack, db=self._cache.dbs["distrusted"]) is not None

    def _register(self, txn: lmdb.Transaction, table: IndexedPack) -> list[tuple[bytes, bytes]]:
        """Keep the table, unless it is known; returns its chunks and their places, which are to be put in."""
        numbers, tables = self._cache.dbs["numbers"], self._cache.dbs["packs"]
        if txn.get(table.pack, db=numbers) is not None:
            return []
        # numbers are not given twice: other processes remember what is behind one
        number = int(self._cache.noted(txn, b"next-pack") or b"0")
        self._cache.note(txn, b"next-pack", b"%d" % (number + 1))
        key = _NUMBER.pack(number)
        txn.put(key, _guarded(key, table), db=tables)
        txn.put(table.pack, key, db=numbers)
        return _items(table, number)

    def _put(self, txn: lmdb.Transaction, table: IndexedPack) -> None:
        if items := self._register(txn, table):
            self._put_items(txn, table, items)

    def _put_items(self, txn: lmdb.Transaction, table: IndexedPack, items: list[tuple[bytes, bytes]]) -> None:
        items.sort()  # sorted puts touch each page once
        if self._is_distrusted(txn, table):
            doubles = self._cache.dbs["doubles"]
            txn.cursor(db=doubles).putmulti([(chunk + place, b"") for chunk, place in items])
            return
        _, added = txn.cursor(db=self._chunks).putmulti(items, overwrite=False)
        if added < len(items):
            doubles = self._cache.dbs["doubles"]
            for chunk, place in items:
                if txn.get(chunk, db=self._chunks) != place:
                    txn.put(chunk + place, b"", db=doubles)

    # --- looking up ---

    def refresh(self) -> None:
        """Make what other threads and processes have added visible."""
        if self._txn is not None:
            self._txn.abort()
            self._txn = None

    def __contains__(self, chunk: bytes) -> bool:
        """Whether readers find it."""
        return self.finder()(chunk) is not None or self.is_distrusted(chunk)

    def is_distrusted(self, chunk: bytes) -> bool:
        """Whether it lies in distrusted packs alone."""
        if self.finder()(chunk) is not None:
            return False
        with self._cache.reading("doubles") as txn:
            cursor = txn.cursor()
            return bool(cursor.set_range(chunk)) and bytes(cursor.key()[:ID_SIZE]) == chunk

    def finder(self) -> Callable[[bytes], object | None]:
        """A writer's look-up, None for a chunk that is not there, or in distrusted packs alone.

        Valid until the next `refresh`.
        """
        txn = self._txn
        if txn is None:
            txn = self._txn = self._cache.env.begin(db=self._chunks)
        return txn.get

    def find(self, chunk: ChunkId) -> Place:
        """Raises `ChunkMissing`."""
        place = self.get(chunk)
        if place is None:
            raise ChunkMissing(
                f"Chunk {chunk.hex()} is in no pack of this repository. Run `strongroom check`; "
                "a second repository, if you have one, may still hold it."
            )
        return place

    def get(self, chunk: ChunkId) -> Place | None:
        txn = self._txn
        if txn is None:
            txn = self._txn = self._cache.env.begin(db=self._chunks)
        value = txn.get(chunk)
        if value is None:
            return next(iter(self.others(chunk)), None)
        return self._place(chunk, bytes(value)) or next(iter(self.others(chunk)), None)

    def shares(self, chunks: Iterable[bytes]) -> list[int]:
        """What each takes of its bundle, in bytes; 0 for one that is nowhere."""
        return self._judged(chunks, _share)

    def lacks(self, chunks: Iterable[bytes]) -> list[bool]:
        """Of each whether it is nowhere."""
        return self._judged(chunks, lambda place: place is None)

    def _judged(self, chunks: Iterable[bytes], judge: Callable[[Place | None], _T]) -> list[_T]:
        """By the bundles of chunks that mostly stand in them side by side: a bundle is looked at once."""
        known: dict[bytes, _T] = {}
        found = []
        get = self.finder()
        for chunk in chunks:
            value = get(chunk)
            bundle = value[:_BUNDLE] if isinstance(value, bytes) else b""
            if bundle in known:
                found.append(known[bundle])
                continue
            judged = judge(self.get(ChunkId(chunk)))
            found.append(judged)
            if bundle:
                known[bundle] = judged
        return found

    def others(self, chunk: ChunkId) -> list[Place]:
        """Where else the chunk lies: two clients stored it at once, or one of them is distrusted.

        Where there is no other place, `get` gives the first of these. Any thread.
        """
        with self._cache.reading("doubles") as txn:
            cursor = txn.cursor()
            found = []
            more = cursor.set_range(chunk)
            while more and cursor.key()[:ID_SIZE] == chunk:
                found.append(bytes(cursor.key()[ID_SIZE:]))
                more = cursor.next()
        places = (self._place(chunk, value) for value in found)
        return [place for place in places if place is not None]

    def _place(self, chunk: bytes, value: bytes) -> Place | None:
        """None if another process has forgotten the pack meanwhile. Raises `CacheDamaged`."""
        if len(value) != _PLACE.size:
            raise self._cache.damaged()
        number, at, position = _PLACE.unpack(value)
        table = self._pack(number)
        if table is None:
            return None
        bundle = table.bundles[at] if at < len(table.bundles) else None
        if bundle is None or bundle.chunks[position * ID_SIZE : (position + 1) * ID_SIZE] != chunk:
            raise self._cache.damaged()
        return Place(PackId(table.pack), table.size, bundle, position)

    def _load_pack(self, number: int) -> IndexedPack | None:
        key = _NUMBER.pack(number)
        with self._cache.reading("packs") as txn:
            stored = txn.get(key)
            return None if stored is None else self._table(key, stored)

    def _table(self, key: bytes, stored: bytes | memoryview | None) -> IndexedPack:
        return _decoder.decode(self._cache.sound(key, bytes(stored or b"")))

    def table(self, pack: PackId) -> IndexedPack | None:
        """What the index says of one pack."""
        number = self._number(pack)
        return None if number is None else self._load_pack(number)

    def _number(self, pack: PackId) -> int | None:
        """None if it is not known, or was forgotten."""
        with self._cache.reading("numbers") as txn:
            number = txn.get(pack)
        return int(_NUMBER.unpack(bytes(number))[0]) if number else None

    def tables(self) -> Iterator[IndexedPack]:
        """The tables of all packs."""
        with self._cache.reading("packs") as txn:
            for key, value in txn.cursor():
                yield self._table(bytes(key), value)

    def count(self) -> int:
        """How many distinct chunks there are."""
        with self._cache.reading("chunks") as txn:
            return int(txn.stat(self._chunks)["entries"])


def _items(table: IndexedPack, number: int) -> list[tuple[bytes, bytes]]:
    """Its chunks, and their places."""
    found = []
    for bundle_number, bundle in enumerate(table.bundles):
        joined = bundle.chunks
        for position in range(len(joined) // ID_SIZE):
            chunk = joined[position * ID_SIZE : (position + 1) * ID_SIZE]
            found.append((chunk, _PLACE.pack(number, bundle_number, position)))
    return found


def _share(place: Place | None) -> int:
    if place is None:
        return 0
    return place.bundle.length // max(1, len(place.bundle.chunks) // ID_SIZE)


def chunks_of(table: IndexedPack) -> Iterator[bytes]:
    """The ids of all chunks of a pack, in their order."""
    for bundle in table.bundles:
        for at in range(0, len(bundle.chunks), ID_SIZE):
            yield bundle.chunks[at : at + ID_SIZE]


def _groups(found: Iterable[tuple[IndexId | None, list[IndexedPack]]]) -> Iterator[_Group]:
    """So many at a time as are worth a synced commit: each archive may have an index object of its own."""
    group: _Group = []
    chunks = 0
    for index, tables in found:
        group.append((index, tables))
        chunks += sum(len(bundle.chunks) // ID_SIZE for table in tables for bundle in table.bundles)
        if chunks >= _GROUP:
            yield group
            group, chunks = [], 0
    if group:
        yield group


def _guarded(key: bytes, table: IndexedPack) -> bytes:
    return guard(key, msgspec.msgpack.encode(table))
