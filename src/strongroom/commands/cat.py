"""The content of single files of an archive, in the order in which they are named."""

import os
from collections.abc import Sequence
from typing import BinaryIO

from strongroom.archive.entries import Entry
from strongroom.archive.lookahead import Lookahead
from strongroom.archive.pieces import pieces
from strongroom.archive.reading import ArchiveTree
from strongroom.errors import CommandError
from strongroom.repository.repository import Repository
from strongroom.repository.shared_reading import SharedChunks


def cat_files(repository: Repository, name: str, paths: Sequence[bytes], out: BinaryIO) -> int:
    """Returns how many bytes. Nothing is written unless all of them are there.

    Raises `ArchiveMissing`, `CommandError` for what is no file, `RoleInsufficient`, `Damaged`, and the
    store's errors.
    """
    meta = repository.archive_meta(repository.archive_by_name(name).id)
    repository.load_index()
    with SharedChunks(repository) as chunks:
        tree = ArchiveTree(chunks, meta)
        files = Lookahead(iter([(path, _file(tree, path, name)) for path in paths]), chunks)
        return sum(out.write(piece) for _, entry in files for piece in pieces(entry, files.read))


def _file(tree: ArchiveTree, path: bytes, archive: str) -> Entry:
    shown = os.fsdecode(path)
    entry = tree.find(os.path.normpath(path).lstrip(b"/"))
    if entry is None:
        raise CommandError(f"{shown} is not in archive {archive}. See: strongroom list ::{archive}")
    if entry.target is not None:
        raise CommandError(f"{shown} is a link to {os.fsdecode(entry.target)}: name that.")
    if not entry.is_regular:
        raise CommandError(f"{shown} is no regular file: it has no content.")
    return entry
