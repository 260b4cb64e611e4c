"""`strongroom break-lock`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.printable import printable

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Remove the locks of a repository, whoever holds them."

EPILOG = """
A run that was killed may leave its lock behind. On the same machine the next run sees that and
removes it; a lock of another machine that crashed is for you to judge. No data hangs on locks: at
worst somebody who asked to be alone, with "strongroom with-lock", no longer is.

example:
    strongroom break-lock /mnt/backup
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository whose locks to remove")


def run(session: "Session") -> None:
    from strongroom.commands.opening import open_store
    from strongroom.repository.leases import break_leases

    session.apply_transport()
    store = open_store(session.location.canonical())
    try:
        for one in break_leases(store):
            line = f"Removed the lock of: {printable(one.describe())}"
            session.output.emit("info", line, name="strongroom.output.list")
    finally:
        store.close()
