"""The log as its store has it, without a cache: for a server's owner, who reads it in place."""

import time
from collections.abc import Callable

from strongroom.errors import Damaged, LogBroken, ObjectExists, ObjectMissing
from strongroom.ids import RepositoryId
from strongroom.repository import log
from strongroom.repository.log import Body, Kind, LogState, Record, Signer
from strongroom.store.protocol import Store
from strongroom.store.stamp import unstamp

_TRIES = 1000


class StoreLog:
    """Every record is verified. `signer` is needed for `commit` only."""

    def __init__(
        self, store: Store, repository: RepositoryId, admin_public: bytes, signer: Signer | None = None
    ) -> None:
        """Raises `LogBroken`, `VersionUnknown`, and the store's errors."""
        self._store = store
        self._signer = signer
        self.state = LogState(repository, admin_public)
        self.sync()

    def sync(self) -> None:
        while True:
            name = log.name(self.state.head.seq + 1)
            try:
                stored = self._store.get(name)
            except ObjectMissing:
                return
            self._apply(name, stored)

    def _apply(self, name: str, stored: bytes) -> Record:
        try:
            blob, stamp = unstamp(stored)
        except Damaged as error:
            raise LogBroken(f"{name} is damaged: {error}") from error
        return self.state.apply(blob, stamp=stamp)

    def commit(self, kind: Kind, make_body: Callable[[LogState], Body]) -> Record:
        """As `Repository.commit`. Raises `RoleInsufficient`, and what `make_body` raises."""
        assert self._signer is not None, "opened for reading"
        for _ in range(_TRIES):
            self.state.check_may_sign(kind, self._signer.key_id())
            blob = log.sign(self.state, kind, make_body(self.state), self._signer, time.time_ns())
            name = log.name(self.state.head.seq + 1)
            try:
                return self._apply(name, self._store.append_record(name, blob))
            except ObjectExists:
                self.sync()
        raise ObjectExists(f"{self._store.describe()} is too busy: another writer was always faster.")
