"""Damaged packs: what is sound in them is copied into new ones, one record frees the old.

A bundle is sound if it opens, and every chunk in it is what its id says. The copy, its index and the
record come first, the removal last: whoever is stopped has lost nothing, and runs it again.
"""

import contextlib
from collections.abc import Iterator

import msgspec

from strongroom.crypto import hashing
from strongroom.crypto.sealing import SealedSession
from strongroom.errors import StrongroomError, VersionUnknown
from strongroom.ids import ID_SIZE, ArchiveId, IndexId, PackId
from strongroom.reporting import REPOSITORY_DAMAGED, Notice
from strongroom.repository import packs, parity
from strongroom.repository.index_objects import UNREADABLE
from strongroom.repository.log import ArchivesBody, FreeingBody, LogState
from strongroom.repository.moving import PackWriter
from strongroom.repository.packs import BundleEntry, IndexedPack
from strongroom.repository.repository import Repository
from strongroom.store.protocol import Range

_PIECE = 8 << 20  # bytes of a pack that are hashed at a time


class RepairOutdated(StrongroomError):
    """Somebody else repaired or compacted meanwhile."""


class Salvage(msgspec.Struct):
    """A damaged or missing pack, and what of it can be kept."""

    pack: PackId
    size: int  # bytes that the repository counts for it
    sessions: list[SealedSession] = []
    sound: list[BundleEntry] = []
    lost: int = 0  # chunks that cannot be kept

    def line(self) -> str:
        name = packs.name(self.pack)
        if not self.sound:
            what = f" with {self.lost} chunks" if self.lost else ""
            return f"{name} is given up{what}: nothing in it can be read"
        lost = f", {self.lost} are lost" if self.lost else ""
        kept = sum(len(one.chunks) for one in self.sound) // ID_SIZE
        return f"{name} is replaced: {kept} chunks of it go into a new pack{lost}"


class Freeing(msgspec.Struct):
    """What one `repair` record is to do."""

    packs: list[Salvage] = []
    unnamed: list[PackId] = []  # damaged, and named by no record
    indexes: list[IndexId] = []  # that cannot be read
    archives: list[ArchiveId] = []  # that are lost
    unlisted: bool = False  # some packs stand in no index object

    @property
    def is_empty(self) -> bool:
        return not (self.packs or self.unnamed or self.indexes or self.archives or self.unlisted)


class Salvager:
    """Looks into damaged packs. Needs a key that opens."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._store = repository.store
        self._reader = repository.bundle_reader()
        self._present = {one.name: one.size for one in self._store.list("packs/")}

    def look(self, pack: PackId) -> Salvage | None:
        """None where nothing can be made better."""
        size = self._present.get(packs.name(pack))
        known = self._repository.index.table(pack)
        found = Salvage(pack, known.size if known is not None else size or 0)
        bundles = [] if known is None else known.bundles
        sound_table = False
        if size is not None:
            try:
                trailer = packs.read_trailer(self._store, pack, size)
                sound_table = known is None or known.bundles == trailer.bundles
                bundles, found.sessions = trailer.bundles, trailer.sessions
            except UNREADABLE:
                found.sessions = self._guess_sessions(pack, bundles)
        for bundle in bundles:
            if self._opens(found, bundle):
                found.sound.append(bundle)
            else:
                found.lost += len(bundle.chunks) // ID_SIZE
        if size is not None and sound_table and self._is_true(pack, size):
            return None  # whoever wrote it lied: there is nothing behind it that could come back
        return found

    def _is_true(self, pack: PackId, size: int) -> bool:
        pieces = (Range(packs.name(pack), at, _PIECE) for at in range(0, size, _PIECE))
        try:
            return hashing.same(hashing.hash_in_pieces(self._store.get_many(pieces)), pack)
        except UNREADABLE:
            return False

    def _opens(self, found: Salvage, bundle: BundleEntry) -> bool:
        if bundle.session >= len(found.sessions):
            return False
        return self._opens_with(found.sessions[bundle.session], found.pack, bundle)

    def _opens_with(self, session: SealedSession, pack: PackId, bundle: BundleEntry) -> bool:
        try:
            stored = self._store.get(packs.name(pack), bundle.offset, bundle.length)
            self._reader.open_with(session, bundle, memoryview(stored))
        except (*UNREADABLE, VersionUnknown):
            return False
        return True

    def _guess_sessions(self, pack: PackId, bundles: list[BundleEntry]) -> list[SealedSession]:
        """A pack's own list is lost: one run fills several packs, and the others tell its sessions too."""
        smallest: dict[int, BundleEntry] = {}
        for bundle in sorted(bundles, key=lambda one: one.length, reverse=True):
            smallest[bundle.session] = bundle
        if not smallest:
            return []
        found: dict[int, SealedSession] = {}
        for session in self._sessions_of_others(pack):
            for number, bundle in smallest.items():
                if number not in found and self._opens_with(session, pack, bundle):
                    found[number] = session
            if len(found) == len(smallest):
                break
        if not found:
            return []
        filler = next(iter(found.values()))  # opens nothing that is not its own
        return [found.get(number, filler) for number in range(max(smallest) + 1)]

    def _sessions_of_others(self, pack: PackId) -> Iterator[SealedSession]:
        """Those of packs of the same commit first."""
        sources = self._repository.state.packs
        own = set(sources.get(pack, ()))
        seen: set[bytes] = set()
        for other in sorted(sources, key=lambda one: own.isdisjoint(sources[one])):
            size = self._present.get(packs.name(other))
            if other == pack or size is None:
                continue
            with contextlib.suppress(*UNREADABLE):
                for session in packs.read_trailer(self._store, other, size).sessions:
                    if session.id not in seen:
                        seen.add(session.id)
                        yield session


def free(repository: Repository, wanted: Freeing) -> FreeingBody:
    """Copy, publish, record; what is freed by that is still there.

    Raises `RepairOutdated`, and the store's errors.
    """
    store = repository.store
    base = len(repository.state.freeings)
    gone = {one.pack for one in wanted.packs} | set(wanted.unnamed)
    state = repository.state
    taken = gone | state.freed_packs | state.packs.keys()  # what is freed never comes back
    founded = repository.founding
    writer = PackWriter(store, founded.pack_target, taken.__contains__, founded.parity_percent)
    for one in wanted.packs:
        had = parity.percent_of(store, one.pack)
        for bundle in one.sound:
            stored = store.get(packs.name(one.pack), bundle.offset, bundle.length)
            writer.add(bundle, one.sessions[bundle.session], stored, state.packs[one.pack], had)
    moved = writer.finish()
    for text in parity.lacking(writer.unprotected):
        repository.reporter.warn(Notice(text, *REPOSITORY_DAMAGED))

    def body(state: LogState) -> FreeingBody:
        if len(state.freeings) != base:
            raise RepairOutdated("Another run repaired or compacted meanwhile: run `check --repair` again.")
        replaced, tables = _relist(repository, state, wanted, gone)
        tables += [one.table for one in moved]
        new_indexes = [_put_index(repository, state, group) for group in packs.index_groups(tables)]
        return FreeingBody(
            archives=b"".join(one for one in wanted.archives if one in state.archives),
            packs=b"".join(sorted(gone)),
            indexes=b"".join(replaced),
            new_packs=b"".join(one.table.pack for one in moved),
            new_indexes=b"".join(one for one in new_indexes if one not in state.indexes),
            new_bytes=sum(one.table.size for one in moved),
            freed_bytes=sum(one.size for one in wanted.packs),
            sources=[list(one.sources) for one in moved],
        )

    for archive in wanted.archives:
        if state.archives[archive].deleted is None:
            repository.commit("delete", lambda _, archive=archive: ArchivesBody([archive]))  # type: ignore[misc]
    record = repository.commit("repair", body)
    assert isinstance(record.body, FreeingBody), "it is ours"
    return record.body


def _relist(
    repository: Repository, state: LogState, wanted: Freeing, gone: set[PackId]
) -> tuple[list[IndexId], list[IndexedPack]]:
    """The index objects to be replaced, and the tables of packs that no other one lists."""
    replaced, listed = [], set()
    for index in state.indexes:
        try:
            found = packs.decode_index(repository.store.get(packs.index_name(index)), index)
        except UNREADABLE:
            replaced.append(index)
            continue
        ids = {PackId(one.pack) for one in found}
        if gone.isdisjoint(ids):
            listed |= ids
        else:
            replaced.append(index)
    left = [one for one in state.packs if one not in listed and one not in gone]
    tables, lost = packs.read_tables(repository.store, left)
    if lost:
        raise RepairOutdated("More packs are damaged than were found before: run `check --repair` again.")
    return replaced, tables


def _put_index(repository: Repository, state: LogState, tables: list[IndexedPack]) -> IndexId:
    index, blob = packs.encode_index(tables)
    while index in state.freed_indexes or index in state.indexes:  # such a name never comes back
        tables = [*tables, tables[-1]]
        index, blob = packs.encode_index(tables)
    repository.put_if_new(packs.index_name(index), blob)
    return index
