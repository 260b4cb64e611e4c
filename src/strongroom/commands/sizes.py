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
from strongroom.repository.index import UNREADABLE
from strongroom.repository.log import ArchiveState
from strongroom.repository.repository import Repository

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
        return sum(stored_share(self._repository, ChunkId(one)) for one in ids)


def unique_size(repository: Repository, states: Collection[ArchiveState]) -> int:
    """Bytes that no other living archive uses: what deleting these would free in the end."""
    return sum(stored_share(repository, ChunkId(chunk)) for chunk in own_chunks(repository, states))


def own_chunks(repository: Repository, states: Collection[ArchiveState]) -> set[bytes]:
    """The chunks that no other living archive uses."""
    chosen = {state.id for state in states}
    others = {other.id for other in repository.state.living()} - chosen
    return chunks_beyond(repository, chosen, others)


def chunks_beyond(
    repository: Repository, chosen: Collection[ArchiveId], others: Collection[ArchiveId]
) -> set[bytes]:
    """The chunks that some of `chosen` uses and none of `others`."""
    known = {block for other in others for block, _ in _lists(repository, other)}
    own = {
        chunk
        for archive in chosen
        for block, ids in _lists(repository, archive)
        if block not in known
        for chunk in ids
    }
    for block in known:
        if not own:
            break
        _, ids = refs.decode(repository.refs_block(block), block)
        own.difference_update(ids)
    return own


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
    place = repository.index.get(chunk)
    return 0 if place is None else place.bundle.length // max(1, len(place.bundle.chunks) // len(chunk))
