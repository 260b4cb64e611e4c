"""`strongroom server set`."""

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import Parser
from strongroom.cli.commands.server import define_folder, define_rights

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Change a client's quota or rights."

EPILOG = """
It counts from the client's next connection on.

example:
    strongroom server set laptop --quota 1T
    strongroom server set laptop --write-only
"""


def define(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the client")
    parser.add_argument(
        "--quota", metavar="QUOTA", type=_quota, default=None,
        help='the most bytes that all its repositories may take, e.g. 500G, or "none"',
    )  # fmt: skip
    define_rights(parser)
    define_folder(parser)


def run(session: "Session") -> None:
    from strongroom.cli.commands.server import folder_of, rights
    from strongroom.errors import CommandError
    from strongroom.server.provision import Change, set_client

    change = Change(session.args.quota, rights(session))
    if change == Change():
        raise CommandError("Nothing to change: say --quota, or which rights the client is to have.")
    session.print_lines([set_client(folder_of(session), session.args.name, change).line])


def _quota(text: str) -> int:
    quota = 0 if text == "none" else types.storage_quota(text)
    if text != "none" and not quota:
        raise ArgumentTypeError('a quota of 0 would stop the client; "none" takes the quota away')
    return quota
