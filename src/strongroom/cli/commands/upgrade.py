"""`strongroom upgrade`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import REPOSITORY, Parser

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Tell whether a repository's format needs an upgrade. It does not: there is one format."

EPILOG = """
For scripts written for Borg. The repository is opened, and nothing in it is changed. What Borg's
--tam and --archives-tam switch on always holds here: every archive is part of the signed log.

example:
    strongroom upgrade /mnt/backup
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to look at")
    parser.add_argument("-n", "--dry-run", action="store_true", help="change nothing, as without it")
    for flag in ("inplace", "force", "tam", "check-tam", "disable-tam", "check-archives-tam", "archives-tam"):
        parser.add_argument(f"--{flag}", action="store_true", help="accepted for compatibility")


def run(session: "Session") -> None:
    from strongroom.commands.opening import Need

    with session.open(Need.STRUCTURE):
        session.output.write("The repository has the newest format: nothing was upgraded.\n")
