"""`strongroom repair`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.printable import printable
from strongroom.reporting import Notice

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Heal what is damaged or missing in a repository, from a copy or from parity. No key is needed."

EPILOG = """
Every object that the log names is read and compared with the hash in its name. What is damaged or
missing is put right: a pack by its parity ("strongroom protect"), if there is enough of it, all else
from the copy that --from names, which "strongroom replicate" made. Nothing that does not have the
right hash is taken, so the copy need not be trusted, and nothing sound is ever replaced: the store
looks itself. An append-only server lets its clients do this too.

Records of the log are put right only where the repository is a folder of this machine.

What nobody has any more is told, and the exit code is 1; see "strongroom check --repair" for what can be
done then.

examples:
    strongroom repair --from ssh://second.example.org/./laptop /mnt/backup
    strongroom repair --progress /mnt/backup
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to heal")
    parser.add_argument("--from", metavar="REPO", dest="copy", default=None, help="copy to take from")


def run(session: "Session") -> None:
    from strongroom.commands.healing import heal
    from strongroom.commands.opening import Need, open_store

    args, output = session.args, session.output
    session.apply_transport()
    place = None if args.copy is None else session.second_location(args.copy)
    records = [] if place is None else _heal_log(session, place)
    copy = None if place is None else open_store(place)
    try:
        with (
            session.signals.graceful(),
            session.open(Need.STRUCTURE) as repository,
            repository.writing("repair"),
        ):
            result = heal(repository, copy, output)
    finally:
        if copy is not None:
            copy.close()
    for name in [*records, *result.healed]:
        output.info(f"{printable(name)} was healed.")
    for name, why in result.lost:
        output.warn(Notice(f"{printable(name)}: {printable(why)}", "IntegrityError", 90))
    healed = len(records) + len(result.healed)
    output.info(f"{result.looked_at} objects were looked at, {healed} healed, {len(result.lost)} are lost.")


def _heal_log(session: "Session", place: str) -> list[str]:
    """First, since nothing can be opened without."""
    from strongroom.commands.healing import heal_log
    from strongroom.commands.opening import open_copy, open_store

    here = session.location.canonical()
    with open_copy(
        place, here, session.directories, session.passphrases, confirm=session.questions.confirm
    ) as copy:
        store = open_store(here)
        try:
            return heal_log(store, copy)
        finally:
            store.close()
