"""How an archive's chunks differ from its predecessor's, as the server sees it: by ids and stored sizes."""

from collections.abc import Callable
from dataclasses import dataclass

from strongroom.crypto.sealing import DATA
from strongroom.ids import ID_SIZE, ChunkId, RefsId
from strongroom.repository import refs
from strongroom.repository.index import ChunkIndex

Blocks = dict[RefsId, tuple[int, list[bytes]]]


@dataclass(slots=True)
class Turnover:
    """Distinct chunks of files' content that one of the two archives has; stored bytes of them."""

    before: int = 0  # uses in the predecessor, of any kind
    gone: int = 0
    new: int = 0
    gone_stored: int = 0
    new_stored: int = 0


def turnover(
    old: RefsId, new: RefsId, uses: int, get: Callable[[RefsId], bytes], index: ChunkIndex
) -> Turnover:
    """Blocks that both have are not read; `uses` are the predecessor's. Memory: 100 bytes a differing chunk.

    Raises `Damaged`, and the store's errors.
    """
    only_old, only_new = _only(old, new, get)
    found = Turnover(before=uses)
    found.gone, found.gone_stored = _measure(only_old - only_new, index)
    found.new, found.new_stored = _measure(only_new - only_old, index)
    return found


def _only(old: RefsId, new: RefsId, get: Callable[[RefsId], bytes]) -> tuple[set[bytes], set[bytes]]:
    """Chunk ids below blocks that only one side has, level by level from the higher root down."""
    left, right = {old: refs.decode(get(old), old)}, {new: refs.decode(get(new), new)}
    chunks: tuple[set[bytes], set[bytes]] = (set(), set())
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


def _measure(chunks: set[bytes], index: ChunkIndex) -> tuple[int, int]:
    count = stored = 0
    for chunk in chunks:
        place = index.get(ChunkId(chunk))
        if place is not None and place.bundle.kind == DATA:
            count += 1
            stored += place.bundle.length * ID_SIZE // len(place.bundle.chunks)
    return count, stored
