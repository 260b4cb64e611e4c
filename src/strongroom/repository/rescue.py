"""Whole packs that cannot be read where they lie: from their parity, or from a second store.

What comes out has the pack's hash: it is the pack, whoever had a hand in it.
"""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from threading import Lock

from strongroom.errors import Damaged, ObjectMissing, StoreFailed, StrongroomError
from strongroom.ids import PackId, last_part
from strongroom.repository import packs, parity
from strongroom.repository.copying import fetch
from strongroom.store.direct import pages
from strongroom.store.protocol import Buffer, Range, Store

_KEPT = 2  # packs
_PIECE = 256 * parity.BLOCK
UNUSABLE = (Damaged, ObjectMissing, StoreFailed)  # errors that say no more than that an object is of no use


def heal_pack(store: Store, pack: PackId) -> memoryview | None:
    """The pack out of what is left of it and its parity; None without parity, or with too little left.

    Raises `Damaged`, `VersionUnknown`, `CommandError` as `parity.heal` does, and the store's errors.
    """
    try:
        extra = store.get(parity.name(pack))
    except ObjectMissing:
        return None
    head, _ = parity.decode_head(extra, pack)
    return parity.heal(pack, what_is_left(store, packs.name(pack), head.size), extra).blob


def better(store: Store, copy: Store | None, name: str) -> Buffer | None:
    """What a damaged or missing object was: a pack by its parity, or by the copy; None if neither helps.

    Raises the copy's errors, but none for what it lacks too.
    """
    if name.startswith("packs/"):
        # parity that is damaged itself, or zfec missing: the copy is what is left
        with suppress(StrongroomError):
            healed = heal_pack(store, PackId(last_part(name)))
            if healed is not None:
                return healed
    if copy is not None:
        with suppress(*UNUSABLE):
            return fetch(copy, name)
    return None


def what_is_left(store: Store, name: str, size: int) -> memoryview:
    """An object's bytes, with zeros for what the disk does not give any more."""
    left = memoryview(pages(size))  # what is freed goes back to the system at once
    spans = [(at, min(_PIECE, size - at)) for at in range(0, size, _PIECE)]
    done = 0
    try:
        for piece in store.get_many(Range(name, at, length) for at, length in spans):
            _lay(left, *spans[done], piece)
            done += 1
    except ObjectMissing:
        return memoryview(b"")
    except StoreFailed:
        for at, length in spans[done:]:
            _lay(left, at, length, _piece(store, name, at, length))
    return left


def _lay(whole: memoryview, at: int, length: int, piece: bytes) -> None:
    whole[at : at + length] = piece[:length].ljust(length, b"\0")


def _piece(store: Store, name: str, offset: int, length: int) -> bytes:
    try:
        return store.get(name, offset, length).ljust(length, b"\0")
    except StoreFailed:
        if length <= parity.BLOCK:
            return bytes(length)
    blocks = range(offset, offset + length, parity.BLOCK)
    return b"".join(_piece(store, name, at, min(parity.BLOCK, offset + length - at)) for at in blocks)


class Rescue:
    """Gives packs that a reader could not use. For many threads; keeps the last few packs."""

    def __init__(self, store: Store, second: Callable[[], Store] | None, tell: Callable[[str], None]) -> None:
        self._store = store
        self._second = second
        self._tell = tell
        self._lock = Lock()
        self._kept: OrderedDict[PackId, Buffer | None] = OrderedDict()

    def pack(self, pack: PackId) -> Buffer | None:
        """None if nothing helps: that is told."""
        with self._lock:
            if pack not in self._kept:
                self._make_room()
                self._kept[pack] = self._find(pack)
            return self._kept[pack]

    def _make_room(self) -> None:
        """Before the next one is found: it takes as much memory while it is."""
        held = [key for key, blob in self._kept.items() if blob is not None]
        for oldest in held[: len(held) - _KEPT + 1]:
            del self._kept[oldest]

    def _find(self, pack: PackId) -> Buffer | None:
        name = packs.name(pack)
        try:
            healed = heal_pack(self._store, pack)
        except StrongroomError as error:
            self._tell(str(error))
            healed = None
        if healed is not None:
            self._tell(
                f"{name} is damaged: it was read by means of its parity. `strongroom repair` heals it."
            )
            return healed
        if self._second is None:
            return None
        with suppress(StrongroomError):
            blob = fetch(self._second(), name)
            self._tell(f"{name} is damaged in {self._store.describe()}: it was read from the fallback.")
            return blob
        return None
