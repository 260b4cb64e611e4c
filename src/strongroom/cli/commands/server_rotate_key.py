"""`strongroom server rotate-key`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import Parser
from strongroom.cli.commands.server import define_folder

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Exchange a client's ssh key: the new one comes in, the old one is out."

EPILOG = """
The client's rights, quota and backups stay as they are.

example:
    strongroom server rotate-key laptop --key laptop-new.pub
"""


def define(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the client")
    parser.add_argument(
        "--key", metavar="FILE", required=True, type=types.path,
        help="the new public ssh key, a file ending in .pub; - reads standard input",
    )  # fmt: skip
    define_folder(parser)


def run(session: "Session") -> None:
    from strongroom.cli.commands.server import folder_of, read_key
    from strongroom.server.provision import rotate_key

    args = session.args
    access = rotate_key(folder_of(session), args.name, read_key(args.key))
    session.print_lines([access.line])
