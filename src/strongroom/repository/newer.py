"""Chunks that `recreate --recompress` stored anew: of their places only the new one counts as used.

Anybody who may write could claim to hold a chunk, to have the true one freed. So only packs count that an
administrator's `recreate` or `recompress` record brought, and of these only such as are whole, to the byte.
"""

from collections.abc import Iterable, Iterator

from strongroom.errors import StrongroomError
from strongroom.ids import PackId
from strongroom.repository import packs
from strongroom.repository.index import chunks_of
from strongroom.repository.log import LogState
from strongroom.repository.moving import read_whole
from strongroom.repository.packs import IndexedPack
from strongroom.store.protocol import Store

AT_ONCE = 300_000  # chunks looked for in one pass over all tables: about 50 MB


def recreated_packs(state: LogState) -> dict[PackId, int]:
    """Packs whose bundles all came by such records, those moved since too; with the newest record of each."""
    known = (*state.archives.values(), *state.freed_archives.values())
    displacing = {one.seq for one in known if one.displaces and one.body.packs}
    if not displacing:
        return {}
    distrusted = state.distrusted_packs()
    return {
        pack: max(sources)
        for pack, sources in state.packs.items()
        if displacing.issuperset(sources) and pack not in distrusted
    }


def newer_places(
    store: Store, state: LogState, tables: Iterable[IndexedPack], warnings: list[str]
) -> dict[bytes, PackId]:
    """Chunks that lie in several packs, and the one of them to keep. Not always all: the next run finds more.

    `tables` are those of all packs, to be gone through several times. Raises the store's errors.
    """
    order = recreated_packs(state)
    newest_first = sorted(order, key=lambda pack: order[pack], reverse=True)
    for kept in _batches(store, newest_first):
        found: dict[bytes, PackId] = {}
        for table in tables:
            for chunk in chunks_of(table):
                pack = kept.get(chunk)
                if pack is not None and pack != table.pack:
                    found[chunk] = pack
        if found:
            whole = _whole(store, set(found.values()), warnings)
            return {chunk: pack for chunk, pack in found.items() if pack in whole}
    return {}


def _batches(store: Store, newest_first: list[PackId]) -> Iterator[dict[bytes, PackId]]:
    kept: dict[bytes, PackId] = {}
    for at in range(0, len(newest_first), 100):
        group = newest_first[at : at + 100]
        own, _ = packs.read_tables(store, group)  # their own word: an index object may lie
        by_pack = {table.pack: table for table in own}
        for pack in group:
            for chunk in chunks_of(by_pack[pack]) if pack in by_pack else ():
                kept.setdefault(chunk, pack)
        if len(kept) >= AT_ONCE:
            yield kept
            kept = {}
    if kept:
        yield kept


def _whole(store: Store, wanted: set[PackId], warnings: list[str]) -> set[PackId]:
    whole = set()
    for pack in wanted:
        try:
            read_whole(store, pack)
        except StrongroomError as error:
            warnings.append(f"{packs.name(pack)}: what it replaces is kept: {error}")
        else:
            whole.add(pack)
    return whole
