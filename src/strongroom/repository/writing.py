"""Filling packs: bundles are encrypted straight into the pack's buffer, by several threads."""

import mmap
import threading
from collections.abc import Callable

import msgspec

from strongroom.crypto import hashing
from strongroom.crypto.sealing import OVERHEAD, SealedSession, SessionWriter
from strongroom.ids import PackId
from strongroom.repository import packs
from strongroom.repository.packs import BundleEntry, FinishedPack, Trailer
from strongroom.store.direct import pages
from strongroom.store.protocol import Buffer


class PackBuffer(msgspec.Struct):
    """A pack being filled. `open` counts bundles that have room but no bytes yet."""

    buffer: mmap.mmap
    used: int = len(packs.HEADER)
    bundles: list[BundleEntry] = []
    sessions: list[SealedSession] = []
    open: int = 0
    closed: bool = False

    def room(self, length: int) -> bool:
        return self.used + length <= len(self.buffer) and len(self.bundles) < packs.MAX_BUNDLES


class PackFiller:
    """Hands out room in packs to the threads that encrypt.

    `target` is a pack's size in bytes; at most `buffers` packs are in memory. `complete` takes a
    pack whose last bundle is in, and must not wait: `add` does, until `release` gives a buffer back.
    """

    def __init__(
        self,
        new_session: Callable[[], SessionWriter],
        target: int,
        buffers: int,
        complete: Callable[[PackBuffer], None],
    ) -> None:
        self._new_session = new_session
        self._session = new_session()
        self._target = target
        self._complete = complete
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
            session = self._session
            if not pack.sessions or pack.sessions[-1] is not session.sealed:
                pack.sessions.append(session.sealed)
            offset = pack.used
            pack.used += length
            pack.bundles.append(BundleEntry(offset, length, kind, len(pack.sessions) - 1, chunks))
            pack.open += 1
        # Should this raise, `open` stays up: a pack with a hole in it must never count as complete.
        session.encrypt_into(kind, plain, memoryview(pack.buffer)[offset : offset + length])
        with self._changed:
            pack.open -= 1
            if pack.closed and not pack.open:
                self._complete(pack)
        return length

    def finish(self) -> None:
        """Complete the last pack. Call it when no thread is in `add`."""
        with self._changed:
            pack, self._current = self._current, None
            if pack is not None and pack.bundles:
                pack.closed = True
                self._complete(pack)

    def release(self, pack: PackBuffer) -> None:
        """The pack is stored: its buffer may be used again."""
        with self._changed:
            if len(pack.buffer) == self._target:
                self._spare.append(pack.buffer)
            self._free += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Wake the threads that wait for room."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _reserve(self, length: int) -> PackBuffer:
        while True:
            if self._stopped:
                raise RuntimeError("the pack filler was stopped")
            pack = self._current
            if pack is not None:
                if pack.room(length):
                    return pack
                self._current = None
                pack.closed = True
                if not pack.open:
                    self._complete(pack)
            if self._free:
                self._free -= 1
                self._current = PackBuffer(self._buffer(length))
                if self._session.spent:
                    self._session = self._new_session()
            else:
                self._changed.wait()

    def _buffer(self, length: int) -> mmap.mmap:
        needed = len(packs.HEADER) + length
        if needed <= self._target and self._spare:
            return self._spare.pop()
        return pages(max(needed, self._target))


def finish_pack(pack: PackBuffer) -> tuple[FinishedPack, list[Buffer]]:
    """Name a complete pack, and give the parts of its bytes."""
    buffer = memoryview(pack.buffer)
    buffer[: len(packs.HEADER)] = packs.HEADER
    body = buffer[: pack.used]
    trailer = packs.encode_trailer(Trailer(pack.sessions, pack.bundles))
    pack_id = PackId(hashing.plain_hash(body, trailer))
    return FinishedPack(pack_id, pack.used + len(trailer), pack.bundles, pack.sessions), [body, trailer]
