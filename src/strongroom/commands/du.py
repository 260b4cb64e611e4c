"""How much the folders of an archive take."""

import os
from collections.abc import Sequence

from strongroom.archive.reading import ArchiveTree
from strongroom.archive.usage import FolderUsage, folder_usage
from strongroom.commands.sizes import own_chunks, stored_share
from strongroom.errors import CommandError
from strongroom.ids import ChunkId
from strongroom.repository.repository import Repository


def disk_usage(
    repository: Repository, name: str, paths: Sequence[str], depth: int | None
) -> list[FolderUsage]:
    """Of the folders at `paths` (none: of the whole archive) and those `depth` levels below; None: all.

    Raises `ArchiveMissing`, `CommandError`, `RoleInsufficient`, `Damaged`, and the store's errors.
    """
    state = repository.archive_by_name(name)
    meta = repository.archive_meta(state.id)
    repository.load_index()
    own = own_chunks(repository, [state])
    everything = folder_usage(
        ArchiveTree(repository.chunk_reader(), meta),
        lambda chunk: stored_share(repository, ChunkId(chunk)),
        lambda chunk: chunk not in own,
    )
    known = {folder.path: folder for folder in everything}
    tops = []
    for path in paths or ["."]:
        top = known.get(_stored(path))
        if top is None:
            raise CommandError(f"{path} is no folder of archive {name}.")
        tops.append(top)
    return [
        folder
        for top in tops
        for folder in everything
        if _is_in(folder, top) and (depth is None or folder.depth - top.depth <= depth)
    ]


def _stored(path: str) -> bytes:
    return os.path.normpath(os.fsencode(path)).lstrip(b"/") or b"."


def _is_in(folder: FolderUsage, top: FolderUsage) -> bool:
    return top.depth == 0 or folder is top or folder.path.startswith(top.path + b"/")
