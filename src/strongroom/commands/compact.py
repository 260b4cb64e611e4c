"""Free the space of archives that were deleted: accept requests, choose, explain, free.

The one command of a client that removes what archives consist of. An administrator's key is needed.
"""

from collections.abc import Iterable, Iterator

import msgspec

from strongroom.archive.patterns import matches_name
from strongroom.commands.infos import archive_infos
from strongroom.commands.results import ArchiveInfo
from strongroom.errors import ArchiveMissing, Damaged, ObjectMissing, StoreFull, StoreRefused
from strongroom.reporting import REPOSITORY_DAMAGED, Notice, Progress, Reporter
from strongroom.repository.freeing import PlanOutdated, Step, execute
from strongroom.repository.log import ArchivesBody, LogState
from strongroom.repository.planning import Plan, Terms, plan
from strongroom.repository.repository import Repository

DAY = 24 * 3600 * 10**9  # ns
_TRIES = 10  # plans, while other runs free something too


class CompactOptions(msgspec.Struct, frozen=True):
    quarantine: int | None = None  # ns; None: the repository's own
    threshold: float = 0.1  # share of a pack that must be dead for its rest to be moved
    accept: list[str] = []  # archives by name or pattern, or keys by name


class CompactResult(msgspec.Struct):
    """Bytes as stored."""

    planned: Plan | None = None
    accepted: list[ArchiveInfo] = []
    archives: list[ArchiveInfo] = []
    freed: int = 0
    moved: int = 0
    objects: int = 0  # removed


def requests(repository: Repository, words: list[str] | None = None) -> list[ArchiveInfo]:
    """Archives whose deletion a backup key asks for; with `words`, those that these accept.

    A key need not ask for anything, and what was accepted before need not wait: so that a run that was
    interrupted, or that comes each night, goes on. Raises `ArchiveMissing` for a word that means nothing.
    """
    infos = archive_infos(repository, repository.state.requested())
    if words is None:
        return infos
    found: dict[bytes, ArchiveInfo] = {}
    for word in words:
        meant = [info for info in infos if _is_meant(info, word)]
        if not meant and not _was_meant(repository, word):
            raise ArchiveMissing(
                f"No archive {word} waits for an answer, and no key is called so: `strongroom list` shows "
                "what is asked for."
            )
        found.update((info.id, info) for info in meant)
    return list(found.values())


def _is_meant(info: ArchiveInfo, word: str) -> bool:
    if info.requested_by == word or (len(word) > 8 and f"aid:{info.id.hex()}".startswith(word)):
        return True
    return info.name is not None and matches_name(word, info.name)


def _was_meant(repository: Repository, word: str) -> bool:
    state = repository.state
    if any(key.name == word for key in state.keys.values()):
        return True
    accepted = [
        one for one in state.archives.values() if one.deleted is not None and one.requested is not None
    ]
    return any(_is_meant(info, word) for info in archive_infos(repository, accepted))


def accept(repository: Repository, found: list[ArchiveInfo]) -> None:
    """Delete, by a record of this key's own, what was asked for. Its quarantine begins now."""
    if not found:
        return

    def body(state: LogState) -> ArchivesBody:
        left = [info.id for info in found if info.id in state.archives and state.archives[info.id].requested]
        left = [one for one in left if state.archives[one].deleted is None]
        if not left:
            raise ArchiveMissing("What was to be accepted was taken back meanwhile. Nothing was done.")
        return ArchivesBody([bytes(one) for one in left])

    repository.commit("delete", body)


def plan_compact(
    repository: Repository,
    options: CompactOptions,
    now: int | None = None,
    accepted: Iterable[ArchiveInfo] = (),
) -> Plan:
    """What would be freed by `now`, None: by the store's clock, if these were `accepted`.

    Raises `Damaged`, and the store's errors.
    """
    also = {info.id for info in accepted}
    quarantine = options.quarantine
    if quarantine is None:
        quarantine = repository.founding.quarantine_days * DAY
    terms = Terms(quarantine, options.threshold, repository.store.now() if now is None else now)
    while True:
        planned_at = repository.state.head
        try:
            return plan(repository.store, repository.state, terms, also)
        except (Damaged, ObjectMissing):
            # Another run may have freed what our log still holds to be there.
            repository.history.sync()
            if repository.state.head == planned_at:
                raise


def compact(
    repository: Repository, options: CompactOptions, reporter: Reporter, now: int | None = None
) -> CompactResult:
    """Accept, plan, and free. Raises `StoreRefused` where this client may remove nothing, `Damaged`, and
    the store's errors; what was freed until then stays freed."""
    if repository.founding.append_only:
        raise StoreRefused(
            f"The repository {repository.store.describe()} was made append-only: nothing in it is freed."
        )
    result = CompactResult()
    with repository.store.spending():
        _compact(repository, options, reporter, now, result)
    repository.tell_of_reserve(reporter)
    return result


def _compact(
    repository: Repository,
    options: CompactOptions,
    reporter: Reporter,
    now: int | None,
    result: CompactResult,
) -> None:
    result.accepted = requests(repository, options.accept)
    accept(repository, result.accepted)
    for attempt in range(_TRIES):
        planned = plan_compact(repository, options, now)
        result.planned = result.planned or planned
        due = archive_infos(repository, planned.archives)
        try:
            for step in _steps(repository, planned, reporter):
                result.freed += step.freed
                result.moved += step.moved
                result.objects += step.objects
        except PlanOutdated:
            if attempt == _TRIES - 1:
                raise StoreRefused(
                    "Other runs of `compact` are at work on this repository. Try again later."
                ) from None
            continue
        finally:
            freed = repository.state.freed_archives
            result.archives += [info for info in due if info.id in freed and info not in result.archives]
            for text in planned.warnings:
                reporter.warn(Notice(text, *REPOSITORY_DAMAGED))
        _tell_of_cramped(repository, planned, reporter)
        break
    repository.forget_freed()


def _tell_of_cramped(repository: Repository, planned: Plan, reporter: Reporter) -> None:
    if planned.cramped:
        least = min(use.live for use in planned.cramped)
        reporter.warn(
            Notice(
                f"Packs of {repository.store.describe()} that are used in part are left as they are "
                f"({len(planned.cramped)}): there is no room to copy what is used, {least} bytes at the "
                "least. Free some space or raise the quota, then run `compact` again.",
                StoreFull.msgid,
                StoreFull.code,
            )
        )


def _steps(repository: Repository, planned: Plan, reporter: Reporter) -> Iterator[Step]:
    progress = Progress(total=planned.freed_bytes + planned.regained_bytes)
    with repository.writing("compact"):
        founded = repository.founding
        for step in execute(
            repository.store, repository, planned, founded.pack_target, founded.parity_percent
        ):
            progress.original += step.freed
            reporter.progress("compact", progress)
            yield step
            if reporter.stop.requested:
                reporter.info("Stopped as asked. The next run goes on from here.")
                break
    reporter.progress("compact", progress, finished=True)
