"""`strongroom serve`: one client over standard input and output, as sshd starts it.

Only the words that this program was started with count. What the client wanted to run instead
(`SSH_ORIGINAL_COMMAND`) is not read at all.
"""

import os
import select
import signal
import sys
from io import BufferedReader, RawIOBase
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from strongroom.errors import CommandError
from strongroom.server.host import Host, ServeOptions
from strongroom.server.journal import Journal
from strongroom.server.session import Session
from strongroom.store.wire import MAX_DATA

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def serve(options: ServeOptions) -> int:
    """Serve until the client leaves; the exit code. Raises `CommandError` on a terminal."""
    if os.isatty(0):
        raise CommandError("`serve` is started by sshd, for a client: there is nothing to see on a terminal.")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    # Nothing that prints may get between the frames.
    sink = os.dup(1)
    os.dup2(2, 1)
    woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    source = BufferedReader(_Input(0, woken), 4 * MAX_DATA)
    return Session(Host(options), Journal(options.client, options.log_file), source, sink).run()


class _Input(RawIOBase):
    """A descriptor that is read without missing a signal.

    A signal that comes just before a blocking read begins would be handled when that read ends, which
    may be never: so wait for both, and return to the interpreter, which runs the handler.
    """

    def __init__(self, fd: int, woken: int) -> None:
        self._fd = fd
        self._woken = woken
        self._poll = select.poll()
        for each in (fd, woken):
            self._poll.register(each, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        while True:
            ready = dict(self._poll.poll())
            if self._woken in ready:
                os.read(self._woken, 4096)
            if self._fd in ready:
                return os.readv(self._fd, [buffer])


def _leave(number: int, _: FrameType | None) -> NoReturn:
    """Through `finally`, so that unfinished uploads and reservations are given back."""
    sys.exit(128 + number)
