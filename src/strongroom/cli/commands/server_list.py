"""`strongroom server list`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import Parser
from strongroom.cli.commands.server import define_folder

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "List the clients of this server, their rights, quotas and keys."

EPILOG = """
example:
    strongroom server list
    strongroom server list --json
"""


def define(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    define_folder(parser)


def run(session: "Session") -> None:
    from strongroom.cli.commands.server import bytes_text, folder_of, may
    from strongroom.server.provision import list_clients

    clients = list_clients(folder_of(session))
    if session.args.json:
        session.print_json(
            {
                "clients": [
                    {
                        "name": access.name,
                        "path": access.folder,
                        "restrictions": list(access.client.restrictions),
                        "quota": access.client.quota,
                        "added": access.client.added,
                        "fingerprint": access.fingerprint,
                        "key": access.client.key,
                    }
                    for access in clients
                ]
            }
        )
        return
    for access in clients:
        quota = bytes_text(session, access.client.quota)
        session.print_lines([f"{access.name:<24} {may(access):<12} quota {quota:<10} {access.fingerprint}"])
