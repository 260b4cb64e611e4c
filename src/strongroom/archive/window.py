"""What is restored together: the chunks of some thousand files, by the bundles that hold them."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

import msgspec

from strongroom.archive.entries import HOLE
from strongroom.archive.targets import FileTarget
from strongroom.ids import ID_SIZE, ChunkId, PackId
from strongroom.repository.index import ChunkIndex
from strongroom.repository.packs import BundleEntry

WINDOW_FILES = 2048
WINDOW_BYTES = 256 * 1024 * 1024
WINDOW_OPEN = 256  # files of several chunks: each holds a descriptor


class Use(msgspec.Struct):
    position: int  # of the chunk in its bundle
    target: FileTarget
    offset: int  # in the file
    size: int  # that the file's entry gives the chunk


class BundleJob(msgspec.Struct):
    pack: PackId
    pack_size: int
    bundle: BundleEntry
    uses: list[Use] = []


class Window:
    """Files that are restored together."""

    def __init__(self) -> None:
        self.targets: list[FileTarget] = []
        self._jobs: dict[tuple[PackId, int], BundleJob] = {}
        self.missing: list[tuple[ChunkId, Use]] = []  # in no pack, as far as the index tells
        self._bytes = 0
        self._several = 0

    @property
    def full(self) -> bool:
        return (
            len(self.targets) >= WINDOW_FILES or self._bytes >= WINDOW_BYTES or self._several >= WINDOW_OPEN
        )

    def add(self, target: FileTarget, index: ChunkIndex, there: AbstractSet[int] = frozenset()) -> None:
        """Plan the chunks of a file, but for the positions that are `there` already."""
        self.targets.append(target)
        chunks = target.entry.chunks()
        self._several += len(chunks) > 1 or bool(there)
        offset = 0
        for position, (chunk, size) in enumerate(chunks):
            if chunk == HOLE or position in there:
                target.left -= 1
            else:
                self._plan(target, chunk, offset, size, index)
            offset += size
        self._bytes += target.entry.size

    def _plan(self, target: FileTarget, chunk: ChunkId, offset: int, size: int, index: ChunkIndex) -> None:
        place = index.get(chunk)
        if place is None:
            self.missing.append((chunk, Use(0, target, offset, size)))
            return
        key = (place.pack, place.bundle.offset)
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = BundleJob(place.pack, place.pack_size, place.bundle)
        job.uses.append(Use(place.position, target, offset, size))

    def jobs(self) -> list[BundleJob]:
        """In the order in which they lie in the packs."""
        return [self._jobs[key] for key in sorted(self._jobs)]


def chunks_of(jobs: list[BundleJob]) -> Iterator[ChunkId]:
    for job in jobs:
        for use in job.uses:
            yield ChunkId(job.bundle.chunks[use.position * ID_SIZE : (use.position + 1) * ID_SIZE])
