"""`strongroom find`."""

import os
import stat
from argparse import ArgumentTypeError
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.argument_groups import add_archive_filters, archive_filter
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.errors import CommandError
from strongroom.reporting import Notice
from strongroom.store.location import parse_location

if TYPE_CHECKING:
    from strongroom.archive.changes import Kind
    from strongroom.archive.local_content import LocalContent
    from strongroom.cli.session import Session
    from strongroom.commands.find import Wanted
    from strongroom.repository.repository import Repository

DESCRIPTION = "Find files in all archives: in which versions they exist, since when, and until when."

EPILOG = """
A PATTERN without a slash is a glob for names: '*.odt', letter.odt. One with a slash is a path, with all
that is below it. re:, sh:, fm:, pp: and pf: choose another style ("strongroom help patterns").

Each path is followed by its versions, oldest first: mode, size, time of last change, the first and the
last archive that hold it like that, and the archive in which it was gone. A file counts as gone in an
archive of the same machine that holds a folder above it. Archives share most of their folders; those
are read once.

--same-as answers "is this file in the backup?": it finds every path that ever had the content of FILE,
whatever its name and times. FILE is hashed here; nothing of it is sent anywhere.

The exit code is 1 if nothing is found.

examples:
    strongroom find /mnt/backup letter.odt
    strongroom find '*.kdbx' --last 30
    strongroom find home/me/documents --gone
    strongroom find 're:\\.(jpe?g|png)$' --size 10M.. --changed-after 2026-01-01
    strongroom find --same-as ~/downloads/unknown.bin
"""

_KINDS: "dict[str, Kind]" = {
    "f": "file",
    "d": "directory",
    "l": "link",
    "b": "blkdev",
    "c": "chrdev",
    "p": "fifo",
}


def _kinds(text: str) -> "frozenset[Kind]":
    letters = [letter for letter in text if letter != ","]
    if not letters or not set(letters) <= _KINDS.keys():
        raise ArgumentTypeError(f'"{text}" are no types: use letters of {"".join(_KINDS)}')
    return frozenset(_KINDS[letter] for letter in letters)


def _sizes(text: str) -> tuple[int | None, int | None]:
    """`10M..`, `..5k`, `1k..2k`, or one size alone."""
    least, dots, most = text.partition("..")
    if not least and not most:
        raise ArgumentTypeError(f'"{text}" is no range of sizes: write it like 10M.. or 1k..5k')
    if not dots:
        return types.size(least), types.size(least)
    lower = types.size(least) if least else None
    upper = types.size(most) if most else None
    if lower is not None and upper is not None and lower > upper:
        raise ArgumentTypeError(f'"{text}" holds no size: the smaller one comes first')
    return lower, upper


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to search")
    parser.paths("PATTERN", "names or paths to find", dest="wanted", type=types.path)
    parser.add_argument("--same-as", metavar="FILE", default=None, help="only files with the content of FILE")
    parser.add_argument(
        "--size",
        metavar="RANGE",
        type=_sizes,
        default=(None, None),
        help="only files that large: 10M.., ..5k",
    )
    parser.add_argument(
        "--changed-after", metavar="TIME", type=types.timestamp, default=None,
        help="only what was last changed (mtime) at TIME or later: 2026-11-23, or the time of a file",
    )  # fmt: skip
    parser.add_argument(
        "--changed-before", metavar="TIME", type=types.timestamp, default=None,
        help="only what was last changed before TIME",
    )  # fmt: skip
    parser.add_argument(
        "--type", metavar="LETTERS", dest="kinds", type=_kinds, default=frozenset(),
        help="only files (f), folders (d), links (l), FIFOs (p), devices (b, c)",
    )  # fmt: skip
    parser.add_argument(
        "--gone", action="store_true", help="only what the newest archive does not have any more"
    )
    parser.add_argument("--short", action="store_true", help="print only paths")
    parser.add_argument("--json-lines", action="store_true", help="print JSON, an object for each path")
    add_archive_filters(parser, sort_by=False)


def run(session: "Session") -> None:
    from strongroom.cli.find_format import FindFormatter
    from strongroom.commands.find import find_paths
    from strongroom.repository.keyfiles import Need

    args, output = session.args, session.output
    _settle_patterns(session)
    says = (args.wanted, args.same_as, args.gone, args.kinds, args.changed_after, args.changed_before)
    if not any(says) and args.size == (None, None):
        raise CommandError("Nothing says what to find: give a PATTERN, --same-as, --size or --gone.")
    formatter = FindFormatter(iec=args.iec, safe=output.stdout_is_terminal)
    render = formatter.json_line if args.json_lines else formatter.short if args.short else formatter.text
    chosen = archive_filter(args, session.placeholders)
    anything = False
    with session.open(Need.READ) as repository, ExitStack() as files:
        wanted = _wanted(session, repository, files)
        for found in find_paths(repository, chosen, wanted, output):
            output.write(render(found))
            anything = True
    if not anything:
        output.warn(Notice("Nothing of the kind is in these archives."))


def _settle_patterns(session: "Session") -> None:
    """Where the repository is known, all words are patterns, but one that is itself a repository."""
    from strongroom.archive.patterns import Style

    args = session.args
    word = args.location
    known = args.repo is not None or bool(session.environment.get("REPO"))
    if not known or not word or word.startswith("::"):
        return
    styled = word[2:3] == ":" and word[:2] in {style.value for style in Style}
    is_repository = os.path.isfile(os.path.join(word, "config")) or parse_location(word).is_remote
    if args.repo is None and is_repository and not styled:
        return
    args.wanted, args.location = [word, *args.wanted], ""


def _wanted(session: "Session", repository: "Repository", files: ExitStack) -> "Wanted":
    from strongroom.commands.find import Wanted

    args = session.args
    return Wanted(
        patterns=tuple(args.wanted),
        kinds=args.kinds,
        least=args.size[0],
        most=args.size[1],
        after=_nanoseconds(args.changed_after),
        before=_nanoseconds(args.changed_before),
        content=_content(args.same_as, repository, files) if args.same_as else None,
        gone=args.gone,
    )


def _content(path: str, repository: "Repository", files: ExitStack) -> "LocalContent":
    from strongroom.archive.local_content import LocalContent

    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
    files.callback(os.close, fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise CommandError(f"{path} is no regular file: there is no content to find.")
    return LocalContent(fd, repository.chunk_hasher())


def _nanoseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
