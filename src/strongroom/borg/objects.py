"""The objects of a Borg repository: where they come from, whoever reads the disk.

Names and envelopes as in Borg 1.4's documentation, internals, "Repository".
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol

from strongroom.ids import ChunkId, PackId, RepositoryId

MANIFEST = ChunkId(bytes(32))
MAX_OBJECT = 20 * 1024 * 1024  # bytes of a log entry, its header included

_BATCH = 10_000  # ids


class Spot(NamedTuple):
    """Where an object lies: keys in the order of the disk. `pack` stands for the segment."""

    pack: PackId
    offset: int


class Objects(Protocol):
    """Of one repository, read-only. Any thread may call `get` and `spot`."""

    id: RepositoryId
    damage: list[str]
    """What could not be read when the objects were looked for."""

    def key(self) -> bytes:
        """What the repository keeps of a `repokey`: the text of a key file; empty if there is none."""

    def get(self, chunk: ChunkId) -> bytes:
        """An object as stored, checksums compared. Raises `ChunkMissing`, `Damaged`, the store's errors."""

    def get_many(self, chunks: Iterable[ChunkId]) -> Iterator[bytes]:
        """Several, in their order; many questions at once where the repository is far away."""

    def expect(self, chunks: Iterable[ChunkId]) -> None:
        """What `get` will be asked for, about in this order, in place of what was expected before: where the
        repository is far away, it is asked for ahead."""

    def spot(self, chunk: ChunkId) -> Spot | None:
        """Where to look for it; None if it is not there. Where that is not known, some place is given."""

    def holds(self, chunk: ChunkId) -> bool:
        """Whether it is there; costs more than `spot` where the repository is far away."""

    def verify(self) -> Iterator[str]:
        """Compare all checksums: for each entry or object what is wrong with it, empty if nothing is."""

    def ids(self) -> Iterator[ChunkId]:
        """Of all objects, the manifest's among them."""

    def count(self) -> int:
        """How many there are."""

    def stored_bytes(self) -> int:
        """What they take on the disk, as far as is known."""

    def close(self) -> None: ...


def expected(objects: Objects) -> Iterator[ChunkId]:
    """The ids of all objects, each for a `get` that follows."""
    ids = objects.ids()
    while batch := list(islice(ids, _BATCH)):
        objects.expect(batch)
        yield from batch
