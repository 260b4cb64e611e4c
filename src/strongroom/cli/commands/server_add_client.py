"""`strongroom server add-client`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import Parser
from strongroom.cli.commands.server import define_folder, define_rights

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Let a client in: a folder for it, and an entry for its key in authorized_keys."

EPILOG = """
The client can add backups and read its own, and can neither delete nor replace anything,
unless --allow-delete says so. It gets no shell, no forwarding, no other client's folder.
The same command again changes nothing.

example:
    strongroom server add-client laptop --key laptop.pub --quota 500G
"""


def define(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the client's name: its folder is called so")
    parser.add_argument(
        "--key", metavar="FILE", required=True, type=types.path,
        help="the client's public ssh key, a file ending in .pub; - reads standard input",
    )  # fmt: skip
    parser.add_argument(
        "--quota", metavar="QUOTA", type=types.storage_quota, default=None,
        help="the most bytes that all its repositories may take, e.g. 500G (default: no limit)",
    )  # fmt: skip
    define_rights(parser)
    define_folder(parser)


def run(session: "Session") -> None:
    from strongroom.cli.commands.server import folder_of, may, read_key, rights, url
    from strongroom.server.policy import Restriction
    from strongroom.server.provision import add_client

    args = session.args
    chosen = rights(session)
    access = add_client(
        folder_of(session),
        args.name,
        read_key(args.key),
        quota=args.quota or None,
        restrictions=frozenset({Restriction.APPEND_ONLY}) if chosen is None else chosen,
    )
    session.output.info(f"{access.name}: {may(access)}, key {access.fingerprint}")
    session.print_lines([access.line])
    session.output.info(f"On the client: strongroom init --encryption=keyfile {url(access)}")
