"""What is known of an archive, gathered from the log and its metadata."""

from datetime import UTC, datetime

from strongroom.commands.results import ArchiveInfo, Stats
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.log import ArchiveState
from strongroom.repository.repository import Repository


def moment(ns: int) -> datetime:
    """An aware datetime from nanoseconds since the epoch, clamped to what datetime can hold."""
    return datetime.fromtimestamp(min(max(ns / 1e9, 0), 253402300799), UTC)


def archive_info(repository: Repository, state: ArchiveState, meta: ArchiveMeta | None) -> ArchiveInfo:
    """`meta` None: opened with a key that cannot open."""
    known = repository.state.keys.get(state.key_id)
    info = ArchiveInfo(
        id=state.id,
        seq=state.seq,
        name=None,
        start=moment(state.time),
        end=moment(state.time),
        stats=Stats(deduplicated=state.body.new_bytes),
        written_by=known.name if known else "",
    )
    if meta is not None:
        info.name = meta.name
        info.comment = meta.comment
        info.hostname = meta.hostname
        info.username = meta.username
        info.command_line = meta.command_line
        info.start = moment(meta.start)
        info.end = moment(meta.end)
        info.stats = Stats(meta.files, meta.original, 0, meta.deduplicated)
        info.chunker = meta.chunker
        info.cwd = meta.cwd
    return info


def archive_infos(repository: Repository, states: list[ArchiveState]) -> list[ArchiveInfo]:
    """Of several archives, in their order."""
    metas: list[ArchiveMeta] | list[None]
    metas = repository.archive_metas(states) if repository.can_open else [None] * len(states)
    return [archive_info(repository, state, meta) for state, meta in zip(states, metas, strict=True)]
