"""All refs of a repository, level by level, each block fetched once, in large requests."""

from collections.abc import Container
from typing import NamedTuple

import msgspec

from strongroom.crypto import hashing
from strongroom.errors import Damaged, ObjectMissing, VersionUnknown
from strongroom.ids import RefsId
from strongroom.repository import refs
from strongroom.store.protocol import Range, Store

CHANGED = "Its bytes are not what its name says: it was replaced, or it rotted."
_BATCH = 256  # blocks of 32 KiB on average


class BlockProblem(NamedTuple):
    object: str
    what: str
    written_so: bool  # its hash is right: whoever made it made it wrong


class Sums(msgspec.Struct):
    """Below a block, each use counted."""

    uses: int = 0
    hits: int = 0
    problems: dict[BlockProblem, None] = {}


class _Block(msgspec.Struct):
    level: int
    uses: int = 0
    hits: int = 0
    below: list[RefsId] = []
    problem: BlockProblem | None = None


class RefsWalk:
    """`present` are the names in the store, None if not known; `wanted` the chunks whose
    uses are counted as hits.

    Memory: about 200 bytes a block, that is, for a thousand chunks.
    """

    def __init__(self, store: Store, present: Container[str] | None, wanted: Container[bytes]) -> None:
        self._store = store
        self._present = present
        self._wanted = wanted
        self._known: dict[RefsId, _Block] = {}
        self._sums: dict[RefsId, Sums] = {}

    @property
    def blocks(self) -> int:
        return len(self._known)

    def run(self, roots: list[RefsId]) -> None:
        """Raises the store's errors, `ObjectMissing` excepted."""
        frontier = list(dict.fromkeys(roots))
        while frontier:
            following: dict[RefsId, None] = {}
            for start in range(0, len(frontier), _BATCH):
                for block in self._read(frontier[start : start + _BATCH]):
                    following.update((one, None) for one in block.below if one not in self._known)
            frontier = [one for one in following if one not in self._known]

    def sums(self, root: RefsId) -> Sums:
        known = self._sums.get(root)
        if known is not None:
            return known
        block = self._known[root]
        found = Sums(block.uses, block.hits, {block.problem: None} if block.problem else {})
        for one in block.below:  # as deep as there are levels, by the check below
            if self._known[one].problem is None and self._known[one].level != block.level - 1:
                found.problems[BlockProblem(refs.name(one), "It stands where it cannot.", True)] = None
                continue
            inner = self.sums(one)
            found.uses += inner.uses
            found.hits += inner.hits
            found.problems.update(inner.problems)
        self._sums[root] = found
        return found

    def _read(self, batch: list[RefsId]) -> list[_Block]:
        there = [one for one in batch if self._present is None or refs.name(one) in self._present]
        for one in set(batch).difference(there):
            self._known[one] = _Block(0, problem=BlockProblem(refs.name(one), "It is missing.", False))
        asked = [Range(refs.name(one), 0, refs.MAX_BLOCK + 1) for one in there]
        try:
            blobs: list[bytes | None] = list(self._store.get_many(asked))
        except ObjectMissing:  # removed while we look
            blobs = [self._get(one) for one in asked]
        found = []
        for one, blob in zip(there, blobs, strict=True):
            self._known[one] = block = self._decode(one, blob)
            found.append(block)
        return found

    def _get(self, one: Range) -> bytes | None:
        try:
            return self._store.get(one.name, one.offset, one.length)
        except ObjectMissing:
            return None

    def _decode(self, one: RefsId, blob: bytes | None) -> _Block:
        if blob is None:
            return _Block(0, problem=BlockProblem(refs.name(one), "It is missing.", False))
        try:
            level, ids = refs.decode(blob, one)
        except (Damaged, VersionUnknown) as error:
            honest = hashing.same(hashing.plain_hash(blob), one)
            what = str(error) if honest else CHANGED
            return _Block(0, problem=BlockProblem(refs.name(one), what, honest))
        if level:
            return _Block(level, below=[RefsId(each) for each in ids])
        return _Block(0, len(ids), sum(1 for each in ids if each in self._wanted))
