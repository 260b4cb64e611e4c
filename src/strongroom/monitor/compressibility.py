"""How much of some content does not compress: told by the stored lengths of its bundles alone.

Nothing is fetched for it. What encryption makes of a file does not compress, whatever was in it.
"""

from dataclasses import dataclass

from strongroom.archive.entries import HOLE, Entry
from strongroom.ids import ID_SIZE, PackId
from strongroom.repository.index import ChunkIndex

INCOMPRESSIBLE = 0.95  # stored bytes for a byte of content; padding adds up to 0.12, never less


@dataclass(slots=True)
class _Bundle:
    stored: int
    chunks: int
    seen: int = 0  # bit n: the chunk at position n
    plain: int = 0  # bytes of the chunks seen

    @property
    def is_incompressible(self) -> bool:
        # chunks of the bundle that are not ours are taken to be as large as ours on average
        return self.stored >= INCOMPRESSIBLE * self.plain * self.chunks / max(1, self.seen.bit_count())


class Content:
    """Content of files, gathered file by file, each chunk counted once. Memory: a bundle, about 1 MiB."""

    def __init__(self, index: ChunkIndex) -> None:
        self._index = index
        self._bundles: dict[tuple[PackId, int], _Bundle] = {}

    def add(self, entry: Entry) -> None:
        for chunk, size in entry.chunks():
            place = self._index.get(chunk) if chunk != HOLE else None
            if place is None:
                continue
            key = (place.pack, place.bundle.offset)
            bundle = self._bundles.get(key)
            if bundle is None:
                count = len(place.bundle.chunks) // ID_SIZE
                bundle = self._bundles[key] = _Bundle(place.bundle.length, count)
            if not bundle.seen >> place.position & 1:
                bundle.seen |= 1 << place.position
                bundle.plain += size

    @property
    def plain(self) -> int:
        """Bytes."""
        return sum(one.plain for one in self._bundles.values())

    @property
    def incompressible(self) -> float:
        """The share of bytes in bundles that did not compress."""
        bad = sum(one.plain for one in self._bundles.values() if one.is_incompressible)
        return bad / self.plain if self.plain else 0.0
