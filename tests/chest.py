"""Chunks and trees in memory, for tests of what reads archives."""

from collections.abc import Iterator

from blake3 import blake3

from strongroom.archive import trees
from strongroom.archive.entries import Entry
from strongroom.archive.reading import ArchiveTree
from strongroom.ids import ChunkId
from strongroom.repository.archives import ArchiveMeta

Tree = dict[str, "bytes | Tree"]


class Chest:
    """Remembers which chunks were read, and which were to be read ahead."""

    def __init__(self) -> None:
        self.chunks: dict[ChunkId, bytes] = {}
        self.was_read: list[ChunkId] = []
        self.read_ahead: list[ChunkId] = []

    def put(self, data: bytes) -> ChunkId:
        chunk = ChunkId(blake3(data).digest())
        self.chunks[chunk] = data
        return chunk

    def read(self, chunk: ChunkId) -> memoryview:
        self.was_read.append(chunk)
        return memoryview(self.chunks[chunk])

    def ahead(self, chunks: Iterator[ChunkId]) -> None:
        self.read_ahead += chunks

    def file(self, name: bytes, data: bytes, link: bytes | None = None) -> Entry:
        content = self.put(data) if data else b""
        return Entry(name, 0o100644, 0, 0, None, None, 0, len(data), content, link=link)

    def folder(self, name: bytes, entries: list[Entry]) -> Entry:
        content = b"".join(self.put(segment) for segment in trees.encode_tree(entries))
        return Entry(name, 0o040755, 0, 0, None, None, 0, 0, content)

    def tree(self, files: Tree, name: bytes = b"") -> Entry:
        """A folder of nested dictionaries; bytes are a file's content."""
        entries = [
            self.file(inner.encode(), what) if isinstance(what, bytes) else self.tree(what, inner.encode())
            for inner, what in files.items()
        ]
        return self.folder(name, sorted(entries, key=lambda entry: entry.name))

    def archive(self, root: Entry) -> ArchiveTree:
        return ArchiveTree(self, ArchiveMeta("name", 0, 0, trees.encode_root(root)))
