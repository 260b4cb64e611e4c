"""`strongroom key revoke`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import REPOSITORY, Parser

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Take a key's rights away: whatever it signs from now on is refused. Needs an admin key."

EPILOG = """
If the machine that held the key fell to an attacker, say since when with --since. From then on what
it wrote is not trusted: no backup deduplicates against it, list, info and audit mark the archives
that it wrote or that rest on it, and check --verify-data tells whether it planted false chunks. When
it wrote them is told by the clock of the server.

The key's holder keeps what it could read: after the theft of an admin or restore key, found a new
repository.

examples:
    strongroom key revoke /mnt/backup web1
    strongroom key revoke --since 2026-11-20T00:00:00 -r /mnt/backup web1
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository that the key is for")
    parser.add_argument("name", metavar="NAME", help="name or id of the key, as key list shows it")
    parser.add_argument(
        "--since", metavar="TIMESTAMP", type=types.timestamp, default=None,
        help="do not trust what it wrote since then (UTC, 2026-11-23T15:00:00)",
    )  # fmt: skip


def run(session: "Session") -> None:
    from strongroom.commands.keys import revoke_key
    from strongroom.repository.keyfiles import Need

    with session.open(Need.ADMIN) as repository:
        revoke_key(repository, session.args.name, session.args.since)
    session.output.info(f"Key {session.args.name} is revoked.")
