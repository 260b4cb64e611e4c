"""An archive's files as a tree that is read as it is walked."""

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Protocol

from strongroom.archive import trees
from strongroom.archive.entries import Entry
from strongroom.archive.long_files import Pieces, follows
from strongroom.errors import Damaged
from strongroom.ids import ID_SIZE, ChunkId
from strongroom.repository.archives import ArchiveMeta


class Chunks(Protocol):
    def read(self, chunk: ChunkId) -> memoryview: ...


class ArchiveTree:
    """For as many threads as `chunks` is for."""

    def __init__(self, chunks: Chunks, meta: ArchiveMeta) -> None:
        self.root = trees.decode_root(meta.root)
        self._chunks = chunks

    def folder(self, entry: Entry, skip: AbstractSet[bytes] = frozenset()) -> Iterator[Entry]:
        """What is directly in a folder, in the order of names, read segment by segment.

        Segments whose ids are in `skip` are left out. Raises `Damaged`, `ChunkMissing`,
        `RoleInsufficient`, and the store's errors.
        """
        last, pieces = b"", Pieces()
        for at in range(0, len(entry.content), ID_SIZE):
            chunk = ChunkId(entry.content[at : at + ID_SIZE])
            if chunk in skip:
                continue
            segment = self.segment(chunk)
            if segment and (segment[0].name != last if follows(segment[0]) else segment[0].name <= last):
                raise not_following(chunk)
            yield from filter(None, map(pieces.add, segment))
            if segment:
                last = segment[-1].name
        pieces.end()

    def segment(self, chunk: ChunkId) -> list[Entry]:
        """A part of a folder, or all of it; files of very many chunks in pieces. Raises as `folder` does."""
        return trees.decode_segment(self._chunks.read(chunk), chunk)

    def find(self, path: bytes) -> Entry | None:
        """The entry at a path, read along it alone; None if there is none."""
        entry: Entry | None = self.root
        for name in path.split(b"/") if path not in (b"", b".") else ():
            if entry is None or not entry.is_dir:
                return None
            entry = next((one for one in self.folder(entry) if one.name == name), None)
        return entry

    def walk(
        self,
        lost: Callable[[bytes, Damaged], None] | None = None,
        enters: Callable[[bytes], bool] = lambda _: True,
    ) -> Iterator[tuple[bytes, Entry]]:
        """Every entry with its path, folders before what they hold; the root only if it was a source.

        `lost` is told of a folder whose entries cannot be read, or no further; without it that is raised.
        `enters` says whether a folder is to be looked into.
        """
        if not self.root.implied:
            yield b".", self.root
        stack: list[tuple[bytes, Iterator[Entry]]] = [(b"", self.folder(self.root))]
        while stack:
            folder, entries = stack[-1]
            try:
                entry = next(entries, None)
            except Damaged as error:
                if lost is None:
                    raise
                lost(folder, error)
                entry = None
            if entry is None:
                stack.pop()
                continue
            path = folder + b"/" + entry.name if folder else entry.name
            yield path, entry
            if entry.is_dir and enters(path):
                stack.append((path, self.folder(entry)))


def not_following(segment: bytes) -> Damaged:
    """What to raise for a segment of a tree whose names are not behind those of the one before."""
    return Damaged(f"Tree {segment.hex()} does not follow the segment before it.")
