"""`strongroom delete`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli import reports
from strongroom.cli.archive_format import archive_line
from strongroom.cli.argument_groups import add_archive_filters, archive_filter, has_archive_filter
from strongroom.cli.arguments import EITHER, Parser
from strongroom.cli.printable import printable
from strongroom.errors import ArchiveMissing, Cancelled, CommandError
from strongroom.reporting import Notice
from strongroom.store.location import check_archive_name

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.results import ArchiveInfo
    from strongroom.repository.repository import Repository

DESCRIPTION = "Delete archives, or, when none is named, a whole repository."

EPILOG = """
Deleting an archive does not free space, and can be taken back: it is a record in the repository's
log. Space is freed later, by "strongroom compact", and only after the quarantine of the
repository. Deleting a repository is final: you are asked to confirm it by typing YES.

When in doubt, look first: --dry-run --list.

examples:
    strongroom delete /mnt/backup::monday
    strongroom delete /mnt/backup monday tuesday
    strongroom delete --dry-run --list --glob-archives 'laptop-2019-*' /mnt/backup
    strongroom delete /mnt/old-backup
"""


def define(parser: Parser) -> None:
    parser.location(EITHER, "repository or archive to delete")
    parser.paths("ARCHIVE", "more archives to delete", dest="archives")
    parser.add_argument("-n", "--dry-run", action="store_true", help="change nothing")
    parser.add_argument("--list", dest="output_list", action="store_true", help="list the archives")
    parser.add_argument("-s", "--stats", action="store_true", help="print statistics of the deleted archives")
    parser.add_argument(
        "--quick-stats", action="store_true", help="the same without those of the whole repository"
    )
    parser.add_argument(
        "--cache-only", action="store_true", help="delete only this machine's cache of the repository"
    )
    parser.add_argument(
        "--force", dest="forced", action="count", default=0, help="delete a repository without asking"
    )
    parser.add_argument(
        "--keep-security-info",
        action="store_true",
        help="of a deleted repository, keep what this machine knows",
    )
    parser.add_argument("--save-space", action="store_true", help="accepted for compatibility")
    parser.add_argument(
        "-c", "--checkpoint-interval", metavar="SECONDS", type=types.natural, default=1800,
        help="accepted for compatibility: a deletion is one step",
    )  # fmt: skip
    add_archive_filters(parser)


def run(session: "Session") -> None:
    args = session.args
    named = [args.archives, [session.location.archive] if session.location.archive else []]
    if has_archive_filter(args) and any(named):
        raise CommandError("Archive filters and archives by name cannot be mixed.")
    if has_archive_filter(args) or any(named):
        _delete_archives(session)
    else:
        _delete_repository(session)


def _delete_archives(session: "Session") -> None:
    from strongroom.commands.delete import delete_archives
    from strongroom.commands.info import with_sizes
    from strongroom.commands.opening import Need

    args, output = session.args, session.output
    with session.open(Need.DELETE) as repository:
        found = _chosen(session, repository)
        verb = "Would delete archive" if args.dry_run else "Deleting archive"
        for number, info in enumerate(found, 1):
            if args.output_list:
                output.emit(
                    "info",
                    f"{verb}: {printable(archive_line(info))} ({number}/{len(found)})",
                    name="strongroom.output.list",
                )
        if not found:
            return
        wants_stats = (args.stats or args.quick_stats) and not args.dry_run
        if wants_stats:
            found = [with_sizes(repository, info) for info in found]  # while they are still counted
        names = [info.name for info in found if info.name is not None]
        delete_archives(repository, names, dry_run=args.dry_run, reporter=output)
        if wants_stats:
            _print_stats(session, repository, found)


def _chosen(session: "Session", repository: "Repository") -> "list[ArchiveInfo]":
    from strongroom.commands.listing import find_archive, list_archives

    args = session.args
    if has_archive_filter(args):
        return list_archives(repository, archive_filter(args, session.placeholders))
    names = [check_archive_name(session.placeholders.replace(name)) for name in args.archives]
    if session.location.archive:
        names.insert(0, session.location.archive)
    found = []
    for number, name in enumerate(dict.fromkeys(names), 1):
        try:
            found.append(find_archive(repository, name))
        except ArchiveMissing:
            session.output.warn(
                Notice(f"Archive {name} not found ({number}/{len(names)}).", "Archive.DoesNotExist")
            )
    return found


def _print_stats(session: "Session", repository: "Repository", deleted: "list[ArchiveInfo]") -> None:
    from strongroom.commands.info import totals
    from strongroom.commands.results import Stats

    iec = session.args.iec
    gone = Stats(
        files=-sum(info.stats.files for info in deleted),
        original=-sum(info.stats.original for info in deleted),
        compressed=-sum(info.stats.compressed for info in deleted),
        deduplicated=-sum(info.stats.deduplicated for info in deleted),
    )
    lines = [reports.RULE, reports.HEADER, reports.stats_row("Deleted data:", gone, iec=iec)]
    if session.args.stats:
        lines += reports.totals_lines(totals(repository), iec=iec)
    session.output.emit("info", "\n".join([*lines, reports.RULE]), name="strongroom.output.stats")


def _delete_repository(session: "Session") -> None:
    from strongroom.commands.delete import delete_repository, forget_repository
    from strongroom.commands.opening import Need

    args, output = session.args, session.output
    with session.open(Need.STRUCTURE) as repository:
        if not args.cache_only:
            if not args.forced and not args.dry_run:
                _confirm(session, repository)
            if args.dry_run:
                output.info("Would delete repository.")
            else:
                delete_repository(repository)
                output.info("Repository deleted.")
        if args.dry_run:
            output.info("Would delete cache.")
            return
        forget_repository(repository, keep_security=args.keep_security_info or args.cache_only)
        output.info("Cache deleted.")


def _confirm(session: "Session", repository: "Repository") -> None:
    count = len(repository.state.archives)
    question = "\n".join(
        [
            f"You are about to DELETE this repository completely, *including* its {count} archives:",
            reports.RULE,
            f"Repository ID: {repository.id.hex()}",
            f"Location: {printable(session.location.canonical())}",
            reports.RULE,
            "Type 'YES' if you understand this and want to continue: ",
        ]
    )
    if not session.questions.confirm_danger(question, "DELETE_I_KNOW_WHAT_I_AM_DOING"):
        raise Cancelled("Nothing was deleted: the answer was not YES.")
