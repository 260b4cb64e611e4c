"""Copying bundles between packs as they are, without any key: into new packs of the usual size.

A new pack's table of sessions is put together from those of the packs that its bundles come from.
It gets parity where the repository wants it, or where one of those packs had it.
"""

import contextlib
import os
from collections.abc import Callable, Iterable

import msgspec

from strongroom.crypto import hashing
from strongroom.crypto.sealing import PLAIN, SealedSession
from strongroom.errors import CommandError, ObjectExists, PackDamaged, QuotaExceeded, StoreFull
from strongroom.ids import SESSION_ID_SIZE, PackId
from strongroom.repository import packs, parity
from strongroom.repository.packs import BundleEntry, IndexedPack, Trailer
from strongroom.store.protocol import Store


class MovedPack(msgspec.Struct, frozen=True):
    """A new pack that is stored; `sources` are the records that first brought its bundles."""

    table: IndexedPack
    sources: tuple[int, ...]


class PackWriter:
    """Takes bundles as they are stored, stores full packs. Call `finish` at the end."""

    def __init__(self, store: Store, target: int, is_taken: Callable[[PackId], bool], percent: int) -> None:
        """`target` is the size of a pack in bytes; `is_taken` tells names that the log has used before.

        `percent` of each pack is the parity that the repository wants.
        """
        self._store = store
        self._target = target
        self._is_taken = is_taken
        self._wanted = percent
        self.finished: list[MovedPack] = []
        self.unprotected: dict[PackId, str] = {}  # new packs that have no parity, though they should, and why
        self._begin()

    def _begin(self) -> None:
        self._body = bytearray(packs.HEADER)
        self._bundles: list[BundleEntry] = []
        self._sessions: dict[tuple[bytes, int, bytes], int] = {}
        self._sources: set[int] = set()
        self._ids = 0
        self._percent = self._wanted

    def add(
        self,
        bundle: BundleEntry,
        session: SealedSession,
        stored: bytes | memoryview,
        sources: Iterable[int],
        percent: int = 0,
    ) -> None:
        """One bundle, its bytes as they are; `percent` of parity had its pack. Raises the store's errors."""
        if self._bundles and (
            len(self._body) + len(stored) > self._target
            or len(self._bundles) >= packs.MAX_BUNDLES
            or len(self._sessions) >= packs.MAX_SESSIONS - 1
            or self._ids + len(bundle.chunks) > packs.MOST_IDS
        ):
            self._store_pack()
        key = (session.id, session.algorithm, session.sealed)
        number = self._sessions.setdefault(key, len(self._sessions))
        self._bundles.append(BundleEntry(len(self._body), len(stored), bundle.kind, number, bundle.chunks))
        self._body += stored
        self._ids += len(bundle.chunks)
        self._sources.update(sources)
        self._percent = self._wanted or max(self._percent, percent)

    def finish(self) -> list[MovedPack]:
        """All packs, the last one too."""
        if self._bundles:
            self._store_pack()
        return self.finished

    def _store_pack(self) -> None:
        sessions = [SealedSession(*one) for one in self._sessions]
        trailer = packs.encode_trailer(Trailer(sessions, self._bundles))
        pack = PackId(hashing.plain_hash(self._body, trailer))
        while self._is_taken(pack):  # a session that no bundle uses makes it another one
            sessions = [*sessions, SealedSession(os.urandom(SESSION_ID_SIZE), PLAIN, b"")]
            trailer = packs.encode_trailer(Trailer(sessions, self._bundles))
            pack = PackId(hashing.plain_hash(self._body, trailer))
        with contextlib.suppress(ObjectExists):  # named by its hash: the same bytes
            self._store.put(packs.name(pack), [self._body, trailer])
        try:
            parity.put_beside(self._store, pack, [self._body, trailer], self._percent)
        except (
            CommandError,
            StoreFull,
            QuotaExceeded,
        ) as error:  # space and data matter more than what guards them
            self.unprotected[pack] = str(error)
        table = IndexedPack(pack, len(self._body) + len(trailer), self._bundles)
        self.finished.append(MovedPack(table, tuple(sorted(self._sources))))
        self._begin()


def read_whole(store: Store, pack: PackId) -> tuple[memoryview, Trailer]:
    """A pack's bytes and its trailer, checked: rot is not to be copied under a new name.

    Raises `PackDamaged`, `VersionUnknown`, and the store's errors.
    """
    blob = memoryview(store.get(packs.name(pack)))
    if not hashing.same(hashing.plain_hash(blob), pack):
        raise PackDamaged(f"{packs.name(pack)} is damaged. {packs.ADVICE}")
    trailer = packs.decode_trailer(blob, pack, len(blob))
    assert isinstance(trailer, Trailer), "all of the pack is there"
    return blob, trailer
