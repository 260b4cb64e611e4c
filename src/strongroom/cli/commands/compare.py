"""`strongroom compare`."""

import os
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.argument_groups import add_patterns, attributes
from strongroom.cli.arguments import ARCHIVE, Parser
from strongroom.cli.difference_options import KEYS_HELP, OUTPUT, write_differences
from strongroom.cli.options import add, option

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Show what differs between an archive and the disk now."

EPILOG = f"""
The lines are those of "strongroom diff", from the archive to the disk: a file that was deleted since is
"removed", a new one in a folder that was backed up is "added".

DIR is where the archive's paths begin: the folder into which it was extracted. Without it, the archive
is compared with what was backed up: with /, or with the folder in which "create" ran.

A file counts as unchanged if its type, size, owner, mode, mtime, extended attributes, access control
lists and flags are the same. --content also reads it and compares its chunk ids: slow, and nothing
escapes it. --ctime compares the time of the last change of any kind, which nobody can set back, and
which is of no use after "extract". Files that "create" left out show up as added: give the same
--exclude.

{KEYS_HELP}

examples:
    strongroom compare ::monday
    strongroom compare --content ::monday /mnt/restored
    strongroom compare --content-only ::monday --exclude '*.log' --exclude 'sh:home/*/.cache'
    strongroom compare --json-lines --ctime ::system -e 'sh:var/log'
"""

_OPTIONS = (
    option("--content", action="store_true", help="read all files and compare their content"),
    option("--content-only", action="store_true", help="the same, and compare no metadata"),
    option("--ctime", action="store_true", help="compare the time of the last change of any kind too"),
    option("--numeric-ids", action="store_true", help="compare users and groups by number, not by name"),
    option("--noflags", action="store_true", help="do not compare file flags"),
    option("--noacls", action="store_true", help="do not compare access control lists"),
    option("--noxattrs", action="store_true", help="do not compare extended attributes"),
    option("-x", "--one-file-system", action="store_true", help="do not look into other file systems"),
)


def define(parser: Parser) -> None:
    parser.location(ARCHIVE, "archive to compare")
    parser.add_argument("folder", metavar="DIR", nargs="?", type=types.path, help="where its paths begin")
    add(parser, _OPTIONS)
    add(parser, OUTPUT)
    add_patterns(parser)


def run(session: "Session") -> None:
    from strongroom.archive.changes import Concerns
    from strongroom.commands.compare import CompareOptions, compare_archive
    from strongroom.repository.keyfiles import Need

    args = session.args
    options = CompareOptions(
        Concerns(metadata=not args.content_only, numeric_ids=args.numeric_ids, ctime=args.ctime),
        content=args.content or args.content_only,
        one_file_system=args.one_file_system,
        attributes=attributes(args),
    )
    folder = None if args.folder is None else os.fsencode(args.folder)
    matcher = session.patterns.for_reading()
    with session.open(Need.READ) as repository, session.signals.graceful():
        found = compare_archive(repository, session.archive, folder, matcher, options, session.output)
        write_differences(session, found)
