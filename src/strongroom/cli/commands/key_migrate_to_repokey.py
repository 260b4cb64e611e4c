"""`strongroom key migrate-to-repokey`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import REPOSITORY, Parser

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Tell that the key needs no migration: no key depends on a passphrase alone."

EPILOG = """
For scripts written for Borg, whose oldest repositories had such keys. Nothing is changed.

example:
    strongroom key migrate-to-repokey /mnt/backup
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to look at")


def run(session: "Session") -> None:
    from strongroom.commands.opening import Need

    with session.open(Need.STRUCTURE):
        session.output.write("The repository's key is no passphrase-only key: nothing was migrated.\n")
