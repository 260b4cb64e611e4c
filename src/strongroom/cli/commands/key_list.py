"""`strongroom key list`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.formats import archive_moment
from strongroom.cli.printable import printable, without_surrogates

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.results import KeyInfo

DESCRIPTION = "List the keys of a repository: what they are called, what they may do, and since when."

EPILOG = """
No passphrase is needed: keys are named in the signed log.

examples:
    strongroom key list /mnt/backup
    strongroom key list --json
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository whose keys are listed")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(session: "Session") -> None:
    from strongroom.commands.keys import list_keys
    from strongroom.repository.keyfiles import Need

    with session.open(Need.STRUCTURE) as repository:
        found = list_keys(repository)
        identity = repository.id.hex()
    if session.args.json:
        location = without_surrogates(session.location.canonical())
        record = {
            "repository": {"id": identity, "location": location},
            "keys": [_record(key) for key in found],
        }
        session.print_json(record)
        return
    session.print_lines([f"{'NAME':<20} {'ROLE':<8} {'ADDED':<25} {'KEY ID':<32} STATE", *map(_line, found)])


def _line(key: "KeyInfo") -> str:
    state = f"revoked {archive_moment(key.revoked)}" if key.revoked else "valid"
    where = ", in the repository" if key.in_repository else ""
    columns = f"{printable(key.name):<20} {key.role:<8} {archive_moment(key.added)!s:<25} {key.id.hex():<32}"
    return f"{columns} {state}{where}"


def _record(key: "KeyInfo") -> dict[str, object]:
    return {
        "id": key.id.hex(),
        "name": without_surrogates(key.name),
        "role": key.role,
        "added": archive_moment(key.added).iso(),
        "revoked": archive_moment(key.revoked).iso() if key.revoked else None,
        "in_repository": key.in_repository,
    }
