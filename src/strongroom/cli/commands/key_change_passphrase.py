"""`strongroom key change-passphrase`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import REPOSITORY, Parser

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Change the passphrase of your key."

EPILOG = """
The new passphrase is asked for, or taken from STRONGROOM_NEW_PASSPHRASE. Only the passphrase
changes, not the secrets that it protects: whoever has an old copy of the key and the old
passphrase can still use it. Copies made by "key export" keep the old passphrase.

example:
    strongroom key change-passphrase /mnt/backup
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository whose key it is")


def run(session: "Session") -> None:
    from strongroom.commands.keys import change_passphrase
    from strongroom.repository.keyfiles import Need

    with session.open(Need.ANY) as repository:
        where = change_passphrase(repository, session.passphrases)
    session.output.info("Key updated")
    session.output.info(f"Key location: {where}")
