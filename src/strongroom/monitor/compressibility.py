"""How much of some content does not compress: told by the stored lengths of its bundles, or by samples.

What encryption makes of a file does not compress, whatever was in it. Nothing is fetched for the first
way; the second is for a repository whose writer did not compress, or padded at random.
"""

import zlib
from collections.abc import Callable

import msgspec

from strongroom.archive.entries import HOLE, Entry
from strongroom.ids import ID_SIZE, ChunkId, PackId
from strongroom.repository.index import ChunkIndex

INCOMPRESSIBLE = 0.95  # stored bytes for a byte of content; padding adds up to 0.12, never less
_SAMPLES = 24  # chunks
_SAMPLE_BYTES = 64 * 1024  # of each
_LEAST = 512  # bytes: what is smaller never compresses well


class _Bundle(msgspec.Struct):
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
        self._samples: list[ChunkId] = []  # every `_step`th chunk
        self._step = 1
        self._met = 0

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
                if size >= _LEAST:
                    self._sample(chunk)

    def _sample(self, chunk: ChunkId) -> None:
        """Spread evenly over all, whose number is not known before."""
        if self._met % self._step == 0:
            self._samples.append(chunk)
            if len(self._samples) > _SAMPLES:
                del self._samples[1::2]
                self._step *= 2
        self._met += 1

    @property
    def plain(self) -> int:
        """Bytes."""
        return sum(one.plain for one in self._bundles.values())

    @property
    def incompressible(self) -> float:
        """The share of bytes in bundles that did not compress."""
        bad = sum(one.plain for one in self._bundles.values() if one.is_incompressible)
        return bad / self.plain if self.plain else 0.0

    def sampled(self, read: Callable[[ChunkId], memoryview]) -> float:
        """The same of some chunks, which are read and compressed. Raises what `read` does."""
        bad = whole = 0
        for chunk in self._samples:
            part = read(chunk)[:_SAMPLE_BYTES]
            whole += len(part)
            bad += len(part) if len(zlib.compress(part, 1)) >= INCOMPRESSIBLE * len(part) else 0
        return bad / whole if whole else 0.0
