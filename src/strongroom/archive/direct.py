"""Direct writes on threads of their own: the disk writes while the next bundles are opened.

Nobody waits for them. When the disk has as much as it can take, `spare` has nothing to give, and the
caller writes through the page cache meanwhile: so disk and processor are both busy, whichever of
them is the slower one, and a slow disk costs no more than it ever did.
"""

import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from strongroom.archive.platform import aligned
from strongroom.archive.targets import FileTarget
from strongroom.repository.room import SIZE, Space
from strongroom.store.direct import BLOCK

_THREADS = 4  # a disk with queues reaches its full rate only with several writes under way
_SPACES = 8

FROM_FILE = 2 << 20
"""Bytes of the smallest file that is written so: each has a second descriptor. Chosen, not measured."""

FROM_PIECE = 128 << 10
"""Bytes of the smallest piece."""


class DirectWriter:
    """A context manager; leaving it ends the threads. `write` and `spare` are for any thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="direct")
        self._spares: queue.SimpleQueue[Space | None] = queue.SimpleQueue()
        for _ in range(_SPACES):
            self._spares.put(None)  # memory is taken when it is first needed
        self._running: queue.SimpleQueue[Future[None]] = queue.SimpleQueue()

    def __enter__(self) -> "DirectWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def takes(self, target: FileTarget, size: int) -> bool:
        """Whether a piece of a file is worth it, and the file system takes it. Raises OSError."""
        return FROM_PIECE <= size <= SIZE - BLOCK and target.entry.size >= FROM_FILE and target.open_direct()

    def spare(self) -> Space | None:
        """Memory to write from; None while the disk is busy."""
        try:
            return self._spares.get_nowait() or Space()
        except queue.Empty:
            return None

    def give_back(self, space: Space) -> None:
        self._spares.put(space)

    def write(
        self, space: Space, target: FileTarget, offset: int, data: memoryview, done: Callable[[], None]
    ) -> None:
        """Write `data`, which lies in `space` as in the file, then call `done`; the space is spare again.

        What goes wrong with the file is kept in the target.
        """
        self._running.put(self._pool.submit(self._write, space, target, offset, data, done))

    def _write(
        self, space: Space, target: FileTarget, offset: int, data: memoryview, done: Callable[[], None]
    ) -> None:
        try:
            if target.error is None:
                aligned.write(target.fd, target.direct or -1, offset, data)
        except OSError as error:
            target.error = error
        finally:
            self.give_back(space)
        done()

    def wait(self) -> None:
        """Until all is written. Raises what a thread raised."""
        while not self._running.empty():
            self._running.get().result()
