"""Freeing what a plan found: copy, record, then remove. Works without any key but the signer's.

    for step in execute(store, journal, plan(store, journal.state, terms)): ...

Each round copies what is still used of some packs into new ones, appends one record that names all
that is freed and all that takes its place, and only then removes objects. Killed at any point, it
leaves the repository whole: strays before the record, leftovers after it, which the next run removes.
See docs/decisions/0010-what-is-freed-never-comes-back.md for why this is safe beside anybody else.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from strongroom.errors import Damaged, ObjectExists, ObjectMissing, StoreRefused
from strongroom.ids import ID_SIZE, IndexId, PackId
from strongroom.repository import packs, parity
from strongroom.repository.index_objects import UNREADABLE
from strongroom.repository.log import Body, FreeingBody, Kind, LogState, Record, split_ids
from strongroom.repository.moving import MovedPack, PackWriter, read_whole
from strongroom.repository.packs import IndexedPack
from strongroom.repository.planning import PackUse, Plan, add_living, index_tables, is_due, live_bytes
from strongroom.repository.survey import AREAS, freed_by, object_name
from strongroom.store.protocol import Store

ROUND_BYTES = 256 * 1024 * 1024  # copied in one round: what a killed run loses, and what space it takes
_MARGIN = 8  # of the room that there is, one part in so many is left for index objects and records
_MOST_PACKS = 20_000  # freed by one record
_MOST_REFS = 200_000


class Journal(Protocol):
    """The log, for whoever may sign."""

    @property
    def state(self) -> LogState: ...

    def commit(self, kind: Kind, make_body: Callable[[LogState], Body]) -> Record:
        """Append a record; `make_body` is asked anew each time another writer was faster."""


class Step(msgspec.Struct, frozen=True):
    """What one round did; bytes as stored."""

    record: Record | None  # None: only what an earlier run had left over was removed
    freed: int = 0
    moved: int = 0
    objects: int = 0  # removed


class PlanOutdated(Exception):
    """Another run has freed something meanwhile: plan anew."""


def execute(store: Store, journal: Journal, planned: Plan, target: int, percent: int = 0) -> Iterator[Step]:
    """Free round by round; `target` is the size of new packs in bytes, `percent` of it their parity.

    Raises `PlanOutdated` when it was overtaken, `StoreRefused` where this client may not remove, and
    the store's errors.
    """
    check_may_remove(store)
    if planned.survey.leftovers:
        yield Step(None, objects=_remove(store, planned.survey.leftovers))
    base = len(journal.state.freeings)
    if not planned.is_empty:
        yield from _free_dead(store, journal, planned, base)
    waiting = list(planned.partial)
    while waiting and (batch := _next_batch(waiting, store.room(), percent)):
        round_ = _Round(store, journal, planned, batch, [], len(journal.state.freeings))
        round_.copy(target, percent)
        yield round_.commit()
    planned.cramped = waiting


def _next_batch(waiting: list[PackUse], room: int, percent: int) -> list[PackUse]:
    """Takes from `waiting` what is copied in one round; nothing where no pack's rest fits into `room`."""
    usable = room - room // _MARGIN
    if usable < 2 * ROUND_BYTES:
        waiting.sort(key=lambda use: use.live)  # first what takes the least room
    batch: list[PackUse] = []
    taken = 0
    while waiting and taken < ROUND_BYTES:
        # a new trailer is no longer than the old one
        taken += (waiting[0].live + waiting[0].size - waiting[0].bundles) * (100 + percent) // 100
        if taken > usable:
            break
        batch.append(waiting.pop(0))
    return batch


def check_may_remove(store: Store) -> None:
    """Raises `StoreRefused` before anything is recorded: what nobody can remove should not be freed."""
    try:
        store.delete(packs.name(PackId(bytes(ID_SIZE))))
    except ObjectMissing:
        return
    except StoreRefused as error:
        raise StoreRefused(
            f"{store.describe()} lets this client remove nothing, so nothing is freed: {error}. "
            "Run `strongroom server compact` on the server, or connect with an ssh key that may delete."
        ) from error


def _free_dead(store: Store, journal: Journal, planned: Plan, base: int) -> Iterator[Step]:
    dead, blocks = planned.dead, sorted(planned.refs)
    first = True
    while first or dead or blocks:
        now, dead = dead[:_MOST_PACKS], dead[_MOST_PACKS:]
        some, blocks = blocks[:_MOST_REFS], blocks[_MOST_REFS:]
        nothing_else = first and not (now or some or planned.archives or any(planned.survey.aged.values()))
        if not (nothing_else and not planned.survey.unseen):
            yield _Round(store, journal, planned, now, some, base, first=first).commit()
        first, base = False, len(journal.state.freeings)


class _Round:
    def __init__(
        self,
        store: Store,
        journal: Journal,
        planned: Plan,
        uses: list[PackUse],
        blocks: list[bytes],
        base: int,
        *,
        first: bool = False,
    ) -> None:
        """`base`: how many freeing records there were when all of this was found to be so."""
        self._store = store
        self._journal = journal
        self._plan = planned
        self._uses = {use.pack: use for use in uses}
        self._blocks = blocks
        self._base = base
        self._first = first
        self._moved: list[MovedPack] = []
        self._dead_chunks: dict[PackId, bytes] = {}

    def copy(self, target: int, percent: int) -> None:
        """What is used of the packs, into new ones. A pack that rotted is left alone."""
        writer = PackWriter(self._store, target, self._is_taken, percent)
        for pack in list(self._uses):
            try:
                blob, trailer = read_whole(self._store, pack)
            except (Damaged, ObjectMissing) as error:
                self._plan.warnings.append(f"{packs.name(pack)} is left alone: {error}")
                del self._uses[pack]
                continue
            live = live_bytes(self._plan.liveness, pack, trailer.bundles)
            if live == self._uses[pack].bundles:  # all of it has come to life since
                del self._uses[pack]
                continue
            left = []
            had = parity.percent_of(self._store, pack)
            for bundle in trailer.bundles:
                if self._plan.liveness.needs(pack, bundle.chunks):
                    stored = blob[bundle.offset : bundle.offset + bundle.length]
                    sources = self._journal.state.packs[pack]
                    writer.add(bundle, trailer.sessions[bundle.session], stored, sources, had)
                else:
                    left.append(bundle.chunks)
            self._dead_chunks[pack] = b"".join(left)
        self._moved = writer.finish()
        self._plan.warnings += parity.lacking(writer.unprotected)

    def _is_taken(self, pack: PackId) -> bool:
        state = self._journal.state
        return pack in state.packs or pack in state.freed_packs

    def commit(self) -> Step:
        record = self._journal.commit("compact", self._body)
        body = record.body
        assert isinstance(body, FreeingBody), "it is ours"
        for index in split_ids(body.indexes):  # later rounds rewrite what lists their packs now
            for listed in self._plan.listed_in.values():
                listed.discard(IndexId(index))
        for index, tables in self._new_indexes.items():
            for table in tables:
                self._plan.listed_in.setdefault(PackId(table.pack), set()).add(index)
        removed = _remove(self._store, freed_names(body))
        return Step(record, body.freed_bytes - body.new_bytes, body.new_bytes, removed)

    def _body(self, state: LogState) -> FreeingBody:
        """Asked anew after each record that came between: what that one uses stays."""
        plan = self._plan
        newer = plan.liveness.newer
        if len(state.freeings) != self._base or (
            newer and not state.distrusted_packs().isdisjoint(newer.values())
        ):
            raise PlanOutdated
        due = [one for one in plan.archives if one.id in state.archives and is_due(state, one, plan.terms)]
        add_living(plan.liveness, state, {one.id for one in due})
        freed = [use for use in self._uses.values() if self._is_still_dead(use)]
        given_up = plan.survey.aged if self._first else {area: [] for area in AREAS}
        stray_packs = [PackId(one) for one in given_up["packs"] if PackId(one) not in state.packs]
        gone = {use.pack for use in freed} | set(stray_packs)
        indexes = self._rewrite(state, gone)
        aged_indexes = [one for one in given_up["index"] if one not in state.indexes]
        new_indexes = [one for one in self._new_indexes if one not in state.indexes]
        refs = set(self._blocks) | set(given_up["refs"])
        body = FreeingBody(
            archives=b"".join(one.id for one in due) if self._first else b"",
            packs=b"".join(use.pack for use in freed) + b"".join(stray_packs),
            indexes=b"".join((*indexes, *aged_indexes)),
            refs=b"".join(sorted(refs - plan.liveness.blocks)),
            new_packs=b"".join(one.table.pack for one in self._moved),
            new_indexes=b"".join(new_indexes),
            new_bytes=sum(one.table.size for one in self._moved),
            freed_bytes=sum(use.size for use in freed),
            sources=[list(one.sources) for one in self._moved],
            strays=b"".join(plan.survey.unseen) if self._first else b"",
        )
        state.check_freeing(body)
        return body

    def _is_still_dead(self, use: PackUse) -> bool:
        """Whether nothing came to life that is not copied."""
        liveness = self._plan.liveness
        if len(liveness.archives) == self._plan.counted:
            return True
        left = self._dead_chunks.get(use.pack)
        if left is None:
            trailer = packs.read_trailer(self._store, use.pack, use.size)
            left = b"".join(one.chunks for one in trailer.bundles)
        return not liveness.needs(use.pack, left)

    def _rewrite(self, state: LogState, gone: set[PackId]) -> list[IndexId]:
        """Store index objects without the packs that go, with the new ones; returns those replaced."""
        replaced = {index for pack in gone for index in self._plan.listed_in.get(pack, ())}
        replaced &= state.indexes.keys()
        self._new_indexes: dict[IndexId, list[IndexedPack]] = {}
        for group in packs.index_groups(self._surviving(state, replaced, gone)):
            self._put_index(state, group)
        return sorted(replaced)

    def _surviving(self, state: LogState, replaced: set[IndexId], gone: set[PackId]) -> Iterator[IndexedPack]:
        seen = set(gone)
        verified = {IndexId(one) for body in freed_by(state) for one in split_ids(body.new_indexes)}
        for index in state.indexes:
            for table in index_tables(self._store, index) if index in replaced else ():
                if PackId(table.pack) not in seen:
                    seen.add(PackId(table.pack))
                    true = table if index in verified else self._true_table(state, table)
                    if true is not None:
                        yield true
        yield from (one.table for one in self._moved)

    def _true_table(self, state: LogState, table: IndexedPack) -> IndexedPack | None:
        """A pack's own word, once: what a fallen client's index object said must not become ours."""
        pack = PackId(table.pack)
        size = self._plan.survey.sizes.get(pack)
        if size is not None:
            with contextlib.suppress(*UNREADABLE):
                return IndexedPack(pack, size, packs.read_trailer(self._store, pack, size).bundles)
        return table if pack in state.packs else None  # for `check` to complain about

    def _put_index(self, state: LogState, tables: list[IndexedPack]) -> None:
        index, blob = packs.encode_index(tables)
        while index in state.freed_indexes:  # a name that was freed never comes back
            tables.append(tables[-1])
            index, blob = packs.encode_index(tables)
        with contextlib.suppress(ObjectExists):
            self._store.put(packs.index_name(index), [blob])
        self._new_indexes[index] = [IndexedPack(one.pack, one.size, []) for one in tables]


def freed_names(body: FreeingBody) -> list[str]:
    """The objects that a record freed. Index objects and packs last: who reads beside us finds out there."""
    joined = dict(zip(AREAS, (body.packs, body.indexes, body.refs, body.archives), strict=True))
    names = [object_name(area, one) for area in reversed(AREAS) for one in split_ids(joined[area])]
    return names + [f"parity/{pack.hex()}" for pack in split_ids(body.packs)]


def _remove(store: Store, names: list[str]) -> int:
    removed = 0
    for name in names:
        with contextlib.suppress(ObjectMissing):
            store.delete(name)
            removed += 1
    return removed
