"""`strongroom key export-related-secrets`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Refuse to hand out secrets for a second repository: repositories never share any."

EPILOG = """
For scripts written for Borg, which prepares transfers so. "strongroom transfer" brings archives over
between any two repositories, and "strongroom replicate" keeps a copy of one, without that.

example:
    strongroom key export-related-secrets /mnt/backup secrets.json
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository")
    parser.add_argument("path", metavar="PATH", nargs="?", type=types.path, default="-", help="not written")


def run(session: "Session") -> None:
    raise CommandError(
        "Repositories never share secrets, so none are exported. To bring archives over to another "
        'repository use "strongroom transfer", to keep a copy of one "strongroom replicate".'
    )
