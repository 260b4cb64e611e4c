"""Which chunks and blocks of refs archives still use: what no record may free. Works without any key.

Ten million chunks fit into 64 MB: a chunk leaves four bits in a filter of about 50 bits a chunk. A
chunk that was not added looks used once in 40,000 times; one that was added never looks unused.
"""

import contextlib
from collections.abc import Iterable, Iterator
from struct import Struct

from strongroom.errors import Damaged, ObjectMissing
from strongroom.ids import ID_SIZE, ArchiveId, PackId, RefsId
from strongroom.repository import archives, refs
from strongroom.repository.log import ArchiveState
from strongroom.store.protocol import Range, Store

_WORDS = 4  # bits a chunk; ids are hashes, so parts of them are as good as hashes of them
_SMALLEST, _LARGEST = 1 << 23, 1 << 30  # bits
_PER_CHUNK = 32  # bits, before rounding up to a power of two
_ID = Struct("4I")


class ChunkFilter:
    """A set of chunk ids that may answer yes in error, never no."""

    def __init__(self, expected: int) -> None:
        """For about `expected` chunks. It takes 1 to 128 MiB."""
        bits = _SMALLEST
        while bits < min(expected * _PER_CHUNK, _LARGEST):
            bits *= 2
        self._mask = bits - 1
        self._bits = bytearray(bits // 8)

    def add_all(self, joined: bytes) -> None:
        """Ids as their concatenation."""
        bits, mask = self._bits, self._mask
        words = memoryview(joined).cast("I")
        step = ID_SIZE // 4
        for offset in range(_WORDS):
            for word in words[offset::step].tolist():
                at = word & mask
                bits[at >> 3] |= 1 << (at & 7)

    def any_of(self, joined: bytes) -> bool:
        """Whether one of the ids was added."""
        bits, mask = self._bits, self._mask
        for at in range(0, len(joined), ID_SIZE):
            for word in _ID.unpack_from(joined, at):
                place = word & mask
                if not bits[place >> 3] >> (place & 7) & 1:
                    break
            else:
                return True
        return False


class Liveness:
    """What the archives that were added use. An archive's refs are read once, a shared block once for all."""

    def __init__(self, store: Store, expected_chunks: int) -> None:
        self._store = store
        self.chunks = ChunkFilter(expected_chunks)
        self.blocks: set[bytes] = set()
        self.archives: set[ArchiveId] = set()
        self.newer: dict[bytes, PackId] = {}  # of some chunks the only place that counts

    def needs(self, pack: PackId, joined: bytes) -> bool:
        """Whether one of these chunks is used, and that pack is where it is to stay."""
        if not self.newer:
            return self.chunks.any_of(joined)
        each = (joined[at : at + ID_SIZE] for at in range(0, len(joined), ID_SIZE))
        return any(self.newer.get(one, pack) == pack and self.chunks.any_of(one) for one in each)

    def add(self, archive: ArchiveState) -> None:
        """Raises `Damaged` and the store's errors where its refs cannot be read: then nobody knows
        what it uses, and nothing may be freed."""
        if archive.id in self.archives:
            return
        for level, joined in _fresh_blocks(self._store, archive, self.blocks):
            if level == 0:
                self.chunks.add_all(joined)
        self.archives.add(archive.id)


def blocks_of(store: Store, dead: Iterable[ArchiveState], live: set[bytes]) -> set[bytes]:
    """The blocks of these archives' refs that are not in `live`. Refs that cannot be read are passed over:
    what is left of them is found by the survey of objects that nothing accounts for."""
    known = set(live)
    for archive in dead:
        with contextlib.suppress(Damaged, ObjectMissing):
            for _ in _fresh_blocks(store, archive, known, leaves=False):
                pass
    return known - live


def _fresh_blocks(
    store: Store, archive: ArchiveState, known: set[bytes], *, leaves: bool = True
) -> Iterator[tuple[int, bytes]]:
    """Level and ids, concatenated, of the blocks that are not in `known`, which learns them.

    Without `leaves`, blocks of level 0 below others are not fetched and not given.
    """
    root, _, _ = archives.decode(store.get(archives.name(archive.id)), archive.id)
    yield from fresh_blocks(store, root, known, leaves=leaves)


def fresh_blocks(
    store: Store, root: RefsId, known: set[bytes], *, leaves: bool = True
) -> Iterator[tuple[int, bytes]]:
    """The same of the list below `root`. Raises `Damaged`, and the store's errors."""
    if root in known:
        return
    known.add(root)
    level, ids = refs.decode(store.get(refs.name(root)), root)
    yield level, b"".join(ids)
    waiting = [(level, ids)]
    while waiting:
        level, ids = waiting.pop()
        if level == 0:
            continue
        fresh = [RefsId(one) for one in dict.fromkeys(ids) if one not in known]
        known.update(fresh)
        if level == 1 and not leaves:
            continue
        blobs = store.get_many(Range(refs.name(one)) for one in fresh)
        for block, blob in zip(fresh, blobs, strict=True):
            below, inner = refs.decode(blob, block)
            if below != level - 1:
                raise Damaged(f"{refs.name(block)} stands at a level where it cannot be.")
            yield below, b"".join(inner)
            if below:
                waiting.append((below, inner))
