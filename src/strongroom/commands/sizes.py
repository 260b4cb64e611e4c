"""How large archives are as stored: each use counted, and what is theirs alone.

Both follow from the refs and the index, without any key. What a chunk takes is its share of
its bundle. An archive whose refs cannot be read is left out of the sums, with a warning.
"""

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from strongroom.errors import StoreFailed
from strongroom.ids import ArchiveId, ChunkId, RefsId
from strongroom.repository import refs
from strongroom.repository.guarded import guard, unguard
from strongroom.repository.index_objects import UNREADABLE
from strongroom.repository.log import ArchiveState
from strongroom.repository.repository import Repository

_AT_ONCE = 500_000  # chunks looked for in one pass over the refs: about 80 MB
_SHARED = -1  # in place of a group's number: of several, or of others
_BATCH = 1000  # archives' sizes in one write to the cache


def stored_size(repository: Repository, archive: ArchiveId) -> int:
    """Bytes of all chunks that the archive uses, repeats counted. Remembered in the cache."""
    return StoredSizes(repository).of_all([archive])[0]


class StoredSizes:
    """`stored_size` of many archives: a block of refs that they share is read once."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._counter = refs.RefsCounter(repository.refs_block, self._measure)

    def of_all(self, wanted: Sequence[ArchiveId]) -> list[int]:
        """In their order; what was not known is remembered in few writes."""
        repository = self._repository
        with repository.cache.reading("sizes") as txn:
            known = {one: unguard(one, bytes(txn.get(one) or b"")) for one in wanted}
        unknown = [one for one, size in known.items() if size is None]
        with contextlib.suppress(StoreFailed):  # told below, of the one that cannot be read
            repository.fetch_archives(unknown)
        sizes = {one: int(size) for one, size in known.items() if size is not None}
        for at in range(0, len(unknown), _BATCH):
            counted = {one: self._count(one) for one in unknown[at : at + _BATCH]}
            fresh = {one: size for one, size in counted.items() if size is not None}
            repository.cache.keep_copies("sizes", ((one, guard(one, b"%d" % fresh[one])) for one in fresh))
            sizes |= fresh
        return [sizes.get(one, 0) for one in wanted]

    def _count(self, archive: ArchiveId) -> int | None:
        repository = self._repository
        try:
            root = repository.refs_root(archive)
            return self._counter.count(root, repository.state.archives[archive].body.chunks)[1]
        except UNREADABLE as error:
            _leave_out(repository, archive, error)
            return None

    def _measure(self, ids: list[bytes]) -> int:
        return sum(self._repository.index.shares(ids))


def unique_size(repository: Repository, states: Collection[ArchiveState]) -> int:
    """Bytes that no other living archive uses: what deleting these would free in the end."""
    return unique_sizes(repository, [[state.id for state in states]])[0]


def unique_sizes(repository: Repository, groups: Sequence[Collection[ArchiveId]]) -> list[int]:
    """The same of several groups of archives, each as if it alone were deleted."""
    chosen = {one for group in groups for one in group}
    others = [one.id for one in repository.state.living() if one.id not in chosen]
    sums = [0] * len(groups)
    for own in _own_parts(repository, groups, others):
        for group, share in zip(own.values(), repository.index.shares(own), strict=True):
            sums[group] += share
    return sums


def own_chunks(repository: Repository, states: Collection[ArchiveState]) -> set[bytes]:
    """The chunks that no other living archive uses."""
    chosen = {state.id for state in states}
    others = {other.id for other in repository.state.living()} - chosen
    return chunks_beyond(repository, chosen, others)


def chunks_beyond(
    repository: Repository, chosen: Collection[ArchiveId], others: Collection[ArchiveId]
) -> set[bytes]:
    """The chunks that some of `chosen` uses and none of `others`."""
    return {chunk for own in _own_parts(repository, [chosen], others) for chunk in own}


def _own_parts(
    repository: Repository, groups: Sequence[Collection[ArchiveId]], others: Collection[ArchiveId]
) -> Iterator[dict[bytes, int]]:
    """The chunks that one group alone uses, with its number: a part of them at a time, for memory's sake."""
    leaves = _leaves(repository, groups, others)
    theirs = [block for block, group in leaves.items() if group == _SHARED]
    mine = [(block, group) for block, group in leaves.items() if group != _SHARED]
    parts = min(256, 1 + len(mine) * refs.MASK // _AT_ONCE)
    for part in range(parts):
        own: dict[bytes, int] = {}
        for block, group in mine:
            for one in _ids(repository, block):
                if one[1] % parts == part and own.setdefault(one, group) != group:
                    own[one] = _SHARED
        for one in [one for one, group in own.items() if group == _SHARED]:
            del own[one]
        for block in theirs:
            if not own:
                break
            for one in own.keys() & _ids(repository, block):
                del own[one]
        yield own


def _leaves(
    repository: Repository, groups: Sequence[Collection[ArchiveId]], others: Collection[ArchiveId]
) -> dict[RefsId, int]:
    """The blocks of level 0, as far as blocks above them can be read, and the group that alone has them."""
    users: dict[RefsId, int] = {}
    leaves: dict[RefsId, int] = {}
    for group, archives in ((_SHARED, others), *enumerate(groups)):
        for archive in archives:
            try:
                _take_leaves(repository, repository.refs_root(archive), group, users, leaves)
            except UNREADABLE as error:
                _leave_out(repository, archive, error)
    return leaves


def _take_leaves(
    repository: Repository, root: RefsId, group: int, users: dict[RefsId, int], leaves: dict[RefsId, int]
) -> None:
    """A block is read once for the first group that has it, once more for the next one, and never again."""
    stack: list[tuple[RefsId, int | None]] = [(root, None)]
    while stack:
        block, level = stack.pop()
        before = users.get(block)
        if before in (group, _SHARED):
            continue
        now = users[block] = group if before is None else _SHARED
        if level == 0:
            leaves[block] = now
            continue
        level, ids = refs.decode(repository.refs_block(block), block)
        if level == 0:
            leaves[block] = now
        else:  # what no writer makes stands at a wrong level, and is told when it is read
            stack.extend((RefsId(one), level - 1) for one in ids)


def _ids(repository: Repository, block: RefsId) -> list[bytes]:
    """The chunks of a block of level 0; none if it cannot be read."""
    try:
        level, ids = refs.decode(repository.refs_block(block), block)
    except UNREADABLE as error:
        repository.tell_damage(f"The sizes leave out what {refs.name(block)} lists: {error}")
        return []
    return ids if level == 0 else []


def count_uses(repository: Repository) -> Counter[ChunkId]:
    """How often all living archives together use each chunk."""
    uses: Counter[ChunkId] = Counter()
    for state in repository.state.living():
        for _, ids in _lists(repository, state.id):
            uses.update(ChunkId(one) for one in ids)
    return uses


def _lists(repository: Repository, archive: ArchiveId) -> Iterator[tuple[RefsId, list[bytes]]]:
    """The blocks of level 0 with their chunk ids, as far as they can be read."""
    try:
        root = repository.refs_root(archive)
        most = repository.state.archives[archive].body.chunks
        for block, level, ids in refs.walk_blocks(root, repository.refs_block, most):
            if level == 0:
                yield block, ids
    except UNREADABLE as error:
        _leave_out(repository, archive, error)


def _leave_out(repository: Repository, archive: ArchiveId, error: Exception) -> None:
    repository.tell_damage(f"The sizes leave out what archive {archive.hex()} uses: {error}")


def stored_share(repository: Repository, chunk: ChunkId) -> int:
    """What a chunk takes in the repository: its share of its bundle."""
    return repository.index.shares([chunk])[0]
