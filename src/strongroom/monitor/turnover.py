"""How an archive's chunks differ from its predecessor's, as the server sees it: by ids and stored sizes."""

from collections import Counter
from collections.abc import Callable, Set

import msgspec

from strongroom.crypto.sealing import DATA
from strongroom.ids import ID_SIZE, ChunkId, RefsId
from strongroom.repository import refs
from strongroom.repository.index import ChunkIndex

Uses = Counter[bytes]


class Turnover(msgspec.Struct):
    """Uses of chunks of any kind; stored bytes of the files' content among them, each chunk once."""

    before: int = 0  # in the predecessor
    gone: int = 0  # of these, of chunks that the archive does not use
    new: int = 0  # of chunks that the predecessor does not use
    gone_stored: int = 0
    new_stored: int = 0


def turnover(
    old: RefsId, new: RefsId, uses: int, get: Callable[[RefsId], bytes], index: ChunkIndex
) -> Turnover:
    """Blocks that both have are not read; `uses` are the predecessor's. Memory: 150 bytes a differing chunk.

    Raises `Damaged`, and the store's errors.
    """
    was, now = _only(old, new, get)
    gone, came = was.keys() - now.keys(), now.keys() - was.keys()
    return Turnover(
        before=uses,
        gone=sum(was[one] for one in gone),
        new=sum(now[one] for one in came),
        gone_stored=_stored(gone, index),
        new_stored=_stored(came, index),
    )


def _only(old: RefsId, new: RefsId, get: Callable[[RefsId], bytes]) -> tuple[Uses, Uses]:
    """Chunk ids and their uses below blocks that only one side has, level by level, from the top."""
    left, right = {old: refs.decode(get(old), old)}, {new: refs.decode(get(new), new)}
    chunks: tuple[Uses, Uses] = (Counter(), Counter())
    if old == new:
        return chunks
    while left or right:
        level = max(one[0] for one in (*left.values(), *right.values()))
        for side, into in ((left, chunks[0]), (right, chunks[1])):
            for block in [one for one, (its, _) in side.items() if its == level]:
                _, ids = side.pop(block)
                if level == 0:
                    into.update(ids)
                else:
                    side.update((RefsId(one), (level - 1, [])) for one in ids)
        for shared in left.keys() & right.keys():
            del left[shared], right[shared]
        for side in (left, right):
            for block, (_, ids) in list(side.items()):
                if not ids:
                    side[block] = refs.decode(get(block), block)
                    if side[block][0] >= level:
                        return chunks  # no honest tree: `audit` names it among the objects
    return chunks


def _stored(chunks: Set[bytes], index: ChunkIndex) -> int:
    """Bytes of those that hold content."""
    stored = 0
    for chunk in chunks:
        place = index.get(ChunkId(chunk))
        if place is not None and place.bundle.kind == DATA:
            stored += place.bundle.length * ID_SIZE // len(place.bundle.chunks)
    return stored
