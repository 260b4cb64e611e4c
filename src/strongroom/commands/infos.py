"""What is known of an archive, gathered from the log and its metadata."""

from datetime import UTC, datetime

from strongroom.commands.results import ArchiveInfo, Stats
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.log import ArchiveState
from strongroom.repository.repository import Repository


def moment(ns: int) -> datetime:
    """An aware datetime from nanoseconds since the epoch, the last that there is for what is later."""
    return datetime.fromtimestamp(min(ns / 1e9, 253402300799), UTC)


def archive_info(repository: Repository, state: ArchiveState, meta: ArchiveMeta | None) -> ArchiveInfo:
    """`meta` None: opened with a key that cannot open."""
    known = repository.state.keys.get(state.key_id)
    info = ArchiveInfo(
        id=state.id,
        seq=state.seq,
        name=None,
        start=moment(state.time),
        end=moment(state.time),
        arrived=None if state.stamp is None else moment(state.stamp),
        stats=Stats(deduplicated=state.body.new_bytes),
        written_by=known.name if known else "",
        added=state.body.new_bytes,
    )
    if state.deleted is not None:
        asked = repository.state.keys.get(state.deleted.key_id)
        info.deleted = moment(state.deleted.time)
        info.deleted_by = asked.name if asked else ""
    if state.deleted is None and state.requested is not None:
        asked = repository.state.keys.get(state.requested.key_id)
        info.requested = moment(state.requested.time)
        info.requested_by = asked.name if asked else ""
    if meta is not None:
        info.name = meta.name
        info.comment = meta.comment
        info.hostname = meta.hostname
        info.username = meta.username
        info.command_line = meta.command_line
        info.start = moment(meta.start)
        info.end = moment(meta.end)
        info.added = meta.deduplicated
        info.stats = Stats(meta.files, meta.original, 0, meta.deduplicated)
        info.chunker = meta.chunker
        info.cwd = meta.cwd
    return info


def called(info: ArchiveInfo) -> str:
    """The archive in a sentence: by its name, or, where that cannot be read, by its id."""
    return info.name if info.name is not None else f"aid:{info.id.hex()[:16]}"


def archive_infos(repository: Repository, states: list[ArchiveState]) -> list[ArchiveInfo]:
    """Of several archives, in their order; one that is damaged says so, and hides no other."""
    if not repository.can_open:
        return [archive_info(repository, state, None) for state in states]
    infos = []
    for state, meta in zip(states, repository.archive_metas(states), strict=True):
        if isinstance(meta, ArchiveMeta):
            infos.append(archive_info(repository, state, meta))
        else:
            info = archive_info(repository, state, None)
            info.problem = str(meta)
            infos.append(info)
    return infos
