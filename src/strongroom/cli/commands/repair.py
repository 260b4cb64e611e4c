"""`strongroom repair`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.printable import printable
from strongroom.reporting import Notice

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.log_healing import LogHealing
    from strongroom.store.protocol import Store

DESCRIPTION = "Heal what is damaged or missing in a repository, from a copy or from parity. No key is needed."

EPILOG = """
Every object that the log names is read and compared with the hash in its name. What is damaged or
missing is put right: a pack by its parity ("strongroom protect"), if there is enough of it, all else
from the copy that --from names, which "strongroom replicate" made. Nothing that does not have the
right hash is taken, so the copy need not be trusted, and nothing sound is ever replaced: the store
looks itself. An append-only server lets its clients do this too.

Records of the log come from the copy too, or from what this machine remembers of the log: without --from,
repair on a machine that has used the repository brings back what it has read before. What is left of a
damaged record, or the record behind it, must tell that it is the right one. Of a newest record of which
nothing is left nobody can tell: on an append-only server only the server's owner can bring it back.

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
    copy = None if place is None else open_store(place)
    try:
        records = heal_log_first(session, copy)  # nothing can be opened without
        with (
            session.signals.graceful(),
            session.open(Need.STRUCTURE) as repository,
            repository.writing("repair"),
        ):
            result = heal(repository, copy, output)
    finally:
        if copy is not None:
            copy.close()
    for name in [*records.healed, *result.healed]:
        output.info(f"{printable(name)} was healed.")
    for sentence in records.refused:
        output.warn(Notice(printable(sentence), "IntegrityError", 90))
    for name, why in result.lost:
        output.warn(Notice(f"{printable(name)}: {printable(why)}", "IntegrityError", 90))
    healed = len(records.healed) + len(result.healed)
    lost = len(records.lost) + len(records.refused) + len(result.lost)
    output.info(f"{result.looked_at} objects were looked at, {healed} healed, {lost} are lost.")


def heal_log_first(session: "Session", copy: "Store | None") -> "LogHealing":
    from strongroom.commands.log_healing import examine_log, heal_log
    from strongroom.commands.opening import open_store, open_structure

    here = session.location.canonical()
    store = open_store(here)
    try:
        repository = open_structure(store, here, session.directories)
    except BaseException:
        store.close()
        raise
    with repository:
        return heal_log(store, examine_log(repository, copy))
