"""Thin out old archives by retention rules: choose, explain, and record what is to be deleted.

One signed `delete` record for all of them: nothing is freed, and `undelete` takes it back.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from strongroom.commands.delete import NothingToAskFor, not_asked_for, outcome
from strongroom.commands.listing import ArchiveFilter, list_archives
from strongroom.commands.results import ArchiveInfo
from strongroom.commands.retention import Reason, Rules, decide
from strongroom.errors import CommandError, Damaged
from strongroom.reporting import Notice, Reporter
from strongroom.repository.log import ArchivesBody, LogState
from strongroom.repository.repository import Repository

_CLOCK_ERROR = timedelta(days=1)


def begun(info: ArchiveInfo) -> datetime:
    """When the archive was begun, as its writer says; without an open key, when its record was signed."""
    return info.start or datetime.min.replace(tzinfo=UTC)


def arrived(info: ArchiveInfo) -> datetime:
    """When the archive was complete, by the clock of the store: no client can date it otherwise."""
    return info.arrived or datetime.min.replace(tzinfo=UTC)


class PruneOptions(msgspec.Struct, frozen=True):
    rules: Rules
    archives: ArchiveFilter
    past_damage: bool = False  # leave archives alone whose metadata is damaged, instead of giving up
    time_of: Callable[[ArchiveInfo], datetime] = begun  # what the rules go by

    def check(self) -> None:
        """Raises `CommandError` where nothing is to be kept."""
        if not self.rules:
            raise CommandError(
                "Nothing says what to keep: give one or more of --keep-within, --keep-last, "
                "--keep-secondly, --keep-minutely, --keep-hourly, --keep-daily, --keep-weekly, "
                "--keep-monthly, --keep-13weekly, --keep-3monthly or --keep-yearly."
            )


class Judged(msgspec.Struct, frozen=True):
    """An archive, and what keeps it: None if nothing does."""

    archive: ArchiveInfo
    reason: Reason | None


class PrunePlan(msgspec.Struct, frozen=True):
    judged: list[Judged]  # newest first
    archives: int  # of the whole repository

    @property
    def pruned(self) -> list[ArchiveInfo]:
        return [one.archive for one in self.judged if one.reason is None]


class _NothingToPrune(Exception):
    """Ends a commit that has become needless."""


def plan_prune(
    repository: Repository, options: PruneOptions, reporter: Reporter, now: datetime | None = None
) -> PrunePlan:
    """What the rules keep and what they do not, by the times that `options` choose.

    Raises `CommandError`
    without any rule, and when names are asked for and cannot be known; `Damaged`.
    """
    options.check()
    now = now or datetime.now(UTC)
    found = _readable(list_archives(repository, options.archives), options, reporter)
    # Borg's order: of archives of one moment, the last by name is the newest
    found.sort(key=lambda info: (options.time_of(info), info.name or "", info.seq), reverse=True)
    reasons = decide([options.time_of(info) for info in found], options.rules, now)
    judged = [Judged(info, reason) for info, reason in zip(found, reasons, strict=True)]
    plan = PrunePlan(judged, len(repository.state.living()))
    _tell(plan, options, now, reporter)
    return plan


def prune_archives(repository: Repository, options: PruneOptions, reporter: Reporter) -> PrunePlan:
    """Mark as deleted what no rule keeps, in one record; none if there is nothing.

    Raises what `plan_prune` raises, and the store's errors.
    """
    now = datetime.now(UTC)
    plans = [plan_prune(repository, options, reporter, now)]
    if not plans[0].pruned:
        return plans[0]
    planned = repository.state.head

    def body(state: LogState) -> ArchivesBody:
        # Another client may have deleted meanwhile what this plan keeps in place of the rest.
        if state.head != planned:
            plans.append(plan_prune(repository, options, reporter, now))
        if not plans[-1].pruned:
            raise _NothingToPrune
        return ArchivesBody(not_asked_for(repository, state, [info.id for info in plans[-1].pruned]))

    try:
        with repository.deleting(reporter):
            repository.commit("delete", body)
    except _NothingToPrune:
        reporter.info("Another client pruned meanwhile: nothing is left to do.")
        return plans[-1]
    except NothingToAskFor:
        reporter.info("All of it was asked for before.")
        return plans[-1]
    reporter.outcome(outcome(repository), unexpected=repository.only_asks)
    return plans[-1]


def _readable(found: list[ArchiveInfo], options: PruneOptions, reporter: Reporter) -> list[ArchiveInfo]:
    """Only those: a damaged one must not be kept in place of a sound one, and may be repaired."""
    damaged = [info for info in found if info.problem is not None]
    for info in damaged:
        if not options.past_damage:
            raise Damaged(f"{info.problem} To prune the others, and leave this archive alone: --force.")
        reporter.warn(Notice(f"Archive {info.id.hex()} is left alone: {info.problem}", "IntegrityError", 90))
    return [info for info in found if info.problem is None]


def _tell(plan: PrunePlan, options: PruneOptions, now: datetime, reporter: Reporter) -> None:
    reporter.info(f"Repository contains {plan.archives} normal archives and 0 checkpoint archives.")
    reporter.info(f"Applying rules to the matching {len(plan.judged)} archives and 0 checkpoints...")
    kept = len(plan.judged) - len(plan.pruned)
    reporter.info(
        f"Keeping {kept} archives and 0 checkpoints, pruning {len(plan.pruned)} archives and 0 checkpoints."
    )
    # Whoever can write archives could push the real ones out of the rules with such.
    for one in plan.judged:
        if options.time_of(one.archive) > now + _CLOCK_ERROR and one.reason is not None and plan.pruned:
            name = one.archive.name or one.archive.id.hex()
            reporter.warn(
                Notice(
                    f"Archive {name}, written by the key {one.archive.written_by!r}, is dated in the future, "
                    "and was kept in place of an older one. Look at it; `strongroom undelete` brings back "
                    "what was pruned for it.",
                    "prune",
                )
            )
