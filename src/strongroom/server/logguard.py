"""What a server checks before it takes a log record: it continues the chain, and its signer may sign it."""

from collections.abc import Sequence
from threading import Lock

from strongroom.errors import Damaged, LogBroken, NotARepository, ObjectExists, ObjectMissing, StoreRefused
from strongroom.ids import ArchiveId, IndexId, PackId
from strongroom.repository import founding, log, mending
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

    def check(self, name: str, records: Sequence[bytes]) -> list[str]:
        """The kinds of records that follow one another, the first under `name`.

        An earlier one may name what a later one frees: so a log comes to a copy that never had those objects.
        Raises `ObjectExists` if another writer was first, `LogBroken` if they may not come next.
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
        taken = [state.apply(record) for record in records]
        for one in taken:
            self._check_present(one.body, state)
        self._ahead = state
        return [one.kind for one in taken]

    def check_mending(self, name: str, record: bytes, *, trusted: bool) -> None:
        """Whether the record stood under that name, where what is there is damaged or missing.

        Raises `LogBroken` if not, and `StoreRefused` where nobody can tell and the client is not `trusted`.
        """
        seq = log.seq_of(name)
        match mending.stood_there(self._store, seq, record):
            case True:
                return
            case False:
                raise LogBroken(f"{name} was another record: the next one says so")
            case None if not trusted:
                raise StoreRefused(
                    "it is too damaged to tell what it was, and nothing sound comes behind it: run "
                    "`strongroom repair` on the server"
                )
        state = self._found()
        self._catch_up(state, before=seq)
        state.apply(record)

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

    def _catch_up(self, state: LogState, before: int | None = None) -> None:
        # Signatures were verified when each record came; clients verify them again.
        while state.head.seq + 1 != before:
            try:
                stored = self._store.get(log.name(state.head.seq + 1))
            except ObjectMissing:
                return
            try:
                record, stamp = unstamp(stored)
            except Damaged as error:
                name = log.name(state.head.seq + 1)
                raise LogBroken(
                    f"{name} is damaged ({error}): nothing can be appended before `strongroom repair` has "
                    "healed it."
                ) from error
            state.apply(record, verified=True, stamp=stamp)

    def _check_present(self, body: Body, state: LogState) -> None:
        """A record must not name what never arrived, unless it is freed already."""
        match body:
            case ArchiveBody():
                archive = ArchiveId(body.archive)
                names = [archive_name(archive)] if archive not in state.freed_archives else []
                packs, indexes = body.packs, body.indexes
            case FreeingBody():
                names, packs, indexes = [], body.new_packs, body.new_indexes
            case _:
                return
        names += [pack_name(PackId(one)) for one in log.split_ids(packs) if one not in state.freed_packs]
        names += [
            index_name(IndexId(one)) for one in log.split_ids(indexes) if one not in state.freed_indexes
        ]
        for name in names:
            try:
                self._store.size(name)
            except ObjectMissing:
                raise LogBroken(f"the record names {name}, which is not in the repository") from None
