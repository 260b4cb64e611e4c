"""What there is to know about a repository and its archives."""

import os

from strongroom.commands import infos
from strongroom.commands.listing import ArchiveFilter, list_archives
from strongroom.commands.results import ArchiveInfo, DeletedSizes, RepositoryInfo, RepositoryTotals
from strongroom.commands.sizes import StoredSizes, unique_size, unique_sizes
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.repository import Repository


def repository_info(repository: Repository) -> RepositoryInfo:
    """Raises the store's errors."""
    founding = repository.founding
    key = repository.key
    encryption = founding.protection if founding.protection != "sealed" else founding.key_location
    return RepositoryInfo(
        id=repository.id,
        location=repository.store.describe(),
        encryption=encryption,
        key_file=os.fspath(key.path) if key is not None and key.path is not None else None,
        role=repository.secrets.role if repository.secrets is not None else "",
        created=infos.moment(founding.created),
        last_modified=infos.moment(repository.state.last_time),
        cache_path=os.fspath(repository.cache.path),
        security_path=os.fspath(repository.security.path),
        totals=totals(repository),
        append_only=founding.append_only,
        reserve=repository.store.reserve(),
        quarantine=founding.quarantine_days,
    )


def totals(repository: Repository) -> RepositoryTotals:
    """Over all living archives."""
    repository.load_index()
    living = repository.state.living()
    compressed = sum(StoredSizes(repository).of_all([one.id for one in living]))
    original = None
    if repository.can_open:  # after that: old archives of Borg's say how much they hold once they were read
        metas = repository.archive_metas(living)
        original = sum(meta.original for meta in metas if isinstance(meta, ArchiveMeta))
    return RepositoryTotals(
        original=original,
        compressed=compressed,
        deduplicated=repository.state.stored,
        unique_chunks=repository.index.count(),
        total_chunks=sum(one.body.chunks for one in living),
    )


def archive_infos(repository: Repository, wanted: ArchiveFilter) -> list[ArchiveInfo]:
    """Of the archives that fit, with all their sizes."""
    return with_sizes(repository, list_archives(repository, wanted))


def deleted_sizes(repository: Repository, found: list[ArchiveInfo]) -> DeletedSizes:
    """Of archives that are about to be deleted together."""
    repository.load_index()
    found = [info for info in found if info.problem is None]
    stored = StoredSizes(repository)
    return DeletedSizes(
        original=sum(info.stats.original for info in found) if repository.can_open else None,
        compressed=sum(stored.of_all([info.id for info in found])),
        deduplicated=unique_size(repository, [repository.state.archives[info.id] for info in found]),
    )


def with_sizes(repository: Repository, found: list[ArchiveInfo]) -> list[ArchiveInfo]:
    """The same with their stored sizes filled in: `deduplicated` becomes what is theirs alone."""
    repository.load_index()
    states = repository.state.archives
    sound = [info for info in found if info.problem is None]
    stored = StoredSizes(repository).of_all([info.id for info in sound])
    unique = unique_sizes(repository, [[info.id] for info in sound])
    for info, compressed, deduplicated in zip(sound, stored, unique, strict=True):
        info.stats.compressed = compressed
        info.stats.deduplicated = deduplicated
    late = [info for info in sound if not info.stats.original]  # as in `totals`
    for info, meta in zip(late, repository.archive_metas([states[info.id] for info in late]), strict=True):
        if isinstance(meta, ArchiveMeta):
            info.stats.original, info.stats.files = meta.original, meta.files
    return found
