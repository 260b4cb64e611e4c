"""`strongroom undelete`."""

from typing import TYPE_CHECKING

from strongroom.cli.archive_format import archive_line
from strongroom.cli.argument_groups import add_archive_filters, archive_filter, has_archive_filter
from strongroom.cli.arguments import EITHER, Parser
from strongroom.cli.printable import printable
from strongroom.errors import CommandError
from strongroom.reporting import Notice

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.results import ArchiveInfo
    from strongroom.repository.repository import Repository

DESCRIPTION = "Bring archives back that were deleted or pruned, and whose space was not freed yet."

EPILOG = """
"strongroom list --deleted" shows what can come back, who deleted it and when. A deletion that a
backup key has asked for, which "strongroom list" shows, is refused in this way as well. Where several
deleted archives have one name, or where no name can be read, choose by id: aid:1f2e3d4c.

An archive whose name was taken by a newer one meanwhile stays deleted; give the newer one another
name first, with "strongroom rename". With archive filters such archives are told by a warning, and
the others come back.

examples:
    strongroom undelete /mnt/backup::monday
    strongroom undelete /mnt/backup monday aid:1f2e3d4c
    strongroom undelete --dry-run --list --glob-archives '*' /mnt/backup
"""


def define(parser: Parser) -> None:
    parser.location(EITHER, "repository, or the archive to bring back")
    parser.paths("ARCHIVE", "more archives to bring back", dest="archives")
    parser.add_argument("-n", "--dry-run", action="store_true", help="change nothing")
    parser.add_argument("--list", dest="output_list", action="store_true", help="list the archives")
    add_archive_filters(parser)


def run(session: "Session") -> None:
    from strongroom.commands.undelete import undelete_archives
    from strongroom.repository.keyfiles import Need

    args, output = session.args, session.output
    named = bool(args.archives) or bool(session.location.archive)
    if has_archive_filter(args) == named:
        raise CommandError(
            "Say which archives are to come back: by name, or by archive filters, not both; "
            "`strongroom list --deleted` shows those that there are."
        )
    with session.open(Need.DELETE) as repository:
        found = _named(session, repository) if named else _filtered(session, repository)
        verb = "Would undelete archive" if args.dry_run else "Undeleting archive"
        for number, info in enumerate(found, 1):
            if args.output_list:
                line = f"{verb}: {printable(archive_line(info))} ({number}/{len(found)})"
                output.emit("info", line, name="strongroom.output.list")
        if not args.dry_run:
            undelete_archives(repository, found, output)


def _named(session: "Session", repository: "Repository") -> "list[ArchiveInfo]":
    from strongroom.commands.undelete import find_deleted, obstacles

    names = [session.placeholders.replace(name) for name in session.args.archives]
    if session.location.archive:
        names.insert(0, session.location.archive)
    found = {info.id: info for info in (find_deleted(repository, name) for name in names)}
    for error in obstacles(repository, list(found.values())):
        if error is not None:
            raise error
    return list(found.values())


def _filtered(session: "Session", repository: "Repository") -> "list[ArchiveInfo]":
    from strongroom.commands.listing import list_deleted
    from strongroom.commands.undelete import obstacles

    wanted = archive_filter(session.args, session.placeholders)
    found = list_deleted(repository, wanted, and_requested=True)
    restorable = []
    for info, error in zip(found, obstacles(repository, found), strict=True):
        if error is not None:
            session.output.warn(Notice(str(error), error.msgid, error.code))
        elif info.problem is not None:  # nobody knows whether it is one of those that were meant
            words = f"Archive {info.id.hex()} is left alone: {info.problem}"
            session.output.warn(Notice(words, "IntegrityError", 90))
        else:
            restorable.append(info)
    return restorable
