"""`strongroom replicate`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.formats import format_size
from strongroom.cli.printable import printable
from strongroom.errors import CommandError
from strongroom.reporting import Notice, counted

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Copy a repository to a second place, or bring such a copy up to date. No key is needed."

EPILOG = """
Both places may be folders or behind ssh, so that a machine with no key can pull from one server and
push to another. Only what TARGET lacks is copied; every object is compared with the hash that is its
name before it is stored, and a record of the log is appended when all that it names is there. So
TARGET is a whole repository at any moment, and a run that was stopped is simply run again. A TARGET
that does not exist yet is made.

Nothing is ever removed in TARGET. A source whose log was shortened or replaced is refused, and so
is a TARGET that somebody else wrote to; damaged objects are not copied, and the exit code is 1.

Never write to the copy: it follows the original. If the original is lost, restore from the copy, or
replicate it back to a new place.

examples:
    strongroom replicate --progress /mnt/backup /mnt/second/backup
    strongroom replicate ssh://first.example.org/./laptop ssh://second.example.org/./laptop
    strongroom -r ssh://first.example.org/./laptop replicate /mnt/second/laptop
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to copy")
    parser.add_argument("path", metavar="TARGET", nargs="?", default="", help="where the copy is, or will be")


def run(session: "Session") -> None:
    from strongroom.commands.opening import Need, open_or_create_store
    from strongroom.commands.replicate import replicate
    from strongroom.repository.leases import shared_lease

    args, output = session.args, session.output
    if not args.path:  # the repository is named by -r or by the environment
        args.path, args.location = args.location, ""
    if not args.path:
        raise CommandError("No target is named: strongroom replicate REPOSITORY TARGET.")
    place = session.second_location(args.path)
    if place == session.location.canonical():
        raise CommandError(f"{place} is both the source and the target.")
    with session.open(Need.STRUCTURE) as repository, session.signals.graceful():
        store = open_or_create_store(place)
        try:
            repository.security.remember_replica(store.describe())
            with shared_lease(store, "replicate", repository.lock_wait):
                result = replicate(repository, store, output)
        finally:
            store.close()
    for name, why in result.lost:
        output.warn(Notice(f"{printable(name)}: {printable(why)}", "IntegrityError", 90))
    if result.behind:
        output.warn(
            Notice(
                f"{result.behind} records of the log were not carried over, since what they name is damaged "
                f"or missing in {session.location.canonical()}. See what it lost with `check`; what "
                "another copy still has comes back with `repair --from`.",
                "IntegrityError",
                90,
            )
        )
    output.info(
        f"{counted(result.objects, 'object')} ({format_size(result.bytes, iec=args.iec)}) and "
        f"{counted(result.records, 'record')} were copied."
    )
