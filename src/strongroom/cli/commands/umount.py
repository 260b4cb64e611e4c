"""`strongroom umount`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import Parser

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Take a mount away that was made by strongroom mount."

EPILOG = """
A mount that a program still uses, as its current folder or by an open file, stays.

examples:
    strongroom umount /tmp/archives
"""


def define(parser: Parser) -> None:
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="folder that it is mounted on")


def run(session: "Session") -> None:
    from strongroom.commands.mount import unmount

    unmount(session.args.mountpoint)
