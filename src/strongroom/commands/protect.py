"""Give packs parity, so that what rots in them can be had again. No key is needed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice

import msgspec

from strongroom.errors import Cancelled, Damaged, ObjectExists, ObjectMissing, StoreFailed
from strongroom.ids import PackId
from strongroom.reporting import Progress, Reporter
from strongroom.repository import packs, parity
from strongroom.repository.copying import Lost, fetch, listing
from strongroom.repository.repository import Repository, cpu_threads


class ProtectResult(msgspec.Struct):
    packs: int = 0  # that were given parity
    bytes: int = 0  # of it
    before: int = 0  # packs that had it
    lost: list[Lost] = []


def protect(repository: Repository, percent: int, reporter: Reporter) -> ProtectResult:
    """For every pack that the log names and that has no parity yet, `percent` of its size.

    Packs that are damaged already are left out and told. Raises `Cancelled`, `CommandError` without
    zfec, and the store's errors.
    """
    there = listing(repository.store, ["parity/"])
    named = sorted(repository.state.packs)
    wanted = [pack for pack in named if parity.name(pack) not in there]
    sizes = listing(repository.store, ["packs/"]) if wanted else {}
    progress = Progress(total=sum(sizes.get(packs.name(pack), 0) for pack in wanted))
    result = ProtectResult(before=len(named) - len(wanted))
    with ThreadPoolExecutor(cpu_threads(), thread_name_prefix="parity") as pool:
        for batch in _batches(wanted):
            running = [pool.submit(_protect, repository, pack, percent) for pack in batch]
            for pack, future in zip(batch, running, strict=True):
                try:
                    result.bytes += future.result()
                    result.packs += 1
                except (Damaged, ObjectMissing, StoreFailed) as error:
                    result.lost.append(Lost(packs.name(pack), str(error)))
                progress.original += sizes.get(packs.name(pack), 0)
                reporter.progress("protect", progress)
                if reporter.stop.requested:
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise Cancelled("Stopped as asked; the next run goes on from there.")
    reporter.progress("protect", progress, finished=True)
    return result


def _batches(wanted: list[PackId]) -> Iterator[list[PackId]]:
    rest = iter(wanted)
    while batch := list(islice(rest, 64)):
        yield batch


def _protect(repository: Repository, pack: PackId, percent: int) -> int:
    parts = parity.encode(pack, fetch(repository.store, packs.name(pack)), percent)
    with suppress(ObjectExists):  # another run was faster
        repository.store.put(parity.name(pack), parts)
    return sum(map(len, parts))
