"""Content that comes from standard input or from a command, and lists of paths likewise."""

import os
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from strongroom.archive.capture import Capturer
from strongroom.archive.entries import Entry
from strongroom.archive.options import PathSource, StreamFile
from strongroom.errors import CommandError
from strongroom.secretless import secretless_environment

if TYPE_CHECKING:
    import subprocess

_READ = 64 * 1024
MAX_PATH = 1024 * 1024  # bytes between two delimiters


def store_stream(capturer: Capturer, name: bytes, stream: StreamFile) -> Entry:
    """Raises `CommandError` when the command cannot start or fails."""
    if stream.command is None:
        fd = sys.stdin.fileno()
        return capturer.stream(name, stream.mode, stream.user, stream.group, fd)
    with start(stream.command) as process:
        assert process.stdout is not None
        fd = process.stdout.fileno()
        entry = capturer.stream(name, stream.mode, stream.user, stream.group, fd)
    _check(stream.command, process.returncode)
    return entry


def listed_paths(source: PathSource) -> Iterator[bytes]:
    """The paths, in their order, without empty ones. Raises `CommandError`."""
    if source.command is None:
        yield from _split(sys.stdin.buffer, source.delimiter)
        return
    with start(source.command) as process:
        assert process.stdout is not None
        yield from _split(process.stdout, source.delimiter)
    _check(source.command, process.returncode)


def start(command: list[str]) -> "subprocess.Popen[bytes]":
    """With its output piped, in a process group of its own: Ctrl-C is for us to handle."""
    import subprocess

    try:
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, process_group=0, env=secretless_environment()
        )
    except OSError as error:
        raise CommandError(f"The command {command[0]!r} cannot be started: {error.strerror}.") from error


def _check(command: list[str], code: int) -> None:
    if code:
        raise CommandError(f"The command {command[0]!r} exited with status {code}; nothing was archived.")


def _split(stream: IO[bytes], delimiter: bytes) -> Iterator[bytes]:
    rest = b""
    while True:
        block = os.read(stream.fileno(), _READ)
        *whole, rest = (rest + block).split(delimiter)
        yield from (path for path in whole if path)
        if not block:
            if rest:
                yield rest
            return
        if len(rest) > MAX_PATH:
            raise CommandError("A path in the list is longer than any path. Check the delimiter.")
