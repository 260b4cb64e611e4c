"""`strongroom server usage`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import Parser
from strongroom.cli.commands.server import define_folder

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Show how much each client stores, and how much of its quota that is."

EPILOG = """
Counted anew from the disk, as the quota counts: every object takes whole blocks of 4 KiB.

example:
    strongroom server usage
    strongroom server usage laptop --json
"""


def define(parser: Parser) -> None:
    parser.paths("NAME", "clients to show (default: all)", dest="names")
    parser.add_argument("--json", action="store_true", help="print JSON")
    define_folder(parser)


def run(session: "Session") -> None:
    from strongroom.cli.commands.server import bytes_text, folder_of
    from strongroom.server.provision import usage

    found = usage(folder_of(session), session.args.names)
    if session.args.json:
        session.print_json(
            {
                "clients": [
                    {"name": one.name, "used": one.used, "quota": one.quota, "repositories": one.repositories}
                    for one in found
                ]
            }
        )
        return
    for one in found:
        share = "" if one.quota is None else f" ({100 * one.used / one.quota:.1f}%)"
        used, quota = bytes_text(session, one.used), bytes_text(session, one.quota)
        noun = "repository" if one.repositories == 1 else "repositories"
        session.print_lines([f"{one.name:<24} {used:>10} of {quota}{share}, {one.repositories} {noun}"])
