"""Fetching and opening bundles, checking every chunk against its id."""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import cast

from strongroom.crypto import hashing
from strongroom.crypto.sealing import OVERHEAD, SealedSession, SessionReader
from strongroom.errors import ChunkMissing, Damaged, ObjectMissing, PackDamaged, StoreFailed, VersionUnknown
from strongroom.ids import ID_SIZE, ChunkId, PackId
from strongroom.repository import bundles, packs
from strongroom.repository.index import ChunkIndex, Place
from strongroom.repository.packs import BundleEntry
from strongroom.repository.room import Room
from strongroom.store.protocol import Buffer, Store, StoreInto

CACHE_BYTES = 48 * 1024 * 1024
REQUESTS = 8  # under way at a time to a store that is far; with 20 ms and bundles of 500 KB: 200 MB/s


class BundleReader:
    """Opens bundles. `open_bundle` is safe to use from several threads; it keeps nothing."""

    def __init__(
        self,
        store: Store,
        sessions: SessionReader,
        chunk_id: Callable[[memoryview], ChunkId],
        rescue: Callable[[PackId], Buffer | None] = lambda _: None,
        opened: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`rescue` gives the true bytes of a pack that cannot be read where it lies, if it can.

        `opened` is told the algorithm of each bundle that was opened, by its stored id.
        """
        self._opened = opened
        self._store = store
        self._rescue = rescue
        self._sessions = sessions
        self._chunk_id = chunk_id
        self.sessions_of = lru_cache(maxsize=1024)(self._sessions_of)
        """Of a pack, given with its size in bytes. Raises `PackDamaged`, and the store's errors."""

        self._learnt: dict[PackId, list[SealedSession]] = {}

    def _sessions_of(self, pack: PackId, size: int) -> list[SealedSession]:
        learnt = self._learnt.get(pack)
        return learnt if learnt is not None else packs.read_trailer(self._store, pack, size).sessions

    def learn(self, pack: PackId, sessions: list[SealedSession]) -> None:
        """They need not be read."""
        self._learnt[pack] = sessions

    @property
    def is_far(self) -> bool:
        """Whether to `fetch` several bundles at once pays."""
        return not isinstance(self._store, StoreInto)

    def expect(self, chunks: Iterable[ChunkId]) -> None:
        """These will be opened, about in this order. A bundle is large enough to be fetched alone."""

    def open_bundle(
        self,
        pack: PackId,
        size: int,
        bundle: BundleEntry,
        *,
        verify: bool = True,
        room: Room | None = None,
        fetched: Callable[[], Buffer] | None = None,
    ) -> list[memoryview]:
        """The chunks of a bundle, in the order of its table; `size` is the pack's, in bytes.

        `verify` checks each chunk against its id. In a `room` the chunks last until it is used again.
        `fetched` gives or raises what `fetch` did, ahead of time. Raises `PackDamaged`, `RoleInsufficient`,
        and the store's errors.
        """
        if room is not None and not room.has_space_for(bundle.length):
            room = None
        try:
            return self._open_bundle(pack, size, bundle, verify, room, fetched)
        except PackDamaged:
            rescued = self._open_rescued(pack, size, bundle, verify, room)
            if rescued is None:
                raise
            return rescued

    def _open_rescued(
        self, pack: PackId, size: int, bundle: BundleEntry, verify: bool, room: Room | None = None
    ) -> list[memoryview] | None:
        whole = self._rescue(pack)
        if whole is None or len(whole) != size:
            return None
        sessions = packs.whole_trailer(whole, pack).sessions
        stored = memoryview(whole)[bundle.offset : bundle.offset + bundle.length]
        return self._open_stored(sessions, pack, bundle, stored, verify=verify, room=room)

    def true_chunk(
        self, pack: PackId, size: int, bundle: BundleEntry, position: int, chunk: memoryview
    ) -> memoryview:
        """What its id says, of a chunk that was opened without `verify`.

        That is the chunk itself, or where nothing was encrypted, and a bundle opens whatever its bytes are,
        one out of what the pack was. Raises `PackDamaged`.
        """
        try:
            self.check(bundle, position, chunk)
        except Damaged as error:
            plain = self._sessions.plain_allowed
            rescued = self._open_rescued(pack, size, bundle, verify=True) if plain else None
            if rescued is None:
                raise PackDamaged(f"{packs.name(pack)}: {error} {packs.ADVICE}") from error
            return rescued[position]
        return chunk

    def _open_bundle(
        self,
        pack: PackId,
        size: int,
        bundle: BundleEntry,
        verify: bool,
        room: Room | None,
        fetched: Callable[[], Buffer] | None,
    ) -> list[memoryview]:
        try:
            stored = memoryview(fetched()) if fetched else self._fetch(pack, bundle, room)
        except ObjectMissing as error:
            raise PackDamaged(f"{packs.name(pack)} is missing. {packs.ADVICE}") from error
        except StoreFailed as error:  # sectors that cannot be read
            raise PackDamaged(f"{packs.name(pack)} cannot be read: {error}") from error
        return self._open_stored(None, pack, bundle, stored, verify=verify, size=size, room=room)

    def fetch(self, pack: PackId, bundle: BundleEntry) -> Buffer:
        """A bundle as it is stored. Raises the store's errors."""
        return self._store.get(packs.name(pack), bundle.offset, bundle.length)

    def _fetch(self, pack: PackId, bundle: BundleEntry, room: Room | None) -> memoryview:
        if room is None or not isinstance(self._store, StoreInto):
            return memoryview(self.fetch(pack, bundle))
        return self._store.get_into(packs.name(pack), bundle.offset, bundle.length, room.stored)

    def open_stored(
        self, pack: PackId, size: int, bundle: BundleEntry, stored: memoryview, *, verify: bool = True
    ) -> list[memoryview]:
        """The same for a bundle whose bytes are at hand."""
        return self._open_stored(None, pack, bundle, stored, verify=verify, size=size)

    def _open_stored(
        self,
        sessions: list[SealedSession] | None,
        pack: PackId,
        bundle: BundleEntry,
        stored: memoryview,
        *,
        verify: bool,
        size: int = 0,
        room: Room | None = None,
    ) -> list[memoryview]:
        try:
            if len(stored) != bundle.length:
                raise Damaged("The pack ends too early.")
            if sessions is None:
                sessions = self.sessions_of(pack, size)
            if bundle.session >= len(sessions):
                raise Damaged("A bundle names a session that its pack does not have.")
            return self.open_with(sessions[bundle.session], bundle, stored, verify=verify, room=room)
        except PackDamaged:  # of its table: it names the pack and what to do
            raise
        except (Damaged, VersionUnknown, ObjectMissing, StoreFailed) as error:
            # The trailer tells a future format, and is read first: an unknown version here is damage.
            raise PackDamaged(
                f"{packs.name(pack)}, bundle at {bundle.offset}: {error} {packs.ADVICE}"
            ) from error

    def open_with(
        self,
        session: SealedSession,
        bundle: BundleEntry,
        stored: memoryview,
        *,
        verify: bool = True,
        room: Room | None = None,
    ) -> list[memoryview]:
        """The same under a session at hand. Raises `Damaged`, `VersionUnknown`, `RoleInsufficient`."""
        into = room.plain(max(0, len(stored) - OVERHEAD)) if room else None
        plain = self._sessions.decrypt(session, bundle.kind, stored, into)
        chunks = bundles.decode(plain, len(bundle.chunks) // ID_SIZE, room)
        self._opened(bundles.algorithm_of(plain))
        if verify:
            for position, chunk in enumerate(chunks):
                self.check(bundle, position, chunk)
        return chunks

    def check(self, bundle: BundleEntry, position: int, chunk: memoryview) -> None:
        """Raises `Damaged` if the chunk is not what its id says."""
        wanted = bundle.chunks[position * ID_SIZE : (position + 1) * ID_SIZE]
        if not hashing.same(self._chunk_id(chunk), wanted):
            raise Damaged(f"Chunk {wanted.hex()} has other bytes than its id says.")


class _OutOfReach:
    """In place of the store, for whoever may not use the connection to it."""

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        raise ObjectMissing(f"{name} is for another process to fetch")


def forked_reader(
    store: Store, sessions: SessionReader, chunk_id: Callable[[memoryview], ChunkId]
) -> BundleReader:
    """One that neither rescues nor tells, and leaves a store that is far alone."""
    near = isinstance(store, StoreInto)
    return BundleReader(store if near else cast("Store", _OutOfReach()), sessions, chunk_id)


class ChunkReader:
    """Single chunks by id, through a cache of opened bundles bounded in bytes. For one thread."""

    def __init__(
        self,
        index: ChunkIndex,
        reader: BundleReader,
        renew: Callable[[], ChunkIndex | None],
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """`renew` gives the index anew, for another thread too, if bundles were moved since; else None."""
        self._index = index
        self._is_renewed = False
        self._renew = renew
        self._vain: set[PackId] = set()  # packs that no news helped with
        self._reader = reader
        self._limit = cache_bytes
        self._held = 0
        self._cache: OrderedDict[tuple[PackId, int], list[memoryview]] = OrderedDict()

    def read(self, chunk: ChunkId) -> memoryview:
        """Raises `ChunkMissing`, `PackDamaged`, `RoleInsufficient`, and the store's errors."""
        try:
            return self._read_at(self._index.find(chunk))
        except (PackDamaged, ChunkMissing):
            found = self.read_elsewhere(chunk)
            if found is None:
                raise
            return found

    def read_elsewhere(self, chunk: ChunkId) -> memoryview | None:
        """The chunk from another place than the first one of the index that this reader began with.

        None if there is none, or none that is sound.
        """
        first = self._index.get(chunk)
        # whoever asks may have looked it up before the index was renewed
        found = self._first_sound(self._places(chunk) if self._is_renewed else self._index.others(chunk))
        if found is not None or (first is not None and first.pack in self._vain):
            return found
        renewed = self._renew()
        if renewed is None:
            if first is not None:
                self._vain.add(first.pack)
            return None
        self._index, self._is_renewed = renewed, True
        return self._first_sound(self._places(chunk))

    def _places(self, chunk: ChunkId) -> list[Place]:
        first = self._index.get(chunk)
        return ([first] if first else []) + self._index.others(chunk)

    def _first_sound(self, places: list[Place]) -> memoryview | None:
        for place in places:
            with contextlib.suppress(PackDamaged):
                return self._read_at(place)
        return None

    def _read_at(self, place: Place) -> memoryview:
        opened = self._bundle(place)[place.position]
        return self._reader.true_chunk(place.pack, place.pack_size, place.bundle, place.position, opened)

    def _bundle(self, place: Place) -> list[memoryview]:
        key = (place.pack, place.bundle.offset)
        found = self._cache.get(key)
        if found is not None:
            self._cache.move_to_end(key)
            return found
        chunks = self._reader.open_bundle(place.pack, place.pack_size, place.bundle, verify=False)
        self._cache[key] = chunks
        self._held += _size(chunks)
        while self._held > self._limit and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._held -= _size(dropped)
        return chunks


def _size(chunks: list[memoryview]) -> int:
    return sum(map(len, chunks))
