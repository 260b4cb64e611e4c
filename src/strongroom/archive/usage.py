"""How much each folder of a tree takes: every chunk counted once for each folder that holds it.

A chunk that is met again is taken off the innermost folder that both places are in, so that sums over
subtrees count it once. What a folder has for itself are the chunks that no other folder, and nothing
outside of the tree, uses.
"""

from collections.abc import Callable

import msgspec

from strongroom.archive.entries import HOLE, Entry
from strongroom.archive.reading import ArchiveTree


class FolderUsage(msgspec.Struct, eq=False):
    """Sums over all that is in a folder, at any depth, in bytes."""

    path: bytes
    depth: int  # components of the path
    above: "FolderUsage | None"
    files: int = 0
    size: int = 0  # of the files' content; a file with several names counts in each of its folders
    stored: int = 0  # of its chunks as they lie in the repository
    unique: int = 0  # of those that nothing else uses
    open: bool = True


class _Chunk(msgspec.Struct):
    last: FolderUsage  # where it was met last
    common: FolderUsage  # the innermost folder that holds all places
    stored: int


def folder_usage(
    tree: ArchiveTree, stored_size: Callable[[bytes], int], is_shared: Callable[[bytes], bool]
) -> list[FolderUsage]:
    """Of every folder, in the order of the walk; the first is the whole tree, with the path `b"."`.

    `stored_size` tells what a chunk takes; `is_shared` whether something outside of the tree uses it.
    Raises as `ArchiveTree.folder` does.
    """
    return _Walk(tree, stored_size, is_shared).run()


class _Walk:
    def __init__(
        self, tree: ArchiveTree, stored_size: Callable[[bytes], int], is_shared: Callable[[bytes], bool]
    ) -> None:
        self._tree = tree
        self._stored_size = stored_size
        self._is_shared = is_shared
        self._chunks: dict[bytes, _Chunk] = {}
        self._links: dict[bytes, FolderUsage] = {}

    def run(self) -> list[FolderUsage]:
        top = FolderUsage(b".", 0, None)
        found = [top]
        stack = [(top, self._tree.folder(self._tree.root))]
        while stack:
            folder, entries = stack[-1]
            entry = next(entries, None)
            if entry is None:
                folder.open = False
                stack.pop()
            elif entry.is_dir:
                path = entry.name if folder is top else folder.path + b"/" + entry.name
                inner = FolderUsage(path, folder.depth + 1, folder)
                found.append(inner)
                stack.append((inner, self._tree.folder(entry)))
            else:
                self._count(folder, entry)
        for chunk, known in self._chunks.items():
            if not self._is_shared(chunk):
                known.common.unique += known.stored
        for folder in reversed(found):  # inner ones first
            if folder.above is not None:
                folder.above.files += folder.files
                folder.above.size += folder.size
                folder.above.stored += folder.stored
                folder.above.unique += folder.unique
        return found

    def _count(self, folder: FolderUsage, entry: Entry) -> None:
        folder.files += 1
        folder.size += entry.size
        if entry.link is not None:
            before = self._links.get(entry.link)
            if before is not None:
                _common(before).size -= entry.size
            self._links[entry.link] = folder
        for chunk, _ in entry.chunks():
            if chunk == HOLE:
                continue
            known = self._chunks.get(chunk)
            if known is None:
                stored = self._stored_size(chunk)
                self._chunks[chunk] = _Chunk(folder, folder, stored)
            else:
                stored = known.stored
                _common(known.last).stored -= stored
                known.last, known.common = folder, _common(known.common)
            folder.stored += stored


def _common(met: FolderUsage) -> FolderUsage:
    """The innermost folder around both an earlier place and the one where the walk is now."""
    while not met.open and met.above is not None:
        met = met.above
    return met
