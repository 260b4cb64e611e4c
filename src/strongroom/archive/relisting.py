"""The refs of an archive made anew from its trees: the same blocks as its writer made."""

from collections.abc import Callable, Iterator

from strongroom.archive.entries import Entry, without_holes
from strongroom.archive.reading import ArchiveTree
from strongroom.ids import RefsId
from strongroom.repository.refs import Put, RefsWriter


class _Visit:
    """A folder whose subfolders are still being listed."""

    __slots__ = ("content", "entry", "folders")

    def __init__(self, tree: ArchiveTree, entry: Entry) -> None:
        self.entry = entry
        self.content: list[bytes] = []  # chunk ids of its own files, concatenated for each
        folders = []
        for child in tree.folder(entry):
            if child.is_dir:
                folders.append(child)
            elif child.is_regular and child.content:
                self.content.append(child.content if child.sizes is None else without_holes(child.content))
        self.folders: Iterator[Entry] = iter(folders)


def list_refs(tree: ArchiveTree, put: Put, is_freed: Callable[[RefsId], bool]) -> RefsId:
    """Hands every block to `put`; returns the root. `is_freed` is about the time of the archive's record.

    Raises `Damaged` where a folder cannot be read: what is below it is unknown then.
    """
    writer = RefsWriter(put, is_freed)
    stack = [_Visit(tree, tree.root)]
    while stack:
        visit = stack[-1]
        folder = next(visit.folders, None)
        if folder is not None:
            stack.append(_Visit(tree, folder))
            continue
        stack.pop()
        for joined in visit.content:
            writer.add_all(joined)
        writer.add_all(visit.entry.content)
    return writer.finish()
