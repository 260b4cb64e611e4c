"""`strongroom server remove-client`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import Parser
from strongroom.cli.commands.server import define_folder

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Lock a client out. Its backups stay."

EPILOG = """
The key's entry leaves authorized_keys; a session that runs goes on to its end. What the
client backed up stays in its folder until you remove that by hand.

example:
    strongroom server remove-client laptop
"""


def define(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the client")
    define_folder(parser)


def run(session: "Session") -> None:
    from strongroom.cli.commands.server import folder_of
    from strongroom.server.provision import remove_client

    place = remove_client(folder_of(session), session.args.name)
    session.print_lines([f"{session.args.name} can no longer connect. Its backups are kept in {place}."])
