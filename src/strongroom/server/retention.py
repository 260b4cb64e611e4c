"""Retention by the server's owner, without any key of the clients: so these never need to delete.

The rules go by the stamps that this server gave the records. A client that fell cannot date its archives
so as to push others out of the rules; it can only make some, on the days on which it does.
"""

from collections.abc import Sequence

from strongroom.commands.listing import ArchiveFilter
from strongroom.commands.opening import Directories
from strongroom.commands.prune import PruneOptions, PrunePlan, arrived, plan_prune, prune_archives
from strongroom.commands.retention import Rules
from strongroom.errors import StrongroomError
from strongroom.reporting import Reporter
from strongroom.repository.repository import Repository
from strongroom.server import ownkey
from strongroom.server.kept import Kept, each, kept


def prune(
    folder: str,
    names: Sequence[str],
    rules: Rules,
    directories: Directories,
    reporter: Reporter,
    *,
    dry_run: bool = False,
) -> list[tuple[Kept, PrunePlan | StrongroomError]]:
    """Delete what no rule keeps, in each repository of the clients, all clients' if none is named.

    One signed record for each. Raises `CommandError`.
    """
    options = PruneOptions(rules, ArchiveFilter(), time_of=arrived)
    options.check()
    key = None if dry_run else ownkey.require(folder)

    def one(place: Kept, repository: Repository) -> PrunePlan:
        reporter.info(f"Pruning {place.name}.")
        if dry_run:
            return plan_prune(repository, options, reporter)
        return prune_archives(repository, options, reporter)

    return each(kept(folder, names), directories, one, key=key)
