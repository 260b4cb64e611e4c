"""Which record stood where the log is damaged: what is left there tells, or the record behind it."""

from strongroom.crypto import hashing
from strongroom.errors import Damaged, ObjectMissing, StoreFailed
from strongroom.repository import log
from strongroom.store.protocol import Store
from strongroom.store.stamp import as_it_was, unstamp

LOST = (Damaged, ObjectMissing, StoreFailed)
"""What reading a damaged or missing record raises; `LogBroken`, which says that one lies, is one of them."""


def stood_there(store: Store, seq: int, record: bytes) -> bool | None:
    """None if nothing tells."""
    try:
        behind, _ = unstamp(store.get(log.name(seq + 1)))
    except LOST:
        return True if as_it_was(record, _what_is_left(store, seq)) else None
    return log.decode(behind, seq + 1).previous == hashing.plain_hash(record)


def _what_is_left(store: Store, seq: int) -> bytes:
    try:
        return store.get(log.name(seq))
    except (ObjectMissing, StoreFailed):
        return b""
