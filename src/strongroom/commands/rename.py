"""Give an archive another name: a new archive object that takes the old one's place."""

import msgspec

from strongroom.crypto import hashing
from strongroom.errors import ArchiveExists, ArchiveMissing
from strongroom.ids import ArchiveId, NameTag
from strongroom.repository import archives
from strongroom.repository.log import ArchiveBody, LogState
from strongroom.repository.repository import Repository


def rename_archive(repository: Repository, old: str, new: str) -> None:
    """Raises `ArchiveMissing`, `ArchiveExists`, `RoleInsufficient`, and the store's errors."""
    secrets = repository.require_key()
    found = repository.archive_by_name(old)
    tag = hashing.name_tag(secrets.id_key, new)
    blob = repository.archive_blob(found.id)
    refs, _, _ = archives.decode(blob, found.id)
    meta = archives.open_meta(blob, found.id, repository.session_reader())
    meta = msgspec.structs.replace(meta, name=new)
    archive, renamed = archives.encode(meta, refs, repository.session_writer())
    _refuse(repository.state, found.id, tag, old, new)
    repository.put_if_new(archives.name(archive), renamed)

    def body(state: LogState) -> ArchiveBody:
        _refuse(state, found.id, tag, old, new)
        return ArchiveBody(archive, tag, b"", b"", 0, 0, found.body.chunks, replaces=found.id)

    repository.commit("rename", body)


def _refuse(state: LogState, archive: ArchiveId, tag: NameTag, old: str, new: str) -> None:
    if archive not in state.archives or state.archives[archive].deleted is not None:
        raise ArchiveMissing(f"Archive {old} does not exist any more.")
    if state.by_tag(tag) is not None:
        raise ArchiveExists(f"Archive {new} already exists. Choose another name.")
