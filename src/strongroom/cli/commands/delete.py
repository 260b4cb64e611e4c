"""`strongroom delete`."""

from contextlib import closing
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli import reports
from strongroom.cli.archive_format import archive_line
from strongroom.cli.argument_groups import add_archive_filters, archive_filter, has_archive_filter
from strongroom.cli.arguments import EITHER, Parser
from strongroom.cli.printable import printable
from strongroom.errors import ArchiveMissing, Cancelled, CommandError, Damaged
from strongroom.reporting import Notice, counted

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.results import ArchiveInfo
    from strongroom.repository.repository import Repository
    from strongroom.store.protocol import Store

DESCRIPTION = "Delete archives, or, when none is named, a whole repository."

EPILOG = """
Deleting an archive does not free space, and can be taken back: it is a record in the repository's
log, and "strongroom undelete" brings it back. Space is freed later, by "strongroom compact", and
only after the quarantine of the repository. Deleting a repository is final: you are asked to
confirm it by typing YES.

When in doubt, look first: --dry-run --list.

examples:
    strongroom delete /mnt/backup::monday
    strongroom delete /mnt/backup monday tuesday
    strongroom delete --dry-run --list --glob-archives 'laptop-2019-*' /mnt/backup
    strongroom delete --older 2y /mnt/backup
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
        "--force",
        dest="forced",
        action="count",
        default=0,
        help="delete a repository without asking, an archive although its metadata is damaged",
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
    from strongroom.commands.info import deleted_sizes, totals
    from strongroom.repository.keyfiles import Need

    args, output = session.args, session.output
    with session.open(Need.DELETE) as repository:
        numbered, total = _chosen(session, repository)
        found = [info for _, info in numbered]
        verb = "Would delete archive" if args.dry_run else "Deleting archive"
        if args.output_list:
            for number, info in numbered:
                line = f"{verb}: {printable(archive_line(info))} ({number}/{total})"
                output.emit("info", line, name="strongroom.output.list")
        wants_stats = args.stats or args.quick_stats
        gone = deleted_sizes(repository, found) if wants_stats else None  # while they are still counted
        if not args.dry_run:
            delete_archives(repository, found, output)
        if gone is not None:
            left = totals(repository) if args.stats else None
            lines = reports.deleted_lines(gone, left, iec=args.iec)
            output.block(lines)


def _chosen(session: "Session", repository: "Repository") -> "tuple[list[tuple[int, ArchiveInfo]], int]":
    """Each with its number among those that were asked for, and how many these are."""
    from strongroom.commands.listing import list_archives

    args, output = session.args, session.output
    if has_archive_filter(args):
        found = list_archives(repository, archive_filter(args, session.placeholders))
        for info in found:
            if info.problem is not None:  # nobody knows whether it is one of those that were meant
                words = f"Archive {info.id.hex()} is left alone: {info.problem}"
                output.warn(Notice(words, "IntegrityError", 90))
        sound = [info for info in found if info.problem is None]
        return list(enumerate(sound, 1)), len(sound)
    from strongroom.store.location import check_archive_name

    names = [check_archive_name(session.placeholders.replace(name)) for name in args.archives]
    if session.location.archive:
        names.insert(0, session.location.archive)
    names = list(dict.fromkeys(names))
    numbered = []
    for number, name in enumerate(names, 1):
        try:
            numbered.append((number, _named(repository, name, forced=bool(args.forced))))
        except ArchiveMissing:
            output.warn(Notice(f"Archive {name} not found ({number}/{len(names)}).", "Archive.DoesNotExist"))
    return numbered, len(names)


def _named(repository: "Repository", name: str, *, forced: bool) -> "ArchiveInfo":
    from strongroom.commands.infos import archive_infos

    (info,) = archive_infos(repository, [repository.archive_by_name(name)])
    if info.problem is not None and not forced:
        raise Damaged(f"{info.problem} To delete the archive all the same: --force.")
    info.name = name  # a backup key cannot read it, yet knows by its tag that it is the one
    return info


def _delete_repository(session: "Session") -> None:
    from strongroom.commands.delete import delete_repository, deleted_remains, forget_repository
    from strongroom.repository.keyfiles import Need

    args, output = session.args, session.output
    session.apply_transport()
    if not args.cache_only and (remains := deleted_remains(session.location.canonical())) is not None:
        with closing(remains):
            _finish_deletion(session, remains)
        return
    # names can only be listed with a key; to delete, none is needed
    with session.open(Need.READ if args.output_list else Need.STRUCTURE) as repository:
        if not args.cache_only:
            if not args.forced and not args.dry_run:
                _confirm(session, repository)
            if args.dry_run:
                output.emit("info", "\n".join(_described(session, repository)))
                output.info("Would delete repository.")
            else:
                delete_repository(repository)
                output.info("Repository deleted.")
        if args.dry_run:
            output.info("Would delete cache.")
            return
        forget_repository(repository, keep_security=args.keep_security_info or args.cache_only)
        output.info("Cache deleted.")


def _finish_deletion(session: "Session", remains: "Store") -> None:
    from strongroom.commands.delete import finish_deletion

    output = session.output
    if session.args.dry_run:
        output.info("Would remove what an interrupted deletion left.")
        return
    where = printable(session.location.canonical())
    question = "\n".join(
        [
            f"At {where} is what an interrupted deletion left of a repository: no data.",
            "Type 'YES' to remove that, too: ",
        ]
    )
    if not session.args.forced:
        _insist(session, question)
    finish_deletion(remains)
    output.info("What an interrupted deletion had left was removed.")


def _described(session: "Session", repository: "Repository") -> list[str]:
    """What would go, in Borg's words; counted with the deleted ones that could still be brought back."""
    from strongroom.commands.listing import ArchiveFilter, list_archives

    count = counted(len(repository.state.archives), "archive")
    lines = [
        f"You requested to completely DELETE the following repository *including* {count} it contains:",
        reports.RULE,
        f"Repository ID: {repository.id.hex()}",
        f"Location: {printable(session.location.canonical())}",
    ]
    if session.args.output_list:
        found = list_archives(repository, ArchiveFilter())
        lines += ["", "Archives:", *(printable(archive_line(info)) for info in found)]
    return [*lines, reports.RULE]


def _confirm(session: "Session", repository: "Repository") -> None:
    ask = "Type 'YES' if you understand this and want to continue: "
    _insist(session, "\n".join([*_described(session, repository), ask]))


def _insist(session: "Session", question: str) -> None:
    if not session.questions.confirm_danger(question, "DELETE_I_KNOW_WHAT_I_AM_DOING"):
        raise Cancelled("Nothing was deleted: the answer was not YES.")
