"""How a pack comes into the store: as a whole, or part after part while it is being made.

In parts it takes a third of the memory. What comes over a network is asked for as a whole, with its name and
size; and parity is made of all of a pack at once.
"""

from collections.abc import Callable
from contextlib import suppress

from strongroom.crypto import hashing
from strongroom.errors import ObjectExists
from strongroom.ids import PackId
from strongroom.repository import packs, parity
from strongroom.repository.founding import Founding
from strongroom.repository.packs import IndexedPack
from strongroom.repository.writing import PackBuffer, Part, Way, finish_pack
from strongroom.store.direct import BLOCK
from strongroom.store.protocol import Store, StoreInParts

PART = 6 << 20  # bytes: room for the largest chunk of the default chunker, padded
PARTS = 3
PACKS = 2

Release = Callable[[Part], None]


class Ways:
    """`part` bytes, `parts` of them in memory, are worth it for this store."""

    def __init__(self, store: Store, founding: Founding) -> None:
        self._store = store
        self._percent = founding.parity_percent
        self._in_parts = store if isinstance(store, StoreInParts) and not self._percent else None
        target = founding.pack_target
        self.part, self.parts = (min(PART, target), PARTS) if self._in_parts else (target, PACKS)

    def begin(self, release: Release) -> Way:
        """`release` takes back what need not stay in memory. Raises the store's errors."""
        if self._in_parts is not None:
            return _InParts(self._in_parts, release)
        return _AsWhole(self._store, self._percent, release)


class _InParts:
    def __init__(self, store: StoreInParts, release: Release) -> None:
        self._store = store
        self._release = release
        self._object = store.begin_unnamed()
        self._hasher = hashing.Hasher()
        self._rest = b""  # less than a block, for the disk takes whole ones

    def add(self, part: Part) -> None:
        with memoryview(part.buffer) as buffer, buffer[: part.used] as view:
            view[: part.carried] = self._rest
            self._hasher.update(view[part.carried :])
            whole = part.used // BLOCK * BLOCK
            self._object.write(view[:whole])
            self._rest = bytes(view[whole:])
        self._release(part)

    def finish(self, pack: PackBuffer, intend: Callable[[IndexedPack], None]) -> IndexedPack:
        table, trailer = finish_pack(pack, self._hasher)
        self._object.write(self._rest, trailer)
        intend(table)
        with suppress(ObjectExists):  # named by its hash: the same bytes
            self._store.put_begun(packs.name(PackId(table.pack)), self._object)
        self.drop()
        return table

    def drop(self) -> None:
        self._object.drop()


class _AsWhole:
    def __init__(self, store: Store, percent: int, release: Release) -> None:
        self._store = store
        self._percent = percent
        self._release = release
        self._parts: list[Part] = []

    def add(self, part: Part) -> None:
        self._parts.append(part)

    def finish(self, pack: PackBuffer, intend: Callable[[IndexedPack], None]) -> IndexedPack:
        (only,) = self._parts
        body = memoryview(only.buffer)[: only.used]
        hasher = hashing.Hasher()
        hasher.update(body)
        table, trailer = finish_pack(pack, hasher)
        intend(table)
        name = PackId(table.pack)
        with suppress(ObjectExists):  # named by its hash: the same bytes
            self._store.put(packs.name(name), [body, trailer])
        parity.put_beside(self._store, name, [body, trailer], self._percent)
        self._release(only)
        return table

    def drop(self) -> None:
        """Nothing of it is anywhere but in memory."""
