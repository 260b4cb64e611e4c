"""What a server checks before it takes a log record: it continues the chain, and its signer may sign it."""

from threading import Lock

from strongroom.errors import LogBroken, NotARepository, ObjectExists, ObjectMissing
from strongroom.ids import ArchiveId, IndexId, PackId
from strongroom.repository import founding, log, packs
from strongroom.repository.archives import name as archive_name
from strongroom.repository.log import ArchiveBody, LogState
from strongroom.store.local import LocalStore
from strongroom.store.stamp import unstamp


class LogGuard:
    """Follows the log of one repository. `lock` is to be held from `check` until the record is stored."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._state: LogState | None = None
        self.lock = Lock()

    def check(self, name: str, record: bytes) -> None:
        """Raises `ObjectExists` if another writer was first, `LogBroken` if the record may not come next."""
        state = self._state
        if state is None:
            state = self._state = self._found()
        self._catch_up(state)
        expected = log.name(state.head.seq + 1)
        if name < expected:
            raise ObjectExists(f"{name} exists already; the next record is {expected}")
        if name > expected:
            raise LogBroken(f"{name} leaves a gap: the next record is {expected}")
        # From here on the state is ahead of the store; only `stored` makes it good again.
        self._state = None
        taken = state.apply(record)
        if isinstance(taken.body, ArchiveBody):
            self._check_present(taken.body)
        self._ahead = state

    def stored(self) -> None:
        """The record that `check` let pass is in the store."""
        self._state = self._ahead

    def _found(self) -> LogState:
        try:
            blob = self._store.get(founding.NAME, 0, founding.MAX_SIZE + 1)
        except ObjectMissing:
            raise NotARepository("the repository has no config yet: that comes before its log") from None
        repository, document = founding.decode(blob, self._store.describe())
        return LogState(repository, document.admin_public)

    def _catch_up(self, state: LogState) -> None:
        # Signatures were verified when each record came; clients verify them again.
        while True:
            try:
                stored = self._store.get(log.name(state.head.seq + 1))
            except ObjectMissing:
                return
            state.apply(unstamp(stored)[0], verified=True)

    def _check_present(self, body: ArchiveBody) -> None:
        """A record must not name what never arrived."""
        names = [archive_name(ArchiveId(body.archive))]
        names += [packs.name(PackId(one)) for one in log.split_ids(body.packs)]
        names += [packs.index_name(IndexId(one)) for one in log.split_ids(body.indexes)]
        for name in names:
            try:
                self._store.size(name)
            except ObjectMissing:
                raise LogBroken(f"the record names {name}, which is not in the repository") from None
