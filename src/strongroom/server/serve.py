"""`strongroom serve`: one client over standard input and output, as sshd starts it.

Only the words that this program was started with count. What the client wanted to run instead
(`SSH_ORIGINAL_COMMAND`) is not read at all.
"""

import os
import signal
import sys
from io import BufferedReader, FileIO
from types import FrameType
from typing import NoReturn

from strongroom.errors import CommandError
from strongroom.server.host import Host, ServeOptions
from strongroom.server.journal import Journal
from strongroom.server.session import Session
from strongroom.store.wire import MAX_DATA


def serve(options: ServeOptions) -> int:
    """Serve until the client leaves; the exit code. Raises `CommandError` on a terminal."""
    if os.isatty(0):
        raise CommandError("`serve` is started by sshd, for a client: there is nothing to see on a terminal.")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    # Nothing that prints may get between the frames.
    sink = os.dup(1)
    os.dup2(2, 1)
    source = BufferedReader(FileIO(0, closefd=False), 4 * MAX_DATA)
    return Session(Host(options), Journal(options.client, options.log_file), source, sink).run()


def _leave(number: int, _: FrameType | None) -> NoReturn:
    """Through `finally`, so that unfinished uploads and reservations are given back."""
    sys.exit(128 + number)
