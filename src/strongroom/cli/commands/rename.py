"""`strongroom rename`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import ARCHIVE, Parser
from strongroom.store.location import check_archive_name

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Give an archive another name."

EPILOG = """
The new name may hold placeholders, see "strongroom help placeholders".

example:
    strongroom rename /mnt/backup::monday monday-before-the-upgrade
"""


def define(parser: Parser) -> None:
    parser.location(ARCHIVE, "archive to rename")
    parser.add_argument("name", metavar="NEWNAME", help="its new name")


def run(session: "Session") -> None:
    from strongroom.commands.rename import rename_archive
    from strongroom.repository.keyfiles import Need

    old = session.archive
    new = check_archive_name(session.placeholders.replace(session.args.name))
    with session.open(Need.ADMIN) as repository:
        rename_archive(repository, old, new)
    session.output.info(f"Archive {old} is now called {new}.")
