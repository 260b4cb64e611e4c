"""What index objects of the store say, and which cannot be read."""

from collections.abc import Iterator
from typing import NamedTuple

from strongroom.crypto import hashing
from strongroom.errors import Damaged, ObjectMissing, StoreFailed, StrongroomError
from strongroom.ids import IndexId
from strongroom.repository import packs
from strongroom.repository.packs import IndexedPack
from strongroom.store.protocol import Range, Store

UNREADABLE = (Damaged, ObjectMissing, StoreFailed)
"""What reading an object raises that rotted away, in full or in part, or whose sectors do not read."""


class Unreadable(NamedTuple):
    """An index object that cannot be read, and why."""

    id: IndexId
    why: str


def _each_index(store: Store, indexes: list[IndexId]) -> Iterator[tuple[IndexId, bytes | StrongroomError]]:
    """Their bytes, or what keeps one from being read: after that the others are asked for anew."""
    at = 0
    while at < len(indexes):
        try:
            for blob in store.get_many(Range(packs.index_name(one)) for one in indexes[at:]):
                yield indexes[at], blob
                at += 1
        except (ObjectMissing, StoreFailed) as error:
            yield indexes[at], error
            at += 1


def each_tables(
    store: Store, indexes: list[IndexId], unreadable: list[Unreadable]
) -> Iterator[tuple[IndexId, list[IndexedPack]]]:
    """What each of them says; those that cannot be read are added to `unreadable`."""
    for index, blob in _each_index(store, indexes):
        try:
            tables = valid_tables(blob, index)
        except UNREADABLE as error:
            unreadable.append(Unreadable(index, str(error)))
        else:
            yield index, tables


def valid_tables(blob: bytes | StrongroomError, index: IndexId) -> list[IndexedPack]:
    if isinstance(blob, StrongroomError):
        raise blob
    try:
        return packs.decode_index(blob, index)
    except Damaged:
        if not hashing.same(hashing.plain_hash(blob), index):
            raise
        return []
