"""Looking over a store for objects that the log does not account for. Works without any key.

Some were freed by a record whose run died before it removed them: those can go at once. The others
are *strays*: a running backup has stored them and not committed yet, or an interrupted one left them
for its next run. A stray that a record saw long ago may be freed, by a record of its own.
"""

from collections.abc import Iterator

import msgspec

from strongroom.errors import Damaged, ObjectMissing
from strongroom.ids import IndexId, PackId, last_part
from strongroom.repository import packs
from strongroom.repository.log import FreeingBody, LogState, split_ids
from strongroom.store.protocol import Store

DAY = 24 * 3600 * 10**9  # ns
STRAY_AGE = 7 * DAY  # at the least, before a stray is given up
_MOST_STRAYS = 50_000  # that a record remembers
AREAS = ("packs", "index", "refs", "archives")


class Survey(msgspec.Struct):
    """`strays` by area, name to size; `sizes` are those of all packs in the store, in bytes."""

    leftovers: list[str] = []  # freed by a record already: to be removed
    strays: dict[str, dict[bytes, int]] = msgspec.field(default_factory=lambda: {area: {} for area in AREAS})
    aged: dict[str, list[bytes]] = msgspec.field(default_factory=lambda: {area: [] for area in AREAS})
    unseen: list[bytes] = []  # strays that no record remembers yet
    sizes: dict[PackId, int] = {}


def survey(store: Store, state: LogState, live_refs: set[bytes], age: int, now: int) -> Survey:
    """`age`: how long ago, in ns, a record must have seen a stray for it to be given up."""
    found = Survey()
    accounted = {
        "packs": state.packs.keys(),
        "index": state.indexes.keys(),
        "refs": live_refs,
        "archives": state.archives.keys(),
    }
    for area in AREAS:
        for listed in store.list(f"{area}/"):
            one = last_part(listed.name)
            if not one:
                continue
            if area == "packs":
                found.sizes[PackId(one)] = listed.size
            if one not in accounted[area]:
                found.strays[area][one] = listed.size
    _take_leftovers(store, state, found)
    _judge_age(state, found, max(age, STRAY_AGE), now)
    _keep_indexes_of_strays(store, found)
    return found


def object_name(area: str, one: bytes) -> str:
    text = one.hex()
    return f"{area}/{text[:2]}/{text}" if area in ("packs", "refs") else f"{area}/{text}"


def _take_leftovers(store: Store, state: LogState, found: Survey) -> None:
    for body in freed_by(state):
        for area, joined in zip(AREAS, (body.packs, body.indexes, body.refs, body.archives), strict=True):
            for one in split_ids(joined) if found.strays[area] else ():
                if found.strays[area].pop(one, None) is not None:
                    found.leftovers.append(object_name(area, one))
    for listed in store.list("parity/"):
        if PackId(last_part(listed.name)) in state.freed_packs:
            found.leftovers.append(listed.name)


def freed_by(state: LogState) -> Iterator[FreeingBody]:
    for record in state.freeings:
        assert isinstance(record.body, FreeingBody), "only those are kept there"
        yield record.body


def _judge_age(state: LogState, found: Survey, age: int, now: int) -> None:
    kind_of = {one: area for area in AREAS for one in found.strays[area]}
    seen: set[bytes] = set()
    old: set[bytes] = set()
    for record, body in zip(state.freeings, freed_by(state), strict=True):
        strays = kind_of.keys() & split_ids(body.strays)
        seen |= strays
        arrived = state.entries[record.seq].stamp
        if arrived is not None and now - arrived >= age:
            old |= strays
    for one in old:
        found.aged[kind_of[one]].append(one)
    found.unseen = [one for one in kind_of if one not in seen][:_MOST_STRAYS]


def _keep_indexes_of_strays(store: Store, found: Survey) -> None:
    """An index object is given up only together with its packs: else the next run of its writer would
    put the same one up again, under a name that was freed."""
    given_up = set(found.aged["packs"])
    kept = []
    for one in found.aged["index"]:
        try:
            tables = packs.decode_index(store.get(object_name("index", one)), IndexId(one))
        except (Damaged, ObjectMissing):
            tables = []
        left = {table.pack for table in tables} & found.strays["packs"].keys()
        if left <= given_up:
            kept.append(one)
    found.aged["index"] = kept
