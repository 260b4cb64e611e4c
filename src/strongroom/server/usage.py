"""What clients take on the disk, and what of it could come back: no key is needed to see that."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec

from strongroom.commands.compact import DAY, CompactOptions, plan_compact
from strongroom.commands.infos import moment
from strongroom.commands.opening import Directories
from strongroom.errors import StrongroomError
from strongroom.repository.planning import Plan
from strongroom.repository.repository import Repository
from strongroom.server import provision
from strongroom.server.kept import Kept, each, kept
from strongroom.server.provision import Usage
from strongroom.store.reserve import Reserved


class Regainable(msgspec.Struct, frozen=True):
    """Of one repository; bytes as stored."""

    free_now: int  # by `compact`
    waiting: int  # archives that were deleted, and are in quarantine
    waiting_bytes: int  # that their end would free, too
    until: datetime | None  # when the first of their quarantines ends
    requests: dict[str, int]  # deletions asked for by backup keys, by the key's name
    reserve: Reserved


class ClientUsage(msgspec.Struct, frozen=True):
    usage: Usage
    repositories: list[tuple[Kept, Regainable | StrongroomError]]


def usage(
    folder: str, names: Sequence[str], directories: Directories, *, quick: bool = False
) -> list[ClientUsage]:
    """Of all clients, or of those named; `quick`: the disk is counted and no repository opened.

    Raises `CommandError`.
    """
    counted = provision.usage(folder, names)
    found = [] if quick else each(kept(folder, names), directories, lambda _, opened: regainable(opened))
    return [
        ClientUsage(one, [(place, result) for place, result in found if place.client == one.name])
        for one in counted
    ]


def regainable(repository: Repository) -> Regainable:
    """Raises `Damaged` where nobody can tell what archives use, and the store's errors."""
    planned = plan_compact(repository, CompactOptions())
    now = _freed(planned)
    later = _freed(plan_compact(repository, CompactOptions(quarantine=0))) if planned.waiting else now
    requested = (one.requested for one in repository.state.requested())
    names = Counter(repository.state.keys[one.key_id].name for one in requested if one is not None)
    return Regainable(
        now, len(planned.waiting), max(0, later - now), _first_end(repository, planned), dict(names),
        repository.store.reserve(),
    )  # fmt: skip


def _freed(planned: Plan) -> int:
    return planned.freed_bytes + planned.regained_bytes


def _first_end(repository: Repository, planned: Plan) -> datetime | None:
    quarantine = repository.founding.quarantine_days * DAY
    state, now = repository.state, planned.terms.now
    since = [state.dead_since(one.deleted, now) for one in planned.waiting if one.deleted is not None]
    return moment(min(since) + quarantine) if since else None
