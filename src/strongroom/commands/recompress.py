"""Store the chunks of an archive anew, in another compression. What it replaces is `compact`'s to free."""

from collections.abc import Callable
from typing import Literal

import msgspec

from strongroom.archive.pipeline import Pipeline
from strongroom.errors import Cancelled
from strongroom.ids import ID_SIZE, ChunkId, PackId, RefsId
from strongroom.reporting import Reporter
from strongroom.repository.bundles import BundleEncoder
from strongroom.repository.compression import Compression
from strongroom.repository.index import Place
from strongroom.repository.liveness import fresh_blocks
from strongroom.repository.newer import recreated_packs
from strongroom.repository.repository import Repository

Mode = Literal["never", "if-different", "always"]


class Recompression(msgspec.Struct):
    """Of one run over several archives, which share chunks. `if-different` compares the algorithms."""

    mode: Mode
    blocks: set[bytes] = set()  # of refs, whose chunks are done
    chunks: set[bytes] = set()  # that were looked at


class Recompressor:
    """For one archive; `changed` tells whether its record has something to say."""

    def __init__(
        self,
        repository: Repository,
        compression: Compression,
        recompression: Recompression,
        reporter: Reporter,
    ) -> None:
        self._repository = repository
        self._compression = compression
        self._recompression = recompression
        self._reporter = reporter
        self._encoder = BundleEncoder(compression)
        self._algorithm = 0
        self._bundles = repository.bundle_reader(self._told)
        self._order: dict[PackId, int] = recreated_packs(repository.state)
        self._pending = {PackId(one.pack) for one in repository.index.pending()}
        self.changed = False

    def _told(self, algorithm: int) -> None:
        self._algorithm = algorithm

    def run(self, pipeline: Pipeline, root: RefsId, read: Callable[[int], None]) -> None:
        """`read` is told the bytes of each chunk that is stored anew. Raises `Cancelled`, `Damaged`, and
        the store's errors."""
        for level, joined in fresh_blocks(self._repository.store, root, self._recompression.blocks):
            if level == 0:
                self._block(pipeline, joined, read)

    def _block(self, pipeline: Pipeline, joined: bytes, read: Callable[[int], None]) -> None:
        grouped: dict[tuple[PackId, int], list[Place]] = {}
        known = self._recompression.chunks
        for at in range(0, len(joined), ID_SIZE):
            chunk = ChunkId(joined[at : at + ID_SIZE])
            if chunk not in known:
                known.add(chunk)
                place = self._place(chunk)
                grouped.setdefault((place.pack, place.bundle.offset), []).append(place)
        for _, places in sorted(grouped.items(), key=lambda item: item[0]):
            if self._reporter.stop.requested:
                raise Cancelled("Stopped as asked. What is stored already stays for the next run.")
            self._bundle(pipeline, places, read)

    def _place(self, chunk: ChunkId) -> Place:
        """Where it lies; of several places the one that `compact` will keep."""
        first, others = self._repository.index.find(chunk), self._repository.index.others(chunk)
        known = [one for one in (first, *others) if self._rank(one.pack)]
        return max(known, key=lambda one: self._rank(one.pack), default=first)

    def _rank(self, pack: PackId) -> float:
        """0 for a pack that replaces no other."""
        return float("inf") if pack in self._pending else self._order.get(pack, 0)

    def _bundle(self, pipeline: Pipeline, places: list[Place], read: Callable[[int], None]) -> None:
        first = places[0]
        chunks = self._bundles.open_bundle(first.pack, first.pack_size, first.bundle)
        if self._recompression.mode != "always" and not self._is_different(self._algorithm, chunks):
            # stored anew by a run that was killed before its record
            self.changed |= first.pack in self._pending
            return
        self.changed = True
        for place in places:
            chunk = chunks[place.position]
            read(len(chunk))
            pipeline.add(place.bundle.kind, chunk, anew=True)

    def _is_different(self, algorithm: int, chunks: list[memoryview]) -> bool:
        """Whether this would be stored by another algorithm: what does not shrink, for one, is not."""
        if algorithm == self._compression.algorithm and not self._compression.auto:
            return False
        return self._encoder.algorithm_for(chunks) != algorithm
