"""`strongroom server compact`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import Parser
from strongroom.cli.commands.compact import define_freeing, free, freeing_options
from strongroom.cli.commands.server import (
    bytes_text,
    chosen_clients,
    define_clients,
    define_folder,
    folder_of,
    only_successes,
)
from strongroom.cli.printable import printable
from strongroom.reporting import counted

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.compact import CompactResult
    from strongroom.repository.repository import Repository
    from strongroom.server.kept import Kept

DESCRIPTION = "Free the space of clients' archives that were deleted, without any key of theirs."

EPILOG = """
It does what "strongroom compact" does, by this server's own key, which the repository must name: see
"strongroom server prune". Archives are freed once they have been deleted for longer than the
quarantine of their repository; what is still used is moved between packs unopened. Clients may
back up, and restore, meanwhile; their quotas stay exact.

What a backup key asks to delete is not freed. --accept takes the name of the key that asks, or
aid: and the id of an archive (its name is sealed here), and deletes in the server's name.

A repository that was founded with --append-only is left alone.

examples:
    strongroom server compact laptop --dry-run --list
    strongroom server compact --all --stats
    strongroom server compact laptop --accept laptop --quarantine 7d
"""


def define(parser: Parser) -> None:
    define_clients(parser)
    define_freeing(parser)
    define_folder(parser)


def run(session: "Session") -> None:
    from strongroom.server import ownkey
    from strongroom.server.kept import each, kept

    folder = folder_of(session)
    options = freeing_options(session)
    places = kept(folder, chosen_clients(session))
    key = None if session.args.dry_run else ownkey.require(folder)

    def one(place: "Kept", repository: "Repository") -> None:
        if session.args.dry_run:
            session.print_lines([f"{printable(place.name)}:"])
        result = free(session, repository, options)
        if result is not None:
            session.print_lines([_line(session, place, result)])

    only_successes(session, each(places, session.directories, one, key=key))


def _line(session: "Session", place: "Kept", result: "CompactResult") -> str:
    freed = bytes_text(session, result.freed)
    return f"{printable(place.name):<24} freed {freed} of {counted(len(result.archives), 'archive')}"
