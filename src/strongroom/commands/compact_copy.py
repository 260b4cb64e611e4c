"""Remove from a copy what the log that it holds says was freed. The copy stays one: nothing is recorded."""

from contextlib import suppress

import msgspec

from strongroom.errors import ObjectMissing
from strongroom.ids import PackId
from strongroom.reporting import REPOSITORY_DAMAGED, Notice, Progress, Reporter
from strongroom.repository import packs
from strongroom.repository.copying import listing
from strongroom.repository.freeing import freed_names
from strongroom.repository.log import FreeingBody, split_ids
from strongroom.repository.repository import Repository
from strongroom.repository.survey import AREAS, freed_by, object_name

_FOLDERS = [f"{area}/" for area in (*AREAS, "parity")]


class CopyCompacted(msgspec.Struct):
    objects: int = 0
    bytes: int = 0


def compact_copy(repository: Repository, reporter: Reporter, *, dry_run: bool = False) -> CopyCompacted:
    """Raises `StoreRefused` where nothing may be removed, and the store's errors."""
    store = repository.store
    there = listing(store, _FOLDERS)
    result = CopyCompacted()
    progress = Progress()
    for body in freed_by(repository.state):
        missing = [name for name in _successors(repository, body) if name not in there]
        if missing:
            what = (
                f"What {missing[0]} takes the place of is kept, since that is missing here. Run `replicate`."
            )
            reporter.warn(Notice(what, *REPOSITORY_DAMAGED))
            continue
        for name in freed_names(body):
            if name not in there:
                continue
            if not dry_run:
                with suppress(ObjectMissing):
                    store.delete(name)
            result.objects += 1
            result.bytes += there.pop(name)
            progress.original = result.bytes
            reporter.progress("compact", progress)
            if reporter.stop.requested:
                reporter.info("Stopped as asked. The next run goes on from here.")
                return result
    reporter.progress("compact", progress, finished=True)
    return result


def _successors(repository: Repository, body: FreeingBody) -> list[str]:
    """What a record put in the place of what it freed, and no later one freed."""
    state = repository.state
    data = [packs.name(one) for one in map(PackId, split_ids(body.new_packs)) if one in state.packs]
    index = [object_name("index", one) for one in split_ids(body.new_indexes) if one in state.indexes]
    return data + index
