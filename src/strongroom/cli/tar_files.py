"""Where `export-tar` writes and `import-tar` reads: a file or a pipe, through a program that compresses."""

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, cast

from strongroom.errors import CommandError
from strongroom.secretless import secretless_environment

_FILTERS = {
    (".tar.gz", ".tgz"): "gzip",
    (".tar.bz2", ".tbz"): "bzip2",
    (".tar.xz", ".txz"): "xz",
    (".tar.lz4",): "lz4",
    (".tar.zstd", ".tar.zst"): "zstd",
}


def chosen_filter(name: str, words: str, *, reading: bool) -> list[str] | None:
    """The program and its arguments, by `--tar-filter` or, if that is "auto", by the file's name.

    Raises `CommandError`.
    """
    if words != "auto":
        try:
            return shlex.split(words) or None
        except ValueError as error:
            raise CommandError(f"The filter {words!r} cannot be understood: {error}.") from error
    for suffixes, program in _FILTERS.items():
        if name.endswith(suffixes):
            return [program, "-d"] if reading else [program]
    return None


@contextmanager
def writing(name: str, command: list[str] | None) -> Iterator[BinaryIO]:
    """A stream into the file (`-`: standard output), which appears under its name once it is complete.

    Raises `CommandError`, also when the filter fails.
    """
    with _target(name) as file:
        if command is None:
            yield file
            return
        process = _start(command, stdin=subprocess.PIPE, stdout=file)
        assert process.stdin is not None
        try:
            yield cast("BinaryIO", process.stdin)
            process.stdin.close()
        except BrokenPipeError:
            pass  # its exit code tells why
        except BaseException:
            process.kill()
            raise
        finally:
            code = _end(process)
        if code:
            raise CommandError(
                f"The filter {command[0]!r} failed with status {code}: {name} was not written."
            )


@contextmanager
def _target(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        sys.stdout.buffer.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        direct = not stat.S_ISREG(os.stat(name).st_mode)
    except OSError:
        direct = False
    part = name if direct else f"{name}.part-{os.getpid()}"
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            if not direct:
                os.fsync(file.fileno())
        if not direct:
            os.replace(part, name)
    except OSError as error:
        raise CommandError(f"{name} cannot be written: {error.strerror}.") from error
    finally:
        if not direct and os.path.lexists(part):
            os.unlink(part)


@contextmanager
def reading(name: str, command: list[str] | None) -> Iterator[tuple[BinaryIO, Callable[[], None]]]:
    """A stream out of the file (`-`: standard input), and what is to be called at its end: it raises
    `CommandError` if the filter failed. Raises `CommandError`.
    """
    with ExitStack() as closing:
        try:
            file = sys.stdin.buffer if name == "-" else closing.enter_context(open(name, "rb"))
        except OSError as error:
            raise CommandError(f"{name} cannot be read: {error.strerror}.") from error
        if command is None:
            yield file, lambda: None
            return
        process = _start(command, stdin=file, stdout=subprocess.PIPE)
        closing.callback(_stop, process)

        def finish() -> None:
            if code := process.wait():
                raise CommandError(
                    f"The filter {command[0]!r} failed with status {code}: nothing was archived."
                )

        yield cast("BinaryIO", process.stdout), finish


def _start(command: list[str], stdin: BinaryIO | int, stdout: BinaryIO | int) -> "subprocess.Popen[bytes]":
    """In a process group of its own: Ctrl-C is for us to handle."""
    try:
        return subprocess.Popen(
            command, stdin=stdin, stdout=stdout, process_group=0, env=secretless_environment()
        )
    except OSError as error:
        raise CommandError(f"The filter {command[0]!r} cannot be started: {error.strerror}.") from error


def _end(process: "subprocess.Popen[bytes]") -> int:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except BrokenPipeError:
                continue
    return process.wait()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()
    _end(process)
