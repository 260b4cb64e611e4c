"""A process that walks ahead of a backup and tells how the folders look.

Of an unchanged folder nothing needs to be known but that: whoever makes the archive then spends no time
in listings, which take most of an unchanged run, and they are made while it still opens the repository.
What does not look as it did is listed again by itself: the scout saves time, it decides nothing.
"""

import contextlib
import gc
import os
import signal
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import msgspec

from strongroom.archive.forking import fork_off
from strongroom.archive.looks import Looks
from strongroom.archive.options import ScanOptions
from strongroom.archive.patterns import PatternMatcher

if TYPE_CHECKING:
    from strongroom.archive.sources import SourceNode

FRESH_S = 10.0  # a look that is older than this is taken again
_AHEAD = 1 << 20  # bytes of reports that may wait in the pipe, where the system allows it
_BATCH = 32  # reports that are sent at once
_PATIENCE = 256  # reports that may be of no use before the scout is sent home
_LENGTH = 4

Status = tuple[tuple[Any, ...], dict[str, Any]]
"""What `os.stat_result` is made of."""


class Report(msgspec.Struct, array_like=True):
    """A folder whose listing is complete, and that holds no other source."""

    path: bytes
    depth: int  # of the walk's stack
    moment: float  # s, by the clock that all processes share
    looks: Looks
    folders: list[tuple[bytes, bool, Status | None]]  # name, whether it is to be listed, status if it has one

    @property
    def name(self) -> bytes:
        return self.path.rpartition(b"/")[2]


_decoder = msgspec.msgpack.Decoder(list[Report])


class Scout:
    """The near end. For one thread; `end` it."""

    def __init__(self, pid: int, pipe: IO[bytes]) -> None:
        self._pid = pid
        self._pipe = pipe
        self._here: Iterator[Report] = iter(())
        self._next: Report | None = None
        self._useless = 0

    def report(self, path: bytes, depth: int) -> Report | None:
        """Of the folder that the walk enters as its `depth`th; None: see for yourself.

        Both walk alike, so a report that is not asked for in its turn never will be.
        """
        while True:
            found = self._next or self._read()
            if found is None or found.depth < depth:
                self._next = found
                return None
            if found.depth == depth and found.path == path:
                self._next = None
                return found if time.monotonic() - found.moment < FRESH_S else None
            if found.depth == depth and found.name > path.rpartition(b"/")[2]:
                self._next = found
                return None
            self._next = None

    def judge(self, *, useful: bool) -> None:
        """Whether the last report spared a listing."""
        self._useless += -1 if useful else 1
        if self._useless > _PATIENCE:
            self.end()

    def _read(self) -> Report | None:
        found = next(self._here, None)
        if found is None and not self._pipe.closed:
            length = self._pipe.read(_LENGTH)
            packed = self._pipe.read(int.from_bytes(length, "little")) if length else b""
            try:
                self._here = iter(_decoder.decode(packed))
            except msgspec.DecodeError:  # it ended, or was ended
                self.end()
            found = next(self._here, None)
        return found

    def end(self) -> None:
        if not self._pipe.closed:
            self._pipe.close()
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


@contextlib.contextmanager
def sent(root: "SourceNode", matcher: PatternMatcher, options: ScanOptions) -> Iterator[Scout | None]:
    """While open, a scout is on its way; None where the system has no room for it.

    Forks: not beside threads.
    """
    try:
        scout = _send(root, matcher, options)
    except OSError:  # too many processes, or too little memory: it is not needed
        yield None
        return
    try:
        yield scout
    finally:
        scout.end()


def _send(root: "SourceNode", matcher: PatternMatcher, options: ScanOptions) -> Scout:
    near, far = os.pipe()
    try:
        pid = fork_off(far, lambda: _explore(far, root, matcher, options))
    except OSError:
        os.close(near)
        raise
    finally:
        os.close(far)
    return Scout(pid, os.fdopen(near, "rb"))


def _explore(pipe: int, root: "SourceNode", matcher: PatternMatcher, options: ScanOptions) -> None:
    from strongroom.archive.exploring import Explorer

    gc.disable()  # what it makes has no cycles, and it does not live long
    _widen(pipe)
    waiting: list[Report] = []
    with open(pipe, "wb") as stream:

        def flush() -> None:
            packed = msgspec.msgpack.encode(waiting)
            stream.write(len(packed).to_bytes(_LENGTH, "little") + packed)
            stream.flush()
            waiting.clear()

        def tell(report: Report) -> None:
            waiting.append(report)
            if len(waiting) == _BATCH:
                flush()

        Explorer(tell, matcher, options).walk(root)
        flush()


def _widen(pipe: int) -> None:
    import fcntl

    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # as much as it has will do
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _AHEAD)
