"""Processes that work beside this one, in memory that they share with it until one of them writes."""

import os
import signal


def settle(*kept: int) -> None:
    """In the new process: hold nothing of the other's but these descriptors, and end when it does."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # that the user asks to stop is the other's to handle
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    first = 3
    for one in sorted(kept):
        os.closerange(first, one)
        first = one + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
