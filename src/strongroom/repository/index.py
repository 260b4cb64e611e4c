"""Where each chunk lies: the union of the repository's index objects, in the local cache."""

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import lmdb
import msgspec

from strongroom.crypto import hashing
from strongroom.errors import ChunkMissing, Damaged
from strongroom.ids import ID_SIZE, ChunkId, IndexId, PackId
from strongroom.repository import packs
from strongroom.repository.cache import Cache
from strongroom.repository.packs import BundleEntry, IndexedPack
from strongroom.store.protocol import Range, Store

_PLACE = struct.Struct("<IHH")  # pack number, bundle number, position in the bundle
_NUMBER = struct.Struct(">I")
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

    # --- filling ---

    def load(self, store: Store, indexes: Iterable[IndexId]) -> int:
        """Take in the index objects that are not in the cache yet; returns how many.

        One that was never valid counts as empty: a fallen client planted it, which must cost nobody
        else an archive. `check` names it. Raises `Damaged` for one that has changed, `VersionUnknown`.
        """
        with self._cache.reading("indexes") as txn:
            missing = [one for one in indexes if txn.get(one) is None]
        blobs = store.get_many(Range(packs.index_name(one)) for one in missing)
        for index, blob in zip(missing, blobs, strict=True):
            try:
                tables = packs.decode_index(blob, index)
            except Damaged:
                if not hashing.same(hashing.plain_hash(blob), index):
                    raise
                tables = []
            with self._cache.writing() as txn:
                for table in tables:
                    self._put(txn, table)
                txn.put(index, b"", db=self._cache.dbs["indexes"])
        self.refresh()
        return len(missing)

    def intend(self, table: IndexedPack) -> None:
        """Journal a pack that is about to be stored: should we die before we know that it was, the
        next run looks for it. Until then nothing may be deduplicated against it."""
        with self._cache.writing("intents") as txn:
            txn.put(table.pack, msgspec.msgpack.encode(table))

    def add_pending(self, table: IndexedPack) -> None:
        """Journal a pack that is safely stored but that no record names yet."""
        with self._cache.writing() as txn:
            self._put(txn, table)
            txn.put(table.pack, msgspec.msgpack.encode(table), db=self._cache.dbs["pending"])
            txn.delete(table.pack, db=self._cache.dbs["intents"])

    def intents(self) -> Iterator[IndexedPack]:
        with self._cache.reading("intents") as txn:
            for _, value in txn.cursor():
                yield _decoder.decode(value)

    def forget_intent(self, table: IndexedPack) -> None:
        with self._cache.writing("intents") as txn:
            txn.delete(table.pack)

    def pending(self) -> Iterator[IndexedPack]:
        with self._cache.reading("pending") as txn:
            for _, value in txn.cursor():
                yield _decoder.decode(value)

    def settle(self, named: Iterable[PackId], indexes: Iterable[IndexId]) -> None:
        """Packs that a record names now are no longer pending; `indexes` are ours, already taken in."""
        with self._cache.writing() as txn:
            for pack in named:
                txn.delete(pack, db=self._cache.dbs["pending"])
            for index in indexes:
                txn.put(index, b"", db=self._cache.dbs["indexes"])

    def forget_pending(self, table: IndexedPack) -> None:
        """The pack turned out not to be in the store: nothing may be deduplicated against it."""
        with self._cache.writing() as txn:
            numbers = self._cache.dbs["numbers"]
            number = txn.get(table.pack, db=numbers)
            txn.delete(table.pack, db=self._cache.dbs["pending"])
            if number is None:
                return
            (wanted,) = _NUMBER.unpack(number)
            for bundle in table.bundles:
                for at in range(0, len(bundle.chunks), ID_SIZE):
                    chunk = bundle.chunks[at : at + ID_SIZE]
                    place = txn.get(chunk, db=self._chunks)
                    if place is not None and _PLACE.unpack(place)[0] == wanted:
                        txn.delete(chunk, db=self._chunks)
            txn.delete(number, db=self._cache.dbs["packs"])
            txn.delete(table.pack, db=numbers)
        self.refresh()

    def _put(self, txn: lmdb.Transaction, table: IndexedPack) -> None:
        numbers, tables = self._cache.dbs["numbers"], self._cache.dbs["packs"]
        if txn.get(table.pack, db=numbers) is not None:
            return
        last = txn.cursor(db=tables)
        number = _NUMBER.unpack(last.key())[0] + 1 if last.last() else 0
        key = _NUMBER.pack(number)
        txn.put(key, msgspec.msgpack.encode(table), db=tables)
        txn.put(table.pack, key, db=numbers)
        items = []
        for bundle_number, bundle in enumerate(table.bundles):
            joined = bundle.chunks
            for position in range(len(joined) // ID_SIZE):
                chunk = joined[position * ID_SIZE : (position + 1) * ID_SIZE]
                items.append((chunk, _PLACE.pack(number, bundle_number, position)))
        items.sort()  # sorted puts touch each page once
        txn.cursor(db=self._chunks).putmulti(items, overwrite=False)

    # --- looking up ---

    def refresh(self) -> None:
        """Make what other threads and processes have added visible."""
        if self._txn is not None:
            self._txn.abort()
            self._txn = None

    def __contains__(self, chunk: bytes) -> bool:
        return self.finder()(chunk) is not None

    def finder(self) -> Callable[[bytes], object | None]:
        """The look-up itself, None for an unknown chunk; valid until the next `refresh`."""
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
            return None
        number, bundle, position = _PLACE.unpack(value)
        table = self._pack(number)
        return Place(PackId(table.pack), table.size, table.bundles[bundle], position)

    def _load_pack(self, number: int) -> IndexedPack:
        with self._cache.reading("packs") as txn:
            return _decoder.decode(txn.get(_NUMBER.pack(number)) or b"")

    def tables(self) -> Iterator[IndexedPack]:
        """The tables of all packs."""
        with self._cache.reading("packs") as txn:
            for _, value in txn.cursor():
                yield _decoder.decode(value)

    def count(self) -> int:
        """How many distinct chunks there are."""
        with self._cache.reading("chunks") as txn:
            return int(txn.stat(self._chunks)["entries"])
