"""`strongroom benchmark crud`."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.formats import format_size
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Measure how fast a repository is: create, read, update and delete files of several kinds."

EPILOG = """
PATH is where the files to back up are made, 2.2 GB in turn, and removed again. The archives that it makes
in REPOSITORY are deleted at the end. Use an empty repository, and delete that afterwards: until
"strongroom compact" the data stays. Each line begins with what was done and with what:

  C create        R read (extract --dry-run)       U update: create again, nothing changed     D delete
  Z zeros         R random bytes
  BIG 10 files of 100 MB     MEDIUM 1000 files of 1 MB     SMALL 10000 files of 10 kB

example:
    strongroom benchmark crud /mnt/backup /tmp
"""


class _Kind(NamedTuple):
    name: str
    files: int
    size: int  # bytes
    random: bool


def _kinds() -> list[_Kind]:
    # for trying it out, as Borg has it: with files of a size of nothing worth measuring
    small = "_STRONGROOM_BENCHMARK_CRUD_TEST" in os.environ
    sizes = [("BIG", 10, 10**8), ("MEDIUM", 1000, 10**6), ("SMALL", 10_000, 10_000)]
    return [
        _Kind(f"{letter}-{name}", 10 if small else count, 10 if small else size, letter == "R")
        for name, count, size in sizes
        for letter in "ZR"
    ]


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to measure", required=True)
    parser.add_argument("path", metavar="PATH", type=types.path, help="folder to make files in")


def run(session: "Session") -> None:
    from strongroom.commands.opening import Need

    with session.open(Need.READ):  # asked now, rather than after the files were made
        pass
    location = session.location.canonical()
    for kind in _kinds():
        with _files(session.args.path, kind) as folder:
            for letter, seconds in _measure(session, f"{location}::borg-benchmark-crud", folder):
                volume = kind.files * kind.size
                what = (
                    f"{kind.files} * {format_size(kind.size)} {'random' if kind.random else 'all-zero'} files"
                )
                rate = volume / max(seconds, 1e-6) / 1e6
                session.output.write(f"{letter}-{kind.name:<10}{rate:9.2f} MB/s ({what}: {seconds:.2f}s)\n")
                session.output.flush()


def _measure(session: "Session", archive: str, folder: str) -> Iterator[tuple[str, float]]:
    for letter, words in (
        ("C", ["create", f"{archive}1", folder]),
        ("R", ["extract", "--dry-run", f"{archive}1"]),
        ("U", ["create", f"{archive}2", folder]),
        ("D", ["delete", f"{archive}1"]),
        ("", ["delete", f"{archive}2"]),
    ):
        seconds = _timed(lambda words=words: _run(session, words))  # type: ignore[misc]
        if letter:
            yield letter, seconds


def _run(session: "Session", words: list[str]) -> None:
    """Another command of this program, in this process."""
    from importlib import import_module

    from strongroom.cli import arguments
    from strongroom.cli.session import Session

    args = arguments.parse(words)
    for name in ("remote_path", "rsh", "upload_ratelimit", "upload_buffer", "lock_wait"):
        setattr(args, name, getattr(session.args, name))
    inner = Session(args, session.environment, session.output, session.signals)
    import_module(f"strongroom.cli.commands.{args.command.module}").run(inner)


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def _files(parent: str, kind: _Kind) -> Iterator[str]:
    folder = os.path.join(parent, "borg-test-data")
    try:
        os.mkdir(folder)
    except FileExistsError:
        raise CommandError(
            f"{folder} is there already: is another benchmark running? If not, remove it."
        ) from None
    try:
        for number in range(kind.files):
            with open(os.path.join(folder, f"file_{number:010d}"), "wb") as file:
                file.write(os.urandom(kind.size) if kind.random else bytes(kind.size))
        yield folder
    finally:
        shutil.rmtree(folder)
