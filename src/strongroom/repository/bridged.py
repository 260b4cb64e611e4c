"""The log of a repository that lost records, for reading what is left: it tells what is not known."""

from collections.abc import Callable, Iterable

from strongroom.crypto import hashing
from strongroom.errors import LogBroken
from strongroom.ids import ArchiveId, PackId
from strongroom.repository import archives, log, packs
from strongroom.repository.cache import Cache
from strongroom.repository.history import ADVICE, History, SecurityFolder
from strongroom.repository.log import LogState
from strongroom.repository.remains import ForkSeen, Remains, differs, read_remains
from strongroom.store.protocol import Listed, Store

_NAMED = 5


class BridgedHistory(History):
    """Read whole each time, and nothing of it is remembered. Lost records come from this machine's cache."""

    def __init__(
        self, store: Store, cache: Cache, security: SecurityFolder, empty: Callable[[], LogState]
    ) -> None:
        super().__init__(store, cache, security, empty)
        self._empty = empty
        self.remains = Remains(self.state)

    def sync(self) -> None:
        """Raises `LogRolledBack` for a fork or a shorter log, `LogBroken`, and the store's errors."""
        try:
            self.remains = read_remains(self._store, self._empty(), [self._cache.record], self._contradicts)
        except ForkSeen as error:
            raise self._rolled_back(error.seq) from None
        self.state = self.remains.state
        if self.state.head.seq < self._seen.seq:
            raise self._rolled_back(self.state.head.seq + 1)

    def _contradicts(self, seq: int, blob: bytes) -> bool:
        other_head = seq == self._seen.seq and hashing.plain_hash(blob) != self._seen.hash
        return other_head or differs(self._cache.record(seq), blob)

    def check_may_append(self) -> None:
        self.check_whole()

    def check_whole(self) -> None:
        raise LogBroken(
            f"{self._cannot_read(self.remains.damaged)}: nothing is written before that is healed. {ADVICE}"
        )

    def unnamed_packs(self) -> list[PackId]:
        found = (packs.id_of(one.name) for one in self._stored("packs/"))
        return [one for one in found if one is not None and one not in self.state.packs]

    def unnamed_archives(self) -> list[ArchiveId]:
        known = self.state.archives.keys() | self.state.freed_archives.keys()
        found = (archives.id_of(one.name) for one in self._stored("archives/"))
        return [one for one in found if one is not None and one not in known]

    def _stored(self, folder: str) -> Iterable[Listed]:
        return self._store.list(folder) if self.remains.lost else ()

    def warnings(self) -> list[str]:
        """Sentences for whoever reads on."""
        remains = self.remains
        told = []
        if remains.known:
            told.append(
                f"{self._cannot_read(remains.known)}. This machine knows what was there; `strongroom repair` "
                "brings it back for all others."
            )
        if remains.lost:
            told.append(
                f"{self._cannot_read(remains.lost)}, and what was there is not known: an archive may be "
                "missing, one that was deleted be shown, or a key that was revoked be trusted. Nothing but "
                f"reading goes on. {ADVICE}"
            )
        if remains.unclear:
            told.append(f"{self._cannot_read(remains.unclear)}: without what is lost it makes no sense.")
        return told

    def _cannot_read(self, numbers: Iterable[int]) -> str:
        names = [log.name(seq) for seq in numbers]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"{', '.join(names[:_NAMED])}{more} of {self._store.describe()} cannot be read"
