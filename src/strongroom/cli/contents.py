"""What the costly keys of `list --format` ask of the repository."""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.archive.entries import HOLE, Entry

if TYPE_CHECKING:
    from strongroom.commands.results import ArchiveInfo
    from strongroom.ids import ChunkId
    from strongroom.repository.reading import ChunkReader
    from strongroom.repository.repository import Repository

_ZEROS = bytes(1 << 20)


class RepositoryContents:
    """`item_format.Contents` of an opened repository whose index is loaded. For one thread."""

    def __init__(self, repository: "Repository", archive: "ArchiveInfo") -> None:
        self._repository = repository
        self._archive = archive

    def read(self, entry: Entry) -> Iterator[bytes]:
        """Raises `ChunkMissing`, `PackDamaged`, and the store's errors."""
        for chunk, size in entry.chunks():
            if chunk != HOLE:
                yield bytes(self._reader.read(chunk))
                continue
            for at in range(0, size, len(_ZEROS)):
                yield _ZEROS[: size - at]

    def compressed_size(self, entry: Entry) -> int:
        return sum(self._stored(chunk) for chunk, _ in entry.chunks())

    def unique(self, entry: Entry) -> tuple[int, int, int]:
        """Count, bytes and stored bytes of the chunks that nothing else in the repository uses."""
        chunks = [one for one in entry.chunks() if one[0] != HOLE]
        own = Counter(chunk for chunk, _ in chunks)
        # each name of a hard-linked file uses its chunks
        names = 1 if entry.link is None else self._names[entry.link]
        alone = [(chunk, size) for chunk, size in chunks if self._uses[chunk] == own[chunk] * names]
        return len(alone), sum(size for _, size in alone), sum(self._stored(chunk) for chunk, _ in alone)

    def is_whole(self, entry: Entry) -> bool:
        if not entry.is_regular:
            return True
        return all(chunk == HOLE or chunk in self._repository.index for chunk, _ in entry.chunks())

    @cached_property
    def _reader(self) -> "ChunkReader":
        return self._repository.chunk_reader()

    def _stored(self, chunk: "ChunkId") -> int:
        place = None if chunk == HOLE else self._repository.index.get(chunk)
        if place is None:  # a hole, or lost
            return 0
        bundle = place.bundle
        # small chunks are compressed together: each gets an equal share of what they take
        return bundle.length * len(chunk) // len(bundle.chunks)

    @cached_property
    def _names(self) -> Counter[bytes]:
        """How many names each hard-linked file of the archive has."""
        from strongroom.commands.listing import open_tree

        tree = open_tree(self._repository, self._archive)
        return Counter(entry.link for _, entry in tree.walk() if entry.link is not None)

    @cached_property
    def _uses(self) -> "Counter[ChunkId]":
        """How often all living archives use each chunk; read once, when first asked for."""
        from strongroom.commands.sizes import count_uses

        return count_uses(self._repository)
