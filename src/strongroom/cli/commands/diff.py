"""`strongroom diff`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.argument_groups import add_patterns
from strongroom.cli.arguments import ARCHIVE, Parser
from strongroom.cli.difference_options import KEYS_HELP, OUTPUT, write_differences
from strongroom.cli.options import add, option
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Show what changed from one archive to another."

EPILOG = f"""
A line for each path that was added or removed, or whose content, owner, mode, times, extended
attributes, access control list or flags changed:

    +135 B    -252 B [-rw-r--r-- -> -rwxr-xr-x] home/me/script
    added directory     home/me/new
    removed      1.3 kB home/me/old

Sizes of a changed file are those of its chunks that only the new, or only the old one has. What both
archives share is not even read: comparing takes as long as there are differences.

{KEYS_HELP}

examples:
    strongroom diff /mnt/backup::monday tuesday
    strongroom diff --content-only --sort-by '>size_added' ::monday tuesday home/me
    strongroom diff --json-lines ::monday tuesday -e '*.log'
    strongroom diff --format '{{size_added:12}} {{path}}{{NL}}' ::monday tuesday
"""

_OPTIONS = (
    option("--numeric-owner", dest="numeric_ids", action="store_true", help="deprecated, use --numeric-ids"),
    option("--numeric-ids", action="store_true", help="compare users and groups by number, not by name"),
    option(
        "--same-chunker-params",
        action="store_true",
        help="take it for granted that both archives were cut by the same chunker parameters",
    ),
    option("--content-only", action="store_true", help="compare content alone, no metadata"),
)


def define(parser: Parser) -> None:
    parser.location(ARCHIVE, "the earlier archive, with its repository")
    parser.add_argument("archive2", metavar="ARCHIVE2", help="name of the later archive")
    parser.paths("PATH", "paths to compare; patterns are supported", type=types.path)
    add(parser, _OPTIONS)
    add(parser, OUTPUT)
    add_patterns(parser)


def run(session: "Session") -> None:
    from strongroom.archive.changes import Concerns
    from strongroom.commands.diff import diff_archives
    from strongroom.repository.keyfiles import Need

    args = session.args
    new = session.placeholders.replace(args.archive2).removeprefix("::")
    if not new or "::" in new:
        raise CommandError("The second archive is in the same repository: only its name is expected.")
    concerns = Concerns(metadata=not args.content_only, numeric_ids=args.numeric_ids)
    matcher = session.patterns.for_reading(args.paths)
    with session.open(Need.READ) as repository:
        found = diff_archives(
            repository,
            session.archive,
            new,
            matcher,
            concerns,
            session.output,
            same_chunker=args.same_chunker_params,
        )
        write_differences(session, found)
