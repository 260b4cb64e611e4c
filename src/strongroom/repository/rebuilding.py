"""Objects made anew, byte for byte, from what else the repository holds.

They get the name that they had, so nothing else needs to change.
"""

from collections.abc import Collection, Iterator, Mapping

from strongroom.ids import IndexId, PackId
from strongroom.repository import log, packs
from strongroom.repository.log import LogState
from strongroom.repository.packs import IndexedPack


def rebuild_indexes(
    state: LogState, wanted: Collection[IndexId], tables: Mapping[PackId, IndexedPack]
) -> Iterator[tuple[IndexId, list[IndexedPack]]]:
    """What those of the index objects held that follow from the packs' own tables, grouped as writers do."""
    for brought, lost in _commits(state, wanted):
        for group in packs.index_groups(tables[one] for one in brought if one in tables):
            index, _ = packs.encode_index(group)
            if index in lost:
                yield index, group


def packs_behind(state: LogState, wanted: Collection[IndexId]) -> list[PackId]:
    """The packs of the commits that brought those index objects."""
    return list(dict.fromkeys(pack for brought, _ in _commits(state, wanted) for pack in brought))


def _commits(state: LogState, wanted: Collection[IndexId]) -> Iterator[tuple[list[PackId], set[IndexId]]]:
    """Of each record that brought some of those index objects: its packs, and which."""
    for archive in state.archives.values():
        found = {IndexId(one) for one in log.split_ids(archive.body.indexes)}.intersection(wanted)
        if found:
            yield [PackId(one) for one in log.split_ids(archive.body.packs)], found
