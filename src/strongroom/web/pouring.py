"""Long bodies: a plain function writes, in a thread of a pool; the client takes at its own pace."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from starlette.types import Receive, Scope, Send

_BLOCK = 256 * 1024  # bytes that are sent at a time
_WAITING = 4  # blocks that may wait for the client


class ClientGone(Exception):
    """Nobody reads any more. Not an error: the writer is to end."""


class Pipe:
    """From one thread to the event loop. `close` from the loop's side ends a writer that waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready = asyncio.Event()
        self._changed = threading.Condition()
        self._blocks: deque[bytes] = deque()
        self._rest: list[bytes | memoryview] = []
        self._held = 0
        self._closed = False
        self._ended = False

    def write(self, data: bytes | memoryview) -> int:
        """Raises `ClientGone`."""
        self._rest.append(bytes(data))
        self._held += len(data)
        if self._held >= _BLOCK:
            self.flush()
        return len(data)

    def flush(self) -> None:
        """What was written so far may be sent. Raises `ClientGone`."""
        block = b"".join(self._rest)
        self._rest, self._held = [], 0
        if block:
            self._hand_over(block)

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._tell()

    def _hand_over(self, block: bytes) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._blocks) < _WAITING)
            if self._closed:
                raise ClientGone
            self._blocks.append(block)
            self._tell()

    def _tell(self) -> None:
        if not self._closed:  # afterwards the loop may be gone
            self._loop.call_soon_threadsafe(self._ready.set)

    @property
    def is_closed(self) -> bool:
        return self._closed

    async def take(self) -> bytes | None:
        """None at the end."""
        while True:
            self._ready.clear()
            with self._changed:
                if self._blocks:
                    self._changed.notify_all()
                    return self._blocks.popleft()
                if self._ended:
                    return None
            await self._ready.wait()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


Fill = Callable[[Pipe], None]
"""Writes a whole body; runs in a thread."""


class Poured:
    """An answer whose body `fill` writes. It begins only with the body's first block: what fails before
    can still be told as an error. What fails later breaks the connection, so that nobody takes a part
    for the whole."""

    def __init__(self, fill: Fill, headers: Mapping[str, str], status: int = 200) -> None:
        self._fill = fill
        self._status = status
        self._headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]

    async def send_to(self, scope: Scope, receive: Receive, send: Send, pool: Executor) -> None:
        """Raises what `fill` raises."""
        loop = asyncio.get_running_loop()
        start = {"type": "http.response.start", "status": self._status, "headers": self._headers}
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        pipe = Pipe(loop)
        filling = loop.run_in_executor(pool, self._run, pipe)
        leaving = loop.create_task(_left(receive, pipe))
        try:
            begun = False
            while (block := await pipe.take()) is not None:
                if not begun:
                    await send(start)
                    begun = True
                await send({"type": "http.response.body", "body": block, "more_body": True})
            await filling
            if not begun:
                await send(start)
            await send({"type": "http.response.body", "body": b""})
        except ClientGone:
            return
        finally:
            pipe.close()
            leaving.cancel()
            filling.add_done_callback(_looked_at)

    def _run(self, pipe: Pipe) -> None:
        try:
            self._fill(pipe)
            pipe.flush()
        finally:
            pipe.end()


def _looked_at(filling: "asyncio.Future[None]") -> None:
    """Where the request ended first, nobody else asks how the writer did."""
    if not filling.cancelled():
        filling.exception()


async def _left(receive: Receive, pipe: Pipe) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    pipe.close()
