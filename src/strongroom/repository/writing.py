"""Filling packs: bundles are encrypted straight into memory from which they are stored, by several threads.

A pack lies in memory as parts, one behind the other. Where a store takes objects whole there is one, of the
pack's size; else parts are small, and go to the store while the rest of the pack is being made.
"""

import mmap
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from strongroom.crypto import hashing
from strongroom.crypto.sealing import OVERHEAD, SealedSession, SessionWriter
from strongroom.ids import PackId
from strongroom.repository import packs
from strongroom.repository.packs import BundleEntry, IndexedPack, Trailer
from strongroom.store.direct import BLOCK, pages


class Part(msgspec.Struct):
    """A stretch of a pack. `open` counts bundles that have room but no bytes yet."""

    buffer: mmap.mmap
    carried: int
    """Bytes at its start that are the end of the part before, so that this one begins with a disk's block."""
    used: int
    open: int = 0
    closed: bool = False

    @property
    def whole(self) -> bool:
        return self.closed and not self.open


class PackBuffer(msgspec.Struct):
    """A pack being filled."""

    parts: deque[Part] = msgspec.field(default_factory=deque)  # those not taken yet
    size: int = 0
    ids: int = 0  # bytes of chunk ids in its bundles
    bundles: list[BundleEntry] = []
    sessions: list[SealedSession] = []
    closed: bool = False
    busy: bool = False  # somebody takes parts, or was called to
    over: bool = False  # all parts are taken
    way: "Way | None" = None


class Way(Protocol):
    """One pack's way to the store. Both methods raise the store's errors."""

    def add(self, part: Part) -> None:
        """The next part of the pack."""

    def finish(self, pack: PackBuffer, intend: Callable[[IndexedPack], None]) -> IndexedPack:
        """The pack is stored, durably; before that its table is told."""

    def drop(self) -> None:
        """There will be no such pack."""


class PackFiller:
    """Hands out room in packs to the threads that encrypt.

    `target` is a pack's size in bytes, `part` that of its parts; at most `buffers` parts are in memory.
    `call` is given a pack from which parts can be taken, and must not wait: `add` does, until `release`
    gives a part back.
    """

    def __init__(
        self,
        new_session: Callable[[], SessionWriter],
        target: int,
        part: int,
        buffers: int,
        call: Callable[[PackBuffer], None],
    ) -> None:
        self._new_session = new_session
        self._session = new_session()
        self._target = target
        self._part = part
        self._call = call
        self._changed = threading.Condition()
        self._free = buffers
        self._spare: list[mmap.mmap] = []
        self._current: PackBuffer | None = None
        self._stopped = False

    def add(self, kind: int, chunks: bytes, plain: memoryview) -> int:
        """Encrypt one bundle into a pack; `chunks` are its ids, concatenated.

        Returns the stored length in bytes. Raises `RuntimeError` after `stop`.
        """
        length = len(plain) + OVERHEAD
        with self._changed:
            pack = self._reserve(length)
            part = pack.parts[-1]
            session = self._session
            if not pack.sessions or pack.sessions[-1] is not session.sealed:
                pack.sessions.append(session.sealed)
            start = part.used
            pack.bundles.append(BundleEntry(pack.size, length, kind, len(pack.sessions) - 1, chunks))
            part.used += length
            pack.size += length
            pack.ids += len(chunks)
            part.open += 1
        # Should this raise, `open` stays up: a pack with a hole in it must never count as complete.
        session.encrypt_into(kind, plain, memoryview(part.buffer)[start : start + length])
        with self._changed:
            part.open -= 1
            self._call_for(pack)
        return length

    def finish(self) -> None:
        """Complete the last pack. Call it when no thread is in `add`."""
        with self._changed:
            if self._current is not None:
                self._close(self._current)

    def take(self, pack: PackBuffer) -> Part | None:
        """The pack's next part; None if there is none, or not yet, and the pack's place is in `over`.

        For whom the pack was given to, until he gets None.
        """
        with self._changed:
            if pack.parts and pack.parts[0].whole:
                return pack.parts.popleft()
            pack.over = pack.closed and not pack.parts
            pack.busy = pack.over
            return None

    def release(self, part: Part) -> None:
        """The part is stored: its buffer may be used again."""
        with self._changed:
            if len(part.buffer) == self._part:
                self._spare.append(part.buffer)
            self._free += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Wake the threads that wait for room."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    # --- with the lock held ---

    def _reserve(self, length: int) -> PackBuffer:
        """A pack whose last part has room."""
        while True:
            if self._stopped:
                raise RuntimeError("the pack filler was stopped")
            pack = self._current
            if pack is not None and pack.bundles:
                if (
                    pack.size + length > self._target
                    or len(pack.bundles) >= packs.MAX_BUNDLES
                    or pack.ids >= packs.MOST_IDS
                ):
                    self._close(pack)
                elif pack.parts and not pack.parts[-1].closed:
                    if pack.parts[-1].used + length <= len(pack.parts[-1].buffer):
                        return pack
                    self._close_part(pack)
            elif pack is not None:
                return pack
            if self._free:
                self._free -= 1
                self._begin_part(length)
            else:
                self._changed.wait()

    def _begin_part(self, length: int) -> None:
        pack = self._current
        if pack is None:
            pack = self._current = PackBuffer(size=len(packs.HEADER))
            if self._session.spent:
                self._session = self._new_session()
        carried = pack.size % BLOCK
        needed = carried + length
        buffer = self._spare.pop() if needed <= self._part and self._spare else pages(max(needed, self._part))
        if not pack.bundles:
            buffer[:carried] = packs.HEADER
        pack.parts.append(Part(buffer, carried if pack.bundles else 0, carried))

    def _close(self, pack: PackBuffer) -> None:
        self._current = None
        pack.closed = True
        self._close_part(pack)

    def _close_part(self, pack: PackBuffer) -> None:
        if pack.parts:
            pack.parts[-1].closed = True
        self._call_for(pack)

    def _call_for(self, pack: PackBuffer) -> None:
        if not pack.busy and (pack.parts[0].whole if pack.parts else pack.closed):
            pack.busy = True
            self._call(pack)


def finish_pack(pack: PackBuffer, body: hashing.Hasher) -> tuple[IndexedPack, bytes]:
    """Name a complete pack by the hash of its `body`, which is all before the trailer; and that trailer."""
    trailer = packs.encode_trailer(Trailer(pack.sessions, pack.bundles))
    body.update(trailer)
    return IndexedPack(PackId(body.digest()), pack.size + len(trailer), pack.bundles), trailer
