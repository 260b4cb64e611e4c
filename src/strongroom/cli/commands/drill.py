"""`strongroom drill`."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.argument_groups import add_archive_filters, archive_filter
from strongroom.cli.arguments import EITHER, Parser
from strongroom.cli.formats import format_size
from strongroom.cli.options import add, option
from strongroom.cli.printable import printable
from strongroom.errors import CommandError
from strongroom.reporting import BACKUP_ERROR, Notice, counted

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.drill import Drilled

DESCRIPTION = "Restore files for practice, compare them with the archive, and tell how long all would take."

EPILOG = """
A backup exists if it can be restored. This restores a random sample of files into a temporary folder, reads
them back, compares them with the archive byte for byte (as root, their metadata too), and removes
them again. Run it every month, by the machine that would do the restore, with its key: exit code 0 says that
everything was restored as it was.

Of a repository, the newest and the oldest archive are drilled, and others at random; --full restores
all of the newest one, or of those that are named. Small and large files are restored one after the other,
to tell what each file costs and what each byte: the time for a whole restore is told as a range,
or not at all where too little was restored to tell. With --full it is what it took.

examples:
    strongroom drill /mnt/backup
    strongroom drill --full --to /mnt/scratch ::monday
    strongroom drill --archives 12 --files 200 --json ssh://backup@server/./laptop
"""

_OPTIONS = (
    option("--full", action="store_true", help="restore everything instead of a sample"),
    option("--archives", metavar="N", type=types.natural, default=3, help="drill N archives (default: 3)"),
    option(
        "--files", metavar="N", type=types.natural, default=1000,
        help="restore N files of each archive at the most (default: 1000)",
    ),
    option(
        "--size", metavar="SIZE", type=types.size, default=10**9,
        help="restore so many bytes of each archive at the most (default: 1G)",
    ),
    option("--to", metavar="DIR", type=types.path, help="restore below DIR, instead of $TMPDIR or /tmp"),
    option("--seed", metavar="N", type=types.natural, help="choose as the drill with the same seed did"),
    option("--json", action="store_true", help="print JSON"),
)  # fmt: skip


def define(parser: Parser) -> None:
    parser.location(EITHER, "repository, or archive, to restore from")
    add(parser, _OPTIONS)
    add_archive_filters(parser)


def run(session: "Session") -> None:
    from strongroom.cli.diff_format import DiffFormatter
    from strongroom.commands.drill import DrillOptions, drill_repository
    from strongroom.repository.keyfiles import Need

    args, output = session.args, session.output
    if not args.archives or not args.files:
        raise CommandError("A drill restores at least one file of one archive.")
    if args.to is not None and not Path(args.to).is_dir():
        raise CommandError(f"--to {args.to}: there is no such folder.")
    options = DrillOptions(
        archive=session.location.archive,
        archives=archive_filter(args, session.placeholders),
        count=args.archives,
        files=args.files,
        size=args.size,
        full=args.full,
        folder=None if args.to is None else Path(args.to),
        seed=args.seed,
    )
    shown = DiffFormatter(None, iec=args.iec, safe=True)
    results = []
    with session.open(Need.READ) as repository, session.signals.graceful():
        for one in drill_repository(repository, options, output):
            for found in one.differences:
                output.warn(Notice(f"not restored as archived: {shown.line(found).strip()}", *BACKUP_ERROR))
            for folder, why in () if args.full else one.unreadable.items():  # a whole restore told it
                words = f"{os.fsdecode(folder) or '.'}: what is in this folder cannot be read: {why}"
                output.warn(Notice(words, *BACKUP_ERROR))
            if args.json:
                results.append(_as_json(one))
            else:
                output.write(_as_text(one, full=args.full, iec=args.iec))
    if args.json:
        output.write(json.dumps({"archives": results}, indent=4) + "\n")


def _as_text(one: "Drilled", *, full: bool, iec: bool) -> str:
    size, whole = (format_size(number, iec=iec) for number in (one.size, one.all_size))
    verdict = f"{len(one.differences)} not as archived" if one.differences else "all as archived"
    if one.unreadable:
        verdict += f", but {counted(len(one.unreadable), 'folder')} cannot be read"
    text = (
        f"{printable(one.archive.name or '')}: {one.files} of {one.all_files} files ({size} of {whole}) "
        f"restored in {one.seconds:.1f} s, {verdict}.\n"
    )
    if not full:
        if one.estimate is not None:
            text += f"    The whole archive would take {span(*one.estimate)}.\n"
        else:
            text += "    Too little was restored to tell how long the whole archive would take"
            text += "; --files and --size restore more.\n"
    return text


def span(low: float, high: float) -> str:
    """From so many seconds to so many, both in the unit that suits the longer time."""
    if high < 120:
        shown, unit = [f"{max(1, round(seconds))}" for seconds in (low, high)], "s"
    elif high < 120 * 60:
        shown, unit = [f"{max(1, round(seconds / 60))}" for seconds in (low, high)], "min"
    else:
        shown, unit = [f"{max(0.1, seconds / 3600):.1f}" for seconds in (low, high)], "h"
    return f"{' to '.join(dict.fromkeys(shown))} {unit}"


def _as_json(one: "Drilled") -> dict[str, object]:
    return {
        "archive": one.archive.name,
        "id": one.archive.id.hex(),
        "files": one.files,
        "size": one.size,
        "all_files": one.all_files,
        "all_size": one.all_size,
        "seconds": round(one.seconds, 3),
        "whole_restore_seconds": one.estimate and [round(seconds, 3) for seconds in one.estimate],
        "differences": len(one.differences),
        "unreadable_folders": len(one.unreadable),
    }
