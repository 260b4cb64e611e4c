"""`strongroom analyze`."""

import json
import os
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.argument_groups import add_archive_filters, archive_filter
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.formats import format_size
from strongroom.cli.printable import printable, without_surrogates

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Show which folders make a repository grow."

EPILOG = """
Each archive is compared with the one before it of the same machine, and what changed is summed up by
folder, the largest first:

stored   what came to the repository with it, compressed, and only what the archive before did not have
added    content of files that were added or changed, as far as their chunks are others than before
removed  content that was there before
files    how often a file was added, changed or removed

Choose archives of one series, of the same folders, with -a.

examples:
    strongroom analyze -a 'laptop-*' --last 30
    strongroom analyze --depth 3 --json-lines /mnt/backup
"""

_KEYS = ("path", "stored", "added", "removed", "files")


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to look at")
    parser.add_argument(
        "-d", "--depth", metavar="N", type=types.natural, default=None,
        help="count what is deeper than N folders for the one at that depth (default: no limit)",
    )  # fmt: skip
    parser.add_argument(
        "--most",
        metavar="N",
        type=types.positive,
        default=30,
        help="show N folders at the most (default: 30)",
    )
    parser.add_argument("--json-lines", action="store_true", help="print JSON, all folders, one a line")
    add_archive_filters(parser, sort_by=False)


def run(session: "Session") -> None:
    from strongroom.commands.analyze import analyze_archives
    from strongroom.repository.keyfiles import Need

    args, output = session.args, session.output
    chosen = archive_filter(args, session.placeholders)
    with session.open(Need.READ) as repository:
        found = analyze_archives(repository, chosen, args.depth, output)
    found.sort(key=lambda growth: (-growth.stored, -growth.added - growth.removed, growth.path))
    if args.json_lines:
        for growth in found:
            values = {key: getattr(growth, key) for key in _KEYS}
            output.write(json.dumps(values | {"path": without_surrogates(os.fsdecode(growth.path))}) + "\n")
        return
    text = printable if output.stdout_is_terminal else without_surrogates
    output.write(f"{'stored':>10} {'added':>10} {'removed':>10} {'files':>9}  path\n")
    for growth in found[: args.most]:
        sizes = (format_size(size, iec=args.iec) for size in (growth.stored, growth.added, growth.removed))
        row = "".join(f"{size:>10} " for size in sizes)
        output.write(f"{row}{growth.files:>9}  {text(os.fsdecode(growth.path))}\n")
