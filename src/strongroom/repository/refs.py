"""Refs: the list of chunk ids that an archive uses, cut into deduplicated blocks.

Specified in docs/format.md, "Refs". A block is cut where an id says so (content-defined),
so that two archives that differ a little share most of their blocks. The ids of the blocks
form a list of the next level, cut alike, until one block is left: the root.
"""

from collections.abc import Callable, Iterator

from strongroom.crypto import hashing
from strongroom.errors import Damaged, VersionUnknown
from strongroom.ids import ID_SIZE, ChunkId, RefsId

HEADER = b"SRREFS\x00\x01"
_HEAD_SIZE = len(HEADER) + 1  # and the level
MASK = 1023  # a block has about 1,024 ids, 32 KiB
MIN_IDS = 256
MAX_IDS = 4096
MAX_LEVEL = 6
COUNTED = 0x80  # in the byte of the level: the first 32 bytes are no id but a count
MAX_BLOCK = _HEAD_SIZE + (MAX_IDS + 1) * ID_SIZE

Put = Callable[[RefsId, bytes], None]
Get = Callable[[RefsId], bytes]


def name(refs: RefsId) -> str:
    text = refs.hex()
    return f"refs/{text[:2]}/{text}"


class RefsWriter:
    """Takes ids in the order of the archive's walk, hands out finished blocks.

    A block whose name was freed may vanish at any time: it is counted up until its name is a new one.
    """

    def __init__(self, put: Put, is_freed: Callable[[RefsId], bool]) -> None:
        self._put = put
        self._is_freed = is_freed
        self._levels: list[list[bytes]] = [[]]
        self.count = 0  # ids at level 0

    def add(self, chunk: bytes) -> None:
        self.count += 1
        self._add(0, chunk)

    def add_all(self, joined: bytes) -> None:
        """Ids as their concatenation."""
        count = len(joined) // ID_SIZE
        self.count += count
        block = self._levels[0]
        if len(block) + count < MAX_IDS and 0 not in joined[ID_SIZE - 2 :: ID_SIZE]:
            # no id ends a block; this is a hot loop
            block += [joined[at : at + ID_SIZE] for at in range(0, len(joined), ID_SIZE)]
            return
        for at in range(0, len(joined), ID_SIZE):  # `_add`, spelt out
            block.append(joined[at : at + ID_SIZE])
            wanted = not (joined[at + 30] | (joined[at + 31] << 8)) & MASK
            if (wanted and len(block) >= MIN_IDS) or len(block) >= MAX_IDS:
                self._cut(0)
                block = self._levels[0]

    def finish(self) -> RefsId:
        """Flush all levels; returns the root."""
        level = 0
        while True:
            last = level == len(self._levels) - 1
            if last and level > 0 and len(self._levels[level]) == 1:
                return RefsId(self._levels[level][0])
            if self._levels[level] or last:
                self._cut(level)
            level += 1

    def _add(self, level: int, one: bytes) -> None:
        if level == len(self._levels):
            self._levels.append([])
        block = self._levels[level]
        block.append(one)
        size = len(block)
        if size >= MIN_IDS and (size >= MAX_IDS or not (one[30] | (one[31] << 8)) & MASK):
            self._cut(level)

    def _cut(self, level: int) -> None:
        if level > MAX_LEVEL:
            raise Damaged("An archive uses more chunks than refs can list.")
        joined = b"".join(self._levels[level])
        self._levels[level] = []
        blob = HEADER + bytes((level,)) + joined
        refs = RefsId(hashing.plain_hash(blob))
        count = 0
        while self._is_freed(refs):
            count += 1
            blob = HEADER + bytes((level | COUNTED,)) + count.to_bytes(ID_SIZE, "big") + joined
            refs = RefsId(hashing.plain_hash(blob))
        self._put(refs, blob)
        self._add(level + 1, refs)


def decode(blob: bytes, refs: RefsId) -> tuple[int, list[bytes]]:
    """Level and ids of a block. Raises `Damaged`, `VersionUnknown`."""
    where = name(refs)
    if not hashing.same(hashing.plain_hash(blob), refs):
        raise Damaged(f"{where} is damaged. {_ADVICE}")
    if blob[: len(HEADER)] != HEADER:
        if blob.startswith(HEADER[:-1]):
            raise VersionUnknown(f"{where} has an unknown refs format. Upgrade strongroom.")
        raise Damaged(f"{where} is not a block of refs. {_ADVICE}")
    if len(blob) < _HEAD_SIZE:
        raise Damaged(f"{where} has an impossible form. {_ADVICE}")
    level = blob[len(HEADER)] & ~COUNTED
    begin = _HEAD_SIZE + (ID_SIZE if blob[len(HEADER)] & COUNTED else 0)
    body = len(blob) - begin
    if body < 0 or body % ID_SIZE or body > MAX_IDS * ID_SIZE or level > MAX_LEVEL:
        raise Damaged(f"{where} has an impossible form. {_ADVICE}")
    if level and not body:
        raise Damaged(f"{where} is an empty block above others. {_ADVICE}")
    return level, [blob[at : at + ID_SIZE] for at in range(begin, len(blob), ID_SIZE)]


def walk_blocks(root: RefsId, get: Get, most: int) -> Iterator[tuple[RefsId, int, list[bytes]]]:
    """Every block below `root`, parents first, as (id, level, ids); a shared block each time it is used.

    `most` is how many chunk ids there may be at the most, by the archive's signed record: blocks that
    stand in others many times over could list more than anybody can read. Raises `Damaged`.
    """
    left = most
    stack: list[tuple[RefsId, int | None]] = [(root, None)]
    while stack:
        refs, expected = stack.pop()
        level, ids = decode(get(refs), refs)
        if expected is not None and level != expected:
            raise Damaged(f"{name(refs)} stands at a level where it cannot be. {_ADVICE}")
        left -= 0 if level else len(ids)
        if left < 0:
            raise Damaged(_too_many(root))
        yield refs, level, ids
        if level:
            stack.extend((RefsId(one), level - 1) for one in reversed(ids))


def read_all(root: RefsId, get: Get, most: int) -> Iterator[ChunkId]:
    """The chunk ids in their order; `most` as for `walk_blocks`."""
    for _, level, ids in walk_blocks(root, get, most):
        if level == 0:
            for one in ids:
                yield ChunkId(one)


class RefsCounter:
    """Sums over whole lists, each block read once however often it is used."""

    def __init__(self, get: Get, measure: Callable[[list[bytes]], int]) -> None:
        """`measure` is asked once for the chunk ids of each block of level 0."""
        self._get = get
        self._measure = measure
        self._known: dict[RefsId, tuple[int, int, int]] = {}

    def count(self, root: RefsId, most: int | None = None) -> tuple[int, int]:
        """How many ids the list has, and the sum of what `measure` says.

        Raises `Damaged`, for more than `most` ids, too.
        """
        _, ids, total = self._count(root)
        if most is not None and ids > most:
            raise Damaged(_too_many(root))
        return ids, total

    def _count(self, block: RefsId) -> tuple[int, int, int]:
        known = self._known.get(block)
        if known is not None:
            return known
        level, ids = decode(self._get(block), block)
        if level == 0:
            result = 0, len(ids), self._measure(ids)
        else:  # as deep as there are levels
            inner = [self._count(RefsId(one)) for one in ids]
            if any(one[0] != level - 1 for one in inner):
                raise Damaged(f"{name(block)} stands above blocks of another level. {_ADVICE}")
            result = level, sum(one[1] for one in inner), sum(one[2] for one in inner)
        self._known[block] = result
        return result


def _too_many(root: RefsId) -> str:
    return f"{name(root)} lists more chunks than its archive's record says. {_ADVICE}"


_ADVICE = "Run `strongroom check`."
