"""Objects of a distant Borg repository, asked for ahead: a round trip for many of them, not for each.

As `preload` and `call_many` of Borg 1.4's own client (remote.py), but bounded in bytes.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

import msgspec

from strongroom.errors import StrongroomError
from strongroom.ids import ChunkId

BYTES = 32 * 1024 * 1024
"""That may be on their way or wait to be taken, as far as their sizes are known."""
_HELD = 2 * BYTES  # what arrives beyond this is dropped, and asked for again: sizes are the server's word
_REQUESTS = 1000  # on their way or waiting
_SLACK = 64  # places in the order that threads may be apart from each other
_REMEMBERED = 10_000  # ids that are not asked for again soon: readers keep what several files share
_FIRST_GUESS = 2 * 1024 * 1024  # bytes of an object; Borg's default average


class _Pending(msgspec.Struct):
    number: int  # in the order
    answer: "Future[Any]"
    size: int  # bytes: a guess until it is there


class Ahead:
    """For any thread. `ask` is not to wait; its futures give an answer of the server."""

    def __init__(
        self,
        ask: Callable[[ChunkId], "Future[Any]"],
        known_size: Callable[[ChunkId], int],
        size_of: Callable[[Any], int],
    ) -> None:
        """`known_size`: bytes of an object, 0 if that is not known; `size_of`: the same of an answer."""
        self._ask = ask
        self._known_size = known_size
        self._size_of = size_of
        self._guess = float(_FIRST_GUESS)
        self._pulling = threading.Lock()  # guards the order and what is remembered of it
        self._order: Iterator[ChunkId] = iter(())
        self._recent: OrderedDict[ChunkId, None] = OrderedDict()
        self._lock = threading.Lock()  # guards what follows; nothing is waited for under it
        self._pending: OrderedDict[ChunkId, _Pending] = OrderedDict()
        self._bytes = 0  # of what is pending
        self._number = 0

    def expect(self, chunks: Iterable[ChunkId]) -> None:
        """What will be taken, about in this order. What was expected before is forgotten.

        `chunks` is gone through little by little, by whoever takes.
        """
        with self._pulling:
            self._order = iter(chunks)
            self._recent.clear()
            with self._lock:
                self._pending.clear()
                self._bytes = 0

    def take(self, chunk: ChunkId) -> "Future[Any] | None":
        """The answer that is on its way or here; None if it was not asked for."""
        self._pull()
        with self._lock:
            found = self._pending.pop(chunk, None)
            if found is None:
                return None
            self._bytes -= found.size
            while self._pending:  # what nobody took would be in the way for ever
                first = next(iter(self._pending))
                if self._pending[first].number >= found.number - _SLACK:
                    break
                self._bytes -= self._pending.pop(first).size
        return found.answer

    def _pull(self) -> None:
        if not self._pulling.acquire(blocking=False):
            return  # another thread does
        try:
            while self._has_room():
                chunk = self._next()
                if chunk is None:
                    return
                self._begin(chunk)
        finally:
            self._pulling.release()

    def _has_room(self) -> bool:
        with self._lock:
            return not self._pending or (self._bytes < BYTES and len(self._pending) < _REQUESTS)

    def _next(self) -> ChunkId | None:
        try:
            for chunk in self._order:
                if chunk not in self._recent:
                    self._recent[chunk] = None
                    if len(self._recent) > _REMEMBERED:
                        self._recent.popitem(last=False)
                    return chunk
                self._recent.move_to_end(chunk)
        except StrongroomError:
            # who reads there meets the same error, and tells
            self._order = iter(())
        return None

    def _begin(self, chunk: ChunkId) -> None:
        size = self._known_size(chunk) or int(self._guess)
        answer = self._ask(chunk)
        with self._lock:
            self._number += 1
            self._pending[chunk] = _Pending(self._number, answer, size)
            self._bytes += size
        answer.add_done_callback(lambda _: self._arrived(chunk, answer))

    def _arrived(self, chunk: ChunkId, answer: "Future[Any]") -> None:
        size = 0 if answer.exception() is not None else self._size_of(answer.result())
        with self._lock:
            self._guess += (size - self._guess) / 16
            found = self._pending.get(chunk)
            if found is None or found.answer is not answer:
                return
            self._bytes += size - found.size
            found.size = size
            if self._bytes > _HELD:
                del self._pending[chunk]
                self._bytes -= size
