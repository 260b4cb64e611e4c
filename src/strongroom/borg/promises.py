"""The topmost folder of an archive that nobody has looked into yet: ids that stand for its segments.

To list archives, or to mount them all, none need be read. What these ids stand for is worked out when one of
them is read.
"""

from collections.abc import Callable

from strongroom.archive import trees
from strongroom.archive.build import implied_entry
from strongroom.archive.entries import Entry
from strongroom.crypto import hashing
from strongroom.errors import Damaged
from strongroom.ids import ID_SIZE, ArchiveId, ChunkId

_MOST = 64  # segments, of a thousand entries at least
_EMPTY = bytes((trees.VERSION, 0xDD, 0, 0, 0, 0))  # a segment without entries


class Promises:
    """Any thread may ask. `root_of` gives an archive's root once it was read."""

    def __init__(self, root_of: Callable[[ArchiveId], Entry], segment: Callable[[ChunkId], bytes]) -> None:
        self._root_of = root_of
        self._segment = segment
        self._made: dict[bytes, tuple[ArchiveId, int]] = {}

    def root(self, archive: ArchiveId) -> Entry:
        """A folder that will hold what the archive's topmost one holds."""
        ids = [hashing.plain_hash(b"promise", archive, bytes([number])) for number in range(_MOST)]
        self._made.update((one, (archive, number)) for number, one in enumerate(ids))
        return implied_entry(b"", b"".join(ids))

    def __contains__(self, chunk: object) -> bool:
        return chunk in self._made

    def read(self, chunk: ChunkId) -> bytes:
        """The segment that an id stands for. Raises `Damaged`, and what reading the archive raises."""
        archive, number = self._made[chunk]
        content = self._root_of(archive).content
        if len(content) > _MOST * ID_SIZE:
            raise Damaged("The topmost folder of the archive is too large to be shown like this.")
        there = ChunkId(content[number * ID_SIZE : (number + 1) * ID_SIZE])
        return self._segment(there) if there else _EMPTY
