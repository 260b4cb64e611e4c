"""List archives, and what is in them."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from strongroom.archive.entries import Entry
from strongroom.archive.patterns import PatternMatcher, matches_name
from strongroom.archive.reading import ArchiveTree
from strongroom.commands.infos import archive_info, archive_infos
from strongroom.commands.results import ArchiveInfo
from strongroom.errors import CommandError, Damaged
from strongroom.reporting import PATTERN_NEVER_MATCHED, Notice, Reporter
from strongroom.repository.log import ArchiveState
from strongroom.repository.repository import Repository


class ArchiveFilter(msgspec.Struct, frozen=True):
    """Which archives; the conditions are combined. Borg's options of these names, Borg 2's for times."""

    prefix: str | None = None
    glob: str | None = None
    first: int | None = None
    last: int | None = None
    sort_by: list[str] = msgspec.field(default_factory=lambda: ["timestamp"])
    oldest: timedelta | None = None  # within this time after the oldest one
    newest: timedelta | None = None  # within this time before the newest one
    older: timedelta | None = None  # than this
    newer: timedelta | None = None

    @property
    def by_name(self) -> bool:
        return self.prefix is not None or self.glob is not None or "name" in self.sort_by


def list_archives(repository: Repository, wanted: ArchiveFilter) -> list[ArchiveInfo]:
    """Oldest first, unless sorted otherwise. With a backup key archives have no names.

    Raises `CommandError` when names are asked for and cannot be known.
    """
    _refuse_sealed_names(repository, wanted)
    return _choose(archive_infos(repository, repository.state.living()), wanted)


def list_deleted(
    repository: Repository, wanted: ArchiveFilter, *, and_requested: bool = False
) -> list[ArchiveInfo]:
    """The same of those that were deleted, and may be undeleted; `and_requested`: or whose deletion a
    backup key asks for."""
    _refuse_sealed_names(repository, wanted)
    states = repository.state.dead()
    if and_requested:
        asked = repository.state.requested()
        states = asked if repository.only_asks else states + asked
    return _choose(archive_infos(repository, states), wanted)


def _refuse_sealed_names(repository: Repository, wanted: ArchiveFilter) -> None:
    if wanted.by_name and not repository.can_open:
        raise CommandError("Archive names are sealed, and a backup key cannot open them: leave out the name.")


def _choose(infos: list[ArchiveInfo], wanted: ArchiveFilter) -> list[ArchiveInfo]:
    infos = [info for info in infos if _name_fits(info, wanted)]
    for key in reversed(wanted.sort_by):
        infos.sort(key=lambda info, key=key: _sort_key(info, key))  # type: ignore[misc]
    infos = _within_times(infos, wanted)
    if wanted.first is not None:
        return infos[: wanted.first]
    if wanted.last is not None:
        return infos[-wanted.last :] if wanted.last else []
    return infos


def find_archive(repository: Repository, name: str) -> ArchiveInfo:
    """Raises `ArchiveMissing`, `Damaged`."""
    info = info_of(repository, repository.archive_by_name(name))
    info.name = name  # a backup key cannot read it, yet knows by its tag that it is the one
    return info


def info_of(repository: Repository, state: ArchiveState) -> ArchiveInfo:
    return archive_info(repository, state, repository.archive_meta(state.id) if repository.can_open else None)


def open_tree(repository: Repository, archive: ArchiveInfo) -> ArchiveTree:
    """The archive's files. Raises `RoleInsufficient` with a backup key, `Damaged`."""
    repository.load_index()
    return ArchiveTree(repository.chunk_reader(), repository.archive_meta(archive.id))


def list_entries(
    repository: Repository, archive: ArchiveInfo, matcher: PatternMatcher
) -> Iterator[tuple[bytes, Entry]]:
    """Path and entry of all that matches, folders before what they hold; implied folders are not given."""

    def lost(path: bytes, error: Damaged) -> None:
        repository.tell_damage(f"{os.fsdecode(path) or '.'}: what is in this folder cannot be read: {error}")

    for path, entry in open_tree(repository, archive).walk(lost):
        if not entry.implied and (matcher.is_trivial or matcher.match(path)):
            yield path, entry


def in_time(infos: list[ArchiveInfo], reporter: Reporter) -> list[ArchiveInfo]:
    """Those that can be read, oldest first; of the others a warning."""
    for info in infos:
        if info.problem is not None:
            reporter.warn(Notice(info.problem, msgid="IntegrityError", code=90))
    return sorted((info for info in infos if info.problem is None), key=lambda info: (info.start, info.seq))


def tell_unmatched(matcher: PatternMatcher, reporter: Reporter) -> None:
    """Warn of each PATH that matched nothing."""
    for pattern in matcher.unmatched_includes():
        reporter.warn(unmatched(pattern))


def unmatched(pattern: str) -> Notice:
    return Notice(f"Include pattern '{pattern}' never matched.", *PATTERN_NEVER_MATCHED)


def _name_fits(info: ArchiveInfo, wanted: ArchiveFilter) -> bool:
    name = info.name
    if name is None:
        return True
    if wanted.prefix is not None and not name.startswith(wanted.prefix):
        return False
    return wanted.glob is None or matches_name(wanted.glob, name)


def _sort_key(info: ArchiveInfo, key: str) -> tuple[object, ...]:
    if key == "name":
        return (info.name or "",)
    if key == "id":
        return (info.id,)
    return (info.start or datetime.min.replace(tzinfo=UTC), info.seq)


def _within_times(infos: list[ArchiveInfo], wanted: ArchiveFilter) -> list[ArchiveInfo]:
    times = [info.start for info in infos if info.start is not None]
    if not times:
        return infos
    now, oldest, newest = datetime.now(UTC), min(times), max(times)
    kept = []
    for info in infos:
        at = info.start
        if at is None or (
            (wanted.oldest is None or at - oldest <= wanted.oldest)
            and (wanted.newest is None or newest - at <= wanted.newest)
            and (wanted.older is None or now - at >= wanted.older)
            and (wanted.newer is None or now - at <= wanted.newer)
        ):
            kept.append(info)
    return kept
