"""The process that carries a connection: ssh, or whatever `--rsh` names."""

import contextlib
import fcntl
import os
import select
import shutil
import subprocess
from collections.abc import Callable, Sequence
from io import BufferedReader, FileIO

from strongroom.errors import ConnectionLost
from strongroom.secretless import secretless_environment
from strongroom.store import wire
from strongroom.store.diagnosis import StderrTail, why_lost
from strongroom.store.protocol import Buffer

_PIPE = 1 << 20  # bytes: what Linux allows everybody
_LARGEST_PIPE = 1 << 30
_LAST_WORDS = 5.0  # seconds for the exit code to follow the end of the output

# Ctrl-C at the terminal reaches the whole foreground group: it must stop our work, not the
# connection over which the work is brought to an end. An ignored signal stays so across exec.
_SHIELD = ("/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh")


class Carrier:
    """A running `command` with pipes to its input, output and standard error.

    `output` is for one thread, `write` for another; `stderr.run` is a third one's work.
    """

    def __init__(self, command: Sequence[str], buffer: int, on_stderr: Callable[[str], None]) -> None:
        """`buffer`: bytes that the pipe may hold, 0 for the default. Raises `ConnectionLost`."""
        self.program = command[0]
        if shutil.which(self.program) is None:
            raise ConnectionLost(f"{self.program} is not installed here; --rsh names another program")
        try:
            self.process = subprocess.Popen(
                [*_SHIELD, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=secretless_environment(),
            )
        except OSError as error:
            raise ConnectionLost(f"{self.program} cannot be started: {error.strerror}") from error
        if self.process.stdin is None or self.process.stdout is None or self.process.stderr is None:
            raise AssertionError("all three are pipes")
        self._input = self.process.stdin
        self._streams = (self.process.stdin, self.process.stdout, self.process.stderr)
        self.output = BufferedReader(FileIO(self.process.stdout.fileno(), closefd=False), 2 * wire.MAX_DATA)
        self.stderr = StderrTail(self.process.stderr.fileno(), on_stderr)
        for size in (min(buffer, _LARGEST_PIPE), _PIPE):
            # The larger the pipe, the fewer the wake-ups; the system may not allow what was asked for.
            with contextlib.suppress(OSError):
                if size:
                    fcntl.fcntl(self._input.fileno(), fcntl.F_SETPIPE_SZ, size)
                    break

    def write(self, batch: Sequence[Buffer]) -> None:
        """All of it. Raises OSError where nobody reads any more."""
        views = [memoryview(part) for part in batch]
        while views:
            written = os.writev(self._input.fileno(), views)
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if views and written:
                views[0] = views[0][written:]

    def read_start(self, expected: bytes) -> bytes:
        """The first bytes of the output: `expected`, or what comes in its place. Before `output` is used."""
        fd = self.output.fileno()
        start = b""
        while len(start) < len(expected) and expected.startswith(start):
            data = os.read(fd, len(expected) - len(start))
            if not data:
                return start
            start += data
        # The rest of a wrong line helps the user to recognise it; it may never come.
        if start != expected and select.select([fd], [], [], 0.5)[0]:
            start += os.read(fd, 200)
        return start

    def close_input(self) -> None:
        with contextlib.suppress(OSError):
            self._input.close()

    def why_ended(self, where: str, *, greeted: bool) -> ConnectionLost:
        """In words, once the output has ended."""
        try:
            code: int | None = self.process.wait(timeout=_LAST_WORDS)
        except subprocess.TimeoutExpired:
            code = None
        return why_lost(where, self.program, code, greeted, self.stderr.tail())

    def end(self) -> None:
        """Whether it wants or not."""
        self.process.terminate()
        try:
            self.process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Let go of the pipes. The threads must be through with them."""
        # An ssh that is the master of other connections may live on: it is only looked at.
        self.process.poll()
        for stream in self._streams:
            with contextlib.suppress(OSError):
                stream.close()
