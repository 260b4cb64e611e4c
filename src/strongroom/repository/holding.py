"""What archives hold that live: no `compact` frees it before they are deleted.

For input that cannot be read twice. A chunk or a block of refs that only dead archives hold, or none, may
be freed at any time: whoever rests on it must be able to store it again. See
docs/decisions/0012-input-that-comes-once.md.
"""

import contextlib

from strongroom.errors import Damaged, ObjectMissing
from strongroom.ids import ID_SIZE, RefsId
from strongroom.repository.index import ChunkIndex
from strongroom.repository.liveness import Liveness, blocks_of
from strongroom.repository.log import LogState
from strongroom.store.protocol import Store


class Held:
    """Reads the refs of living archives as far as they are needed, newest first: often one will do.

    What this machine has stored itself and not committed yet counts as held, too.
    """

    def __init__(self, store: Store, state: LogState, index: ChunkIndex) -> None:
        newest_first = sorted(state.living(), key=lambda one: one.seq, reverse=True)
        self._left = iter(newest_first)
        dead = [one for one in state.archives.values() if one.deleted is not None]
        # now: who frees them removes what says which these are
        self._doomed = blocks_of(store, dead, blocks_of(store, newest_first, set())) if dead else set()
        pending = [bundle.chunks for table in index.pending() for bundle in table.bundles]
        chunks = sum(one.body.new_chunks for one in newest_first) + sum(map(len, pending)) // ID_SIZE
        self._liveness = Liveness(store, chunks)
        for joined in pending:
            self._liveness.chunks.add_all(joined)
        self._ours: set[bytes] = set()  # asked for in vain, and stored by this run since

    def relies_on(self, chunk: bytes) -> bool:
        """Whether the chunk, which is stored, may be used. If not, the caller stores it, and may next time.

        Raises the store's errors.
        """
        if self._holds(chunk):
            return True
        self._ours.add(chunk)
        return False

    def holds(self, joined: bytes) -> bool:
        """Whether all these chunks (ids, concatenated) may be used. Raises the store's errors."""
        return all(self._holds(joined[at : at + ID_SIZE]) for at in range(0, len(joined), ID_SIZE))

    def _holds(self, chunk: bytes) -> bool:
        while chunk not in self._ours and not self._liveness.chunks.any_of(chunk):
            archive = next(self._left, None)
            if archive is None:
                return False
            # one that cannot be read holds nothing for us
            with contextlib.suppress(Damaged, ObjectMissing):
                self._liveness.add(archive)
        return True

    def is_doomed(self, block: RefsId) -> bool:
        """Whether dead archives alone have that block of refs: another name must be found for it."""
        return block in self._doomed
