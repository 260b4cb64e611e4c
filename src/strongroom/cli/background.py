"""Going on in the background once the work has begun: the terminal sees all errors before that."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from strongroom.cli.signals import Interrupted

left_to: list[int] = []
"""The children that go on: what ends after them may end at once, with nothing to tidy up."""

_MOST_LOG = 1 << 20  # bytes; a log file that is longer is begun anew


def leave(log: Path) -> Callable[[], None] | None:
    """Fork. The child gets a function to call when it is ready; the parent waits, and gets None.

    Call it before there are threads or connections, which a fork would tear. When the child is ready
    it has no terminal any more, and writes what it still has to say to `log`. If it ends before
    that, the parent exits with the child's code: the child has told why.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        _wait(child, reading)
        return None
    os.close(reading)

    def ready() -> None:
        os.setsid()  # the terminal's end is no signal for us
        os.chdir("/")
        _close_streams(log)
        os.write(writing, b"1")
        os.close(writing)

    return ready


def _wait(child: int, reading: int) -> None:
    while True:
        try:
            told = os.read(reading, 1)
            break
        except Interrupted as error:
            os.kill(child, error.number)
    os.close(reading)
    if told:
        left_to.append(child)
        return
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    raise SystemExit(code if code >= 0 else 128 - code)


def _close_streams(log: Path) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        out = os.open(log, flags, 0o600)
        if os.fstat(out).st_size > _MOST_LOG:
            os.truncate(out, 0)
    except OSError:
        out = os.dup(null)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(out)
