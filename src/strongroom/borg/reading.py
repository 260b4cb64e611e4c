"""Borg's objects where our readers look for chunks: each is a bundle of one chunk, in a pack of its own kind.

So everything that reads archives of ours reads Borg's, too. Trees, which Borg does not have, come from
working space.
"""

from collections.abc import Callable, Iterable

from strongroom.borg.keys import Opener
from strongroom.borg.objects import Objects
from strongroom.borg.promises import Promises
from strongroom.borg.scratch import Scratch
from strongroom.crypto.sealing import DATA, TREE
from strongroom.errors import ChunkMissing, Damaged, PackDamaged
from strongroom.ids import ChunkId, PackId
from strongroom.repository.index import ChunkIndex, Place
from strongroom.repository.packs import BundleEntry
from strongroom.repository.reading import BundleReader
from strongroom.repository.room import Room
from strongroom.store.protocol import Buffer


class BorgIndex(ChunkIndex):
    """Where the objects lie. Any thread may look up."""

    def __init__(self, objects: Objects, scratch: Scratch, promises: Promises) -> None:
        # Not the parent's: there is no cache behind it.
        self._promises = promises
        self._objects = objects
        self._scratch = scratch

    def get(self, chunk: ChunkId) -> Place | None:
        if chunk in self._promises or self._scratch.has("trees", chunk):
            return Place(PackId(chunk), 0, BundleEntry(0, 0, TREE, 0, chunk), 0)
        spot = self._objects.spot(chunk)
        if spot is None:
            return None
        stored = int.from_bytes(self._scratch.get("sizes", chunk) or b"", "big")
        return Place(spot.pack, 0, BundleEntry(spot.offset, stored, DATA, 0, chunk), 0)

    def find(self, chunk: ChunkId) -> Place:
        place = self.get(chunk)
        if place is None:
            raise ChunkMissing(
                f"Chunk {chunk.hex()} is missing in this Borg repository. `borg check` tells which files it "
                "belongs to; a copy of the repository, if you have one, may still hold it."
            )
        return place

    def others(self, chunk: ChunkId) -> list[Place]:
        return []

    def __contains__(self, chunk: bytes) -> bool:
        return self.get(ChunkId(chunk)) is not None

    def is_distrusted(self, chunk: bytes) -> bool:
        return False

    def finder(self) -> Callable[[bytes], object | None]:
        return lambda chunk: self.get(ChunkId(chunk))

    def count(self) -> int:
        return self._objects.count()

    def refresh(self) -> None:
        """There is nothing to refresh."""


class BorgBundleReader(BundleReader):
    """Opens objects; every id is compared. Any thread may use it."""

    def __init__(self, objects: Objects, opener: Opener, scratch: Scratch, promises: Promises) -> None:
        # Not the parent's: there are no packs to read.
        self._promises = promises
        self._objects = objects
        self._opener = opener
        self._scratch = scratch

    def open_bundle(
        self,
        pack: PackId,
        size: int,
        bundle: BundleEntry,
        *,
        verify: bool = True,
        room: Room | None = None,
        fetched: Callable[[], Buffer] | None = None,
    ) -> list[memoryview]:
        """The one chunk, always verified. Raises `PackDamaged`, and the store's errors."""
        chunk = ChunkId(bundle.chunks)
        try:
            if chunk in self._promises:
                return [memoryview(self._promises.read(chunk))]
            if bundle.kind == TREE:
                return [memoryview(self.tree(chunk))]
            return [memoryview(self._opener.open(chunk, self._objects.get(chunk)))]
        except Damaged as error:
            raise PackDamaged(str(error)) from error

    @property
    def is_far(self) -> bool:
        """What is expected is asked for ahead."""
        return False

    def expect(self, chunks: Iterable[ChunkId]) -> None:
        self._objects.expect(one for one in chunks if not self._is_ours(one))

    def _is_ours(self, chunk: ChunkId) -> bool:
        return chunk in self._promises or self._scratch.has("trees", chunk)

    def check(self, bundle: BundleEntry, position: int, chunk: memoryview) -> None:
        """Raises nothing: it was compared when it was opened, and nobody changes it."""

    def tree(self, chunk: ChunkId) -> bytes:
        """A segment out of working space. Raises `Damaged`."""
        stored = self._scratch.get("trees", chunk)
        if stored is None:
            raise Damaged(f"Tree {chunk.hex()} was lost in this machine's working space. Run it again.")
        return stored
