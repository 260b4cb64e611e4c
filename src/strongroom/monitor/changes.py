"""What became of an archive's files since its predecessor: counted along the paths that differ."""

from collections.abc import Iterator

import msgspec

from strongroom.archive.differences import different
from strongroom.archive.entries import Entry
from strongroom.archive.reading import ArchiveTree
from strongroom.monitor.compressibility import Content
from strongroom.monitor.suffixes import Renames, suffix_of
from strongroom.repository.index import ChunkIndex
from strongroom.repository.reading import ChunkReader

_UNTELLING = 0.5  # share of the old content that did not compress: as it is, or by its writer's choice


class Changes(msgspec.Struct):
    """Regular files are counted; sizes are bytes of plaintext."""

    added: int = 0
    removed: int = 0
    changed: int = 0  # other content under the same path
    old_content: int = 0  # of what was changed or removed
    new_content: int = 0  # of what was changed or added
    old_incompressible: float = 0.0  # share
    new_incompressible: float = 0.0
    renamed: int = 0  # files that got the most common unknown suffix
    renamed_to: str = ""
    vanished: list[str] = []  # sources


class _Folder(msgspec.Struct):
    path: bytes
    removed: set[bytes] = set()
    added: set[bytes] = set()


def changes_between(old: ArchiveTree, new: ArchiveTree, index: ChunkIndex, chunks: ChunkReader) -> Changes:
    """Time goes by what differs; memory by the largest folder. Raises `Damaged`, and the store's errors."""
    found = Changes()
    before, after, renames = Content(index), Content(index), Renames()
    common: set[bytes] = set()
    folders: list[_Folder] = []
    for pair in different(old, new, lambda _: True):
        folder = _folder_of(pair.path, folders, renames, common)
        was, now = _file(pair.old), _file(pair.new)
        name = pair.path.rpartition(b"/")[2]
        if was is not None:
            common.add(suffix_of(name))
        if was is not None and now is not None:
            if was.content == now.content:
                continue
            found.changed += 1
        elif was is not None:
            found.removed += 1
            folder.removed.add(name)
        elif now is not None:
            found.added += 1
            folder.added.add(name)
        if was is not None:
            before.add(was)
        if now is not None:
            after.add(now)
    _close(folders, b"\0", renames, common)
    found.old_content, found.new_content = before.plain, after.plain
    found.old_incompressible, found.new_incompressible = before.incompressible, after.incompressible
    if found.old_incompressible >= _UNTELLING:
        found.old_incompressible = before.sampled(chunks.read)
        found.new_incompressible = after.sampled(chunks.read)
    if renames.to:
        suffix, found.renamed = renames.to.most_common(1)[0]
        found.renamed_to = suffix.decode("utf-8", "backslashreplace")
    found.vanished = [
        path.decode("utf-8", "backslashreplace") for path in sources(old) if new.find(path) is None
    ]
    return found


def _file(entry: Entry | None) -> Entry | None:
    return entry if entry is not None and entry.is_regular else None


def _folder_of(path: bytes, folders: list[_Folder], renames: Renames, common: set[bytes]) -> _Folder:
    """The folder that holds `path`; those that the walk has left are done with."""
    parent = path.rpartition(b"/")[0]
    _close(folders, parent, renames, common)
    if not folders or folders[-1].path != parent:
        folders.append(_Folder(parent))
    return folders[-1]


def _close(folders: list[_Folder], inside: bytes, renames: Renames, common: set[bytes]) -> None:
    while folders and not (inside == folders[-1].path or _is_below(inside, folders[-1].path)):
        done = folders.pop()
        renames.folder(done.removed, done.added, frozenset(common))


def _is_below(path: bytes, folder: bytes) -> bool:
    return path.startswith(folder + b"/") if folder else path != b"\0"


def sources(tree: ArchiveTree) -> Iterator[bytes]:
    """The paths that were given to `create`: the first on each way down that are not implied."""
    stack: list[tuple[bytes, Entry]] = [(b"", tree.root)]
    while stack:
        path, entry = stack.pop()
        if not entry.implied:
            yield path or b"."
            continue
        stack.extend((path + b"/" + one.name if path else one.name, one) for one in tree.folder(entry))
