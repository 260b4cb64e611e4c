"""What `compact` would free: archives, packs, blocks of refs, and what is left over. Works without any key.

planned = plan(store, state, terms)
for word in planned.warnings: ...
"""

from collections.abc import Container, Iterator

import msgspec

from strongroom.errors import Damaged, ObjectMissing
from strongroom.ids import ArchiveId, IndexId, PackId
from strongroom.repository import packs
from strongroom.repository.index_objects import UNREADABLE
from strongroom.repository.known import ArchiveState
from strongroom.repository.liveness import Liveness, blocks_of
from strongroom.repository.log import LogState
from strongroom.repository.newer import newer_places
from strongroom.repository.packs import BundleEntry, IndexedPack
from strongroom.repository.survey import Survey, survey
from strongroom.store.protocol import Store


class Terms(msgspec.Struct, frozen=True):
    """What may be freed. Nothing dead for less than `quarantine` ns; 0 means at once."""

    quarantine: int
    threshold: float  # share of a pack, 0 to 1, that must be dead for the rest to be moved
    now: int  # ns since the epoch


class PackUse(msgspec.Struct, frozen=True):
    """Bytes of a pack's bundles, and of those that are still used."""

    pack: PackId
    size: int  # of the whole pack
    bundles: int
    live: int


class Plan(msgspec.Struct):
    terms: Terms
    liveness: Liveness
    counted: int  # archives that it knew when the packs were judged
    archives: list[ArchiveState]  # to be freed
    waiting: list[ArchiveState]  # dead, and still in quarantine
    survey: Survey
    dead: list[PackUse] = []
    partial: list[PackUse] = []
    refs: set[bytes] = set()
    listed_in: dict[PackId, set[IndexId]] = {}
    warnings: list[str] = []
    cramped: list[PackUse] = []  # found no room for a copy of what is used

    @property
    def freed_bytes(self) -> int:
        """Of packs that go without a copy."""
        return sum(one.size for one in self.dead) + sum(
            self.survey.strays["packs"][one] for one in self.survey.aged["packs"]
        )

    @property
    def moved_bytes(self) -> int:
        """That have to be copied to free the rest of their packs."""
        return sum(one.live for one in self.partial)

    @property
    def regained_bytes(self) -> int:
        """Of packs that are partly used."""
        return sum(one.bundles - one.live for one in self.partial)

    @property
    def is_empty(self) -> bool:
        """Whether a record would say nothing new."""
        found = self.survey
        return not (
            self.archives
            or self.dead
            or self.partial
            or self.refs
            or found.unseen
            or any(found.aged.values())
        )


def is_due(state: LogState, archive: ArchiveState, terms: Terms) -> bool:
    """Whether the archive has been dead for long enough."""
    if archive.deleted is None:
        return False
    return (
        terms.quarantine <= 0 or terms.now - state.dead_since(archive.deleted, terms.now) >= terms.quarantine
    )


def plan(store: Store, state: LogState, terms: Terms, as_if_deleted: Container[ArchiveId] = ()) -> Plan:
    """`as_if_deleted`: also these archives, from now on.

    Raises `Damaged` where nobody can tell what an archive uses, and the store's errors."""
    deleted_now = as_if_deleted if terms.quarantine <= 0 else ()
    due = [one for one in state.archives.values() if is_due(state, one, terms) or one.id in deleted_now]
    gone = {one.id for one in due}
    waiting = [one for one in state.dead() if one.id not in gone]
    known = [*state.archives.values(), *state.freed_archives.values()]
    liveness = Liveness(store, sum(one.body.new_chunks for one in known))
    add_living(liveness, state, gone)
    freed_refs = blocks_of(store, due, liveness.blocks)
    found = survey(store, state, liveness.blocks | freed_refs, terms.quarantine, terms.now)
    planned = Plan(terms, liveness, len(liveness.archives), due, waiting, found, refs=freed_refs)
    _judge_packs(store, state, planned)
    return planned


def add_living(liveness: Liveness, state: LogState, gone: set[ArchiveId]) -> None:
    """Raises `Damaged` and the store's errors."""
    for archive in list(state.archives.values()):
        if archive.id not in gone:
            try:
                liveness.add(archive)
            except (Damaged, ObjectMissing) as error:
                raise Damaged(
                    f"What the archive aid:{archive.id.hex()[:16]} uses cannot be read, so nothing may be "
                    f"freed: {error} Repair it with `strongroom check --repair`, or delete it."
                ) from error


def tables_of(store: Store, state: LogState) -> Iterator[tuple[IndexId | None, IndexedPack]]:
    """Each pack's table, as often as index objects list it; those of packs that none lists come last."""
    listed: set[PackId] = set()
    for index in list(state.indexes):
        for table in index_tables(store, index):
            listed.add(PackId(table.pack))
            yield index, table
    for table in packs.each_table(store, [one for one in state.packs if one not in listed], {}):
        yield None, table


class _Tables:
    """The tables of all packs that the log names, anew each time they are gone through."""

    def __init__(self, store: Store, state: LogState) -> None:
        self._store, self._state = store, state

    def __iter__(self) -> Iterator[IndexedPack]:
        return (table for _, table in tables_of(self._store, self._state) if table.pack in self._state.packs)


def index_tables(store: Store, index: IndexId) -> list[IndexedPack]:
    """Empty for an index object that was never valid, or cannot be read: the packs are asked then."""
    try:
        blob = store.get(packs.index_name(index))
        return packs.decode_index(blob, index)
    except UNREADABLE:
        return []


def live_bytes(liveness: Liveness, pack: PackId, bundles: list[BundleEntry]) -> int:
    """Stored bytes of the pack's bundles of which some chunk is used."""
    return sum(one.length for one in bundles if liveness.needs(pack, one.chunks))


def _judge_packs(store: Store, state: LogState, planned: Plan) -> None:
    planned.liveness.newer = newer_places(store, state, _Tables(store, state), planned.warnings)
    judged: dict[PackId, PackUse] = {}
    for index, table in tables_of(store, state):
        pack = PackId(table.pack)
        if index is not None:
            planned.listed_in.setdefault(pack, set()).add(index)
        if pack in judged or pack not in state.packs:
            continue
        bundles = sum(one.length for one in table.bundles)
        judged[pack] = PackUse(pack, table.size, bundles, live_bytes(planned.liveness, pack, table.bundles))
    for pack, use in judged.items():
        if not _is_worth_it(use, planned.terms):
            continue
        true = _by_its_trailer(store, planned, pack)
        if true is None:
            continue
        if not true.live:
            planned.dead.append(true)
        elif _is_worth_it(true, planned.terms):
            planned.partial.append(true)


def _is_worth_it(use: PackUse, terms: Terms) -> bool:
    return not use.live or (use.bundles - use.live) > terms.threshold * use.bundles


def _by_its_trailer(store: Store, planned: Plan, pack: PackId) -> PackUse | None:
    """The same by the pack's own word: an index object may be planted, to have others' packs freed."""
    size = planned.survey.sizes.get(pack)
    if size is None:
        planned.warnings.append(f"{packs.name(pack)} is missing: run `strongroom check`.")
        return None
    try:
        trailer = packs.read_trailer(store, pack, size)
    except UNREADABLE as error:
        planned.warnings.append(f"{packs.name(pack)} is left alone: {error}")
        return None
    bundles = sum(one.length for one in trailer.bundles)
    return PackUse(pack, size, bundles, live_bytes(planned.liveness, pack, trailer.bundles))
