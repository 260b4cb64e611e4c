"""Processes that work beside this one, in memory that they share with it until one of them writes."""

import os
import signal
from collections.abc import Callable


def fork_off(kept: int, work: Callable[[], None]) -> int:
    """The id of a new process that does `work`, and has of this one's descriptors the one that is `kept`.

    It tells nothing of how it ended: what goes wrong is met again by whoever does without it. Raises OSError.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        _settle(kept)
        work()
    finally:
        os._exit(0)


def _settle(kept: int) -> None:
    """Hold nothing of the other's, and end when it does."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # that the user asks to stop is the other's to handle
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
