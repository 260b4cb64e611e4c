"""The log of a copy: it may end before what this machine has seen, but never say anything else."""

from collections.abc import Callable

from strongroom.repository.cache import Cache
from strongroom.repository.history import History, SecurityFolder
from strongroom.repository.log import LogState
from strongroom.store.protocol import Store
from strongroom.store.stamp import unstamp


class LaggingHistory(History):
    """For reading a replica. It is verified whole each time; what this machine remembers stays as it is."""

    def __init__(
        self, store: Store, cache: Cache, security: SecurityFolder, empty: Callable[[], LogState]
    ) -> None:
        super().__init__(store, cache, security, empty)
        self.state = empty()
        self._records: list[tuple[int, bytes]] = []

    def sync(self) -> None:
        """Raises `LogRolledBack` for a fork, `LogBroken`, and the store's errors."""
        fresh = self._fetch()
        for seq, stored in fresh:
            known = self._cache.record(seq)
            if known is not None and unstamp(known)[0] != unstamp(stored)[0]:
                raise self._rolled_back(seq)
        self._records += fresh

    @property
    def behind(self) -> int:
        """How many records that this machine has seen the copy lacks."""
        return max(0, self._seen.seq - self.state.head.seq)

    def promote(self) -> None:
        """From here on the copy is the repository: what this machine knew beyond it is forgotten."""
        with self._cache.writing("log") as txn:
            txn.drop(self._cache.dbs["log"], delete=False)
        self._security.remember_head(self.state.head)
        self._keep(self._records)
