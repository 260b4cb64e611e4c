"""What a server checks before it takes a log record: it continues the chain, and its signer may sign it."""

from threading import Lock

from strongroom.errors import LogBroken, NotARepository, ObjectExists, ObjectMissing
from strongroom.ids import ArchiveId, IndexId, PackId
from strongroom.repository import founding, log
from strongroom.repository.archives import name as archive_name
from strongroom.repository.log import ArchiveBody, Body, FreeingBody, LogState
from strongroom.repository.packs import index_name
from strongroom.repository.packs import name as pack_name
from strongroom.store.local import LocalStore
from strongroom.store.stamp import unstamp


class LogGuard:
    """Follows the log of one repository. `lock` is to be held from `check` until the record is stored."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._state: LogState | None = None
        self.lock = Lock()

    def check(self, name: str, record: bytes) -> str:
        """The record's kind.

        Raises `ObjectExists` if another writer was first, `LogBroken` if the record may not come next.
        """
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
        self._check_present(taken.body)
        self._ahead = state
        return taken.kind

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
            record, stamp = unstamp(stored)
            state.apply(record, verified=True, stamp=stamp)

    def _check_present(self, body: Body) -> None:
        """A record must not name what never arrived."""
        match body:
            case ArchiveBody():
                names, packs, indexes = [archive_name(ArchiveId(body.archive))], body.packs, body.indexes
            case FreeingBody():
                names, packs, indexes = [], body.new_packs, body.new_indexes
            case _:
                return
        names += [pack_name(PackId(one)) for one in log.split_ids(packs)]
        names += [index_name(IndexId(one)) for one in log.split_ids(indexes)]
        for name in names:
            try:
                self._store.size(name)
            except ObjectMissing:
                raise LogBroken(f"the record names {name}, which is not in the repository") from None
