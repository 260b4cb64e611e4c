"""`strongroom compact`."""

from datetime import timedelta
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.archive_format import archive_line
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.formats import archive_moment, format_size
from strongroom.cli.printable import printable
from strongroom.errors import CommandError
from strongroom.reporting import counted

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.compact import CompactOptions, CompactResult
    from strongroom.commands.results import ArchiveInfo
    from strongroom.repository.planning import Plan
    from strongroom.repository.repository import Repository

DESCRIPTION = "Free the space of archives that were deleted or pruned."

EPILOG = """
An archive is freed when it has been deleted for longer than the quarantine: 30 days, unless "init"
was told otherwise. The time counts by the server's clock. From then on it cannot be undeleted. Of
packs that are partly in use the rest is moved into new packs, once more than --threshold percent of
a pack is dead.

A deletion that a backup key asks for is a request, and frees nothing by itself: "strongroom list"
marks such archives. --accept takes the name of the archive, a pattern, or the name of the key that
asks, and deletes what is meant in your name; its quarantine begins then. --accept '*' accepts all.
To refuse a request, use "strongroom undelete".

It needs an admin key, and a server that lets this client remove objects (not --append-only: there,
the server's owner runs "strongroom server compact"). Backups may run meanwhile. It can be stopped
at any point and run again; what was freed until then stays freed.

A copy that "strongroom replicate" made keeps what was freed in the original. Compacting the copy
removes that, once "replicate" has brought the record which freed it, and nothing else.

examples:
    strongroom compact --dry-run /mnt/backup
    strongroom compact --stats /mnt/backup
    strongroom compact --accept laptop --list /mnt/backup
    strongroom compact --quarantine 7d --threshold 30 /mnt/backup
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to compact")
    define_freeing(parser)
    parser.add_argument("--cleanup-commits", action="store_true", help="accepted for compatibility")


def define_freeing(parser: Parser) -> None:
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="show what would be freed; change nothing"
    )
    parser.add_argument(
        "--list", dest="output_list", action="store_true", help="list what is freed, and who asked"
    )
    parser.add_argument("-s", "--stats", action="store_true", help="print how much was freed")
    parser.add_argument(
        "--threshold", metavar="PERCENT", type=types.percent, default=10,
        help="move the rest of packs of which more than this is dead (default: 10)",
    )  # fmt: skip
    parser.add_argument(
        "--quarantine", metavar="TIME", type=types.quarantine, default=None,
        help="how long archives must have been deleted, as 12H, 7d, 4w or 0 (default: the repository's)",
    )  # fmt: skip
    parser.add_argument(
        "--accept", metavar="NAME", action="append", default=[],
        help="delete what a backup key asks for: archive, pattern or name of the key; may be repeated",
    )  # fmt: skip


def run(session: "Session") -> None:
    from strongroom.repository.keyfiles import Need

    options = freeing_options(session)
    with session.open(Need.ADMIN, copy_as_it_is=True) as repository:
        if repository.is_replica:
            _free_copy(session, repository)
        else:
            free(session, repository, options)


def _free_copy(session: "Session", repository: "Repository") -> None:
    from strongroom.commands.compact_copy import compact_copy

    args = session.args
    if args.accept:
        raise CommandError("This is a copy that replicate made: --accept requests in the original.")
    result = compact_copy(repository, session.output, dry_run=args.dry_run)
    would = "Would remove" if args.dry_run else "Removed"
    session.output.info(
        f"{would} {result.objects} objects of a copy, {format_size(result.bytes, iec=args.iec)}, "
        "which its log says were freed."
    )


def freeing_options(session: "Session") -> "CompactOptions":
    from strongroom.commands.compact import CompactOptions

    args = session.args
    quarantine: timedelta | None = args.quarantine
    return CompactOptions(
        quarantine=None if quarantine is None else round(quarantine.total_seconds()) * 10**9,
        threshold=args.threshold / 100,
        accept=[session.placeholders.replace(word) for word in args.accept],
    )


def free(session: "Session", repository: "Repository", options: "CompactOptions") -> "CompactResult | None":
    """Compact, and say what the options ask for; None for a dry run."""
    from strongroom.commands.compact import compact

    args = session.args
    if args.dry_run:
        _show_plan(session, repository, options)
        return None
    result = compact(repository, options, session.output)
    if args.output_list:
        _list(session, "Accepted", result.accepted)
        _list(session, "Freed", result.archives)
        assert result.planned is not None, "made before anything is done"
        _list_waiting(session, repository, result.planned, result.accepted)
    if args.stats:
        _emit_stats(session, result)
    freed = format_size(result.freed, iec=args.iec)
    session.output.info(f"compaction freed about {freed} repository space.")
    return result


def _show_plan(session: "Session", repository: "Repository", options: "CompactOptions") -> None:
    from strongroom.commands.compact import plan_compact, requests
    from strongroom.commands.infos import archive_infos

    output, iec = session.output, session.args.iec
    accepted = requests(repository, options.accept)
    _list(session, "Would accept", accepted)
    planned = plan_compact(repository, options, accepted=accepted)
    _list(session, "Would free", archive_infos(repository, planned.archives))
    _list_waiting(session, repository, planned, accepted)
    count = len(planned.dead) + len(planned.partial)
    output.emit(
        "info",
        f"Would free {format_size(planned.freed_bytes + planned.regained_bytes, iec=iec)} "
        f"in {counted(count, 'pack')}, "
        f"and move {format_size(planned.moved_bytes, iec=iec)} for it.",
        name="strongroom.output.list",
    )


def _list(session: "Session", verb: str, found: "list[ArchiveInfo]") -> None:
    for info in found:
        if info.deleted is not None:
            who = f", deleted by {printable(info.deleted_by)} on {archive_moment(info.deleted)}"
        elif info.requested is not None:
            who = (
                f", deletion asked for by {printable(info.requested_by)} on {archive_moment(info.requested)}"
            )
        else:
            who = ""
        session.output.emit(
            "info", f"{verb}: {printable(archive_line(info))}{who}", name="strongroom.output.list"
        )


def _list_waiting(
    session: "Session", repository: "Repository", planned: "Plan", accepted: "list[ArchiveInfo]"
) -> None:
    from strongroom.commands.compact import requests
    from strongroom.commands.infos import archive_infos

    waiting = [one for one in planned.waiting if one.id in repository.state.archives]
    _list(session, "Waits for its quarantine to end", archive_infos(repository, waiting))
    answered = {info.id for info in accepted}
    left = [info for info in requests(repository) if info.id not in answered]
    _list(session, "Not accepted", left)


def _emit_stats(session: "Session", result: "CompactResult") -> None:
    iec = session.args.iec
    lines = [
        f"Archives freed: {len(result.archives)}",
        f"Space freed:    {format_size(result.freed, iec=iec)}",
        f"Data moved:     {format_size(result.moved, iec=iec)}",
        f"Objects removed: {result.objects}",
    ]
    session.output.block(lines)
