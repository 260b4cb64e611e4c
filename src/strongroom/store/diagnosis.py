"""Why a connection failed, in words: from the exit code of ssh and from what was printed."""

import os
import select
from collections import deque
from collections.abc import Callable
from threading import Event

from strongroom.errors import ConnectionLost
from strongroom.store.wire import printable

# `serve` writes its own log there too; the operator reads it, the client has had the answer.
SERVE_LOG_PREFIX = "strongroom server log: "

_KEEP = 5  # lines
_LINE = 500  # bytes: longer lines are cut


class StderrTail:
    """Passes on the lines that arrive on a descriptor, and remembers the last of them."""

    def __init__(self, fd: int, deliver: Callable[[str], None]) -> None:
        self._fd = fd
        self._deliver = deliver
        self._lines: deque[str] = deque(maxlen=_KEEP)
        self._wake, self._waker = os.pipe()
        self._ended = Event()

    def run(self) -> None:
        """The thread's work: until the end of the stream or `stop`.

        With ssh's ControlPersist the stream may outlive the connection, hence `stop`.
        """
        rest = b""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self._fd not in ready:
                break
            data = os.read(self._fd, 65536)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > _LINE:
                lines.append(rest)
                rest = b""
            for line in lines:
                self._take(line)
        if rest:
            self._take(rest)
        os.close(self._wake)
        self._ended.set()

    def _take(self, line: bytes) -> None:
        text = printable(line[:_LINE].decode("utf-8", "replace").expandtabs().rstrip())
        if text and not text.startswith(SERVE_LOG_PREFIX):
            self._lines.append(text)
            self._deliver(text)

    def stop(self) -> None:
        if self._waker >= 0:
            os.close(self._waker)
            self._waker = -1

    def tail(self) -> str:
        """The last lines; called when the other end is gone, whose last words may still be on their way."""
        self._ended.wait(timeout=1.0)
        return " / ".join(self._lines)


def why_not_ours(start: bytes) -> str:
    """`start` is what came in place of the protocol."""
    line = printable(start.split(b"\n", 1)[0].decode("utf-8", "replace"))[:200]
    return (
        f"the other side answers {line!r} where `strongroom serve` should: the login shell prints something "
        "(look into .bashrc and .profile there; `ssh HOST true` must print nothing), or another program runs"
    )


def why_lost(where: str, program: str, code: int | None, greeted: bool, said: str) -> ConnectionLost:
    """`code` is the exit code of ssh, negative for a signal, None if it still runs."""
    if not greeted and "Remote: Borg " in said:
        return ConnectionLost(
            f"a Borg answers at {where}, not strongroom. To read a repository of Borg's there, write "
            f"borg+{where}; to make backups to it, install strongroom there, or name it with --remote-path"
        )
    if code is None:
        text = f"{where} closed the connection, but {program} did not end"
    elif code < 0:
        text = f"{program}, which carried the connection to {where}, was killed by signal {-code}"
    elif code == 255:
        text = f"{program} could not reach or lost {where} (exit code 255)"
    elif code == 127:
        text = (
            f"there is no `strongroom` in the search path at {where}: install it there, "
            "or name it with --remote-path"
        )
    elif code == 126:
        text = f"the program at {where} may not be run"
    elif code > 128:
        text = f"the server program at {where} was killed by signal {code - 128}"
    elif code == 0 and greeted:
        text = f"the server at {where} ended the connection"
    else:
        text = f"the server program at {where} ended with code {code}" + (
            "" if greeted else " before it said hello"
        )
    return ConnectionLost(
        text + (f": {said.rstrip('.')}" if said else "") + ". What had arrived is kept; run it again."
    )
