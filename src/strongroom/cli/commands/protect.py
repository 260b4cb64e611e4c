"""`strongroom protect`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.formats import format_size
from strongroom.cli.printable import printable
from strongroom.reporting import Notice

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Add parity to the packs of a repository, so that rotten parts can be healed. No key is needed."

EPILOG = """
Every pack that has none yet is read, compared with its name, and given a parity object of the size
that --parity says, in percent of the pack. Up to that share of a pack may rot, in one run or
scattered over it in blocks of 4 KiB, and its bytes can still be told: whatever extracts or mounts
reads such packs as if nothing had happened, with a warning, and "strongroom repair" puts them right.

Packs that come later have none, unless the repository was made with "init --parity": run this again
then, and after "strongroom compact" in any case. Run it on the server where you can, or all packs
travel to this machine.

Parity lies beside the packs, on the same disk: it is against sectors that rot, not against losing the
disk or the server. Against that there is "strongroom replicate".

examples:
    strongroom protect /mnt/backup
    strongroom protect --parity 10% --progress /mnt/backup
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to protect")
    parser.add_argument(
        "--parity", metavar="PERCENT", type=types.parity, default=None,
        help="size of the parity, 1%% to 100%% of the data (default: what init was told, or 5%%)",
    )  # fmt: skip


def run(session: "Session") -> None:
    from strongroom.commands.protect import protect
    from strongroom.repository.keyfiles import Need
    from strongroom.repository.parity import DEFAULT_PERCENT

    args, output = session.args, session.output
    with session.open(Need.STRUCTURE) as repository, session.signals.graceful():
        percent = args.parity or repository.founding.parity_percent or DEFAULT_PERCENT
        with repository.writing("protect"):
            result = protect(repository, percent, output)
    for name, why in result.lost:
        output.warn(Notice(f"{printable(name)}: {printable(why)}", "IntegrityError", 90))
    output.info(
        f"{result.packs} packs were given parity ({format_size(result.bytes, iec=args.iec)}), "
        f"{result.before} had it."
    )
