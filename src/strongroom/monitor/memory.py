"""What this machine remembers of a repository, without trusting the repository: for an audit.

The cache keeps the records that were verified here, the security folder the newest head and when the
last sound audit was. Nothing is kept of an audit that found the log unsound.
"""

from pathlib import Path

import msgspec

from strongroom.errors import Damaged
from strongroom.ids import RepositoryId
from strongroom.repository.cache import Cache
from strongroom.repository.founding import Founding
from strongroom.repository.history import SecurityFolder
from strongroom.repository.log import Head, LogState
from strongroom.store.stamp import stamp, unstamp

_LAST = "audit"  # in the security folder


class LastAudit(msgspec.Struct):
    """The last one that found no tampering and no loss."""

    seq: int
    time: int  # ns
    hashed: bool  # packs too


_last_audit = msgspec.json.Decoder(LastAudit)


class Memory:
    """Of one repository. To be closed."""

    def __init__(
        self, cache_base: Path, security_base: Path, repository: RepositoryId, founding: Founding
    ) -> None:
        self.cache = Cache(cache_base, repository)
        self.security = SecurityFolder(security_base, repository)
        self.problem: str | None = None
        self.head = Head()
        self.records: dict[int, bytes] = {}
        try:
            self.head = self.security.head()
            self.records = self._records(LogState(repository, founding.admin_public))
        except Damaged as error:  # of ours: the store is judged without it
            self.problem = str(error)

    def _records(self, state: LogState) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        with self.cache.reading("log") as txn:
            for _, value in txn.cursor():
                try:
                    blob, arrived = unstamp(bytes(value))
                    found[state.apply(blob, verified=True, stamp=arrived).seq] = blob
                except Damaged as error:
                    raise Damaged(f"The cached log in {self.cache.path} is damaged: {error}") from error
        return found

    def last_audit(self) -> LastAudit | None:
        text = self.security.read(_LAST)
        try:
            return None if text is None else _last_audit.decode(text)
        except (msgspec.MsgspecError, UnicodeEncodeError):
            return None

    def remember_log(self, head: Head, fresh: dict[int, bytes], stamps: dict[int, int]) -> None:
        """A log that is sound and continues what was known; `stamps` tell when records arrived, in ns."""
        if fresh:
            with self.cache.writing("log") as txn:
                for seq, blob in fresh.items():
                    txn.put(seq.to_bytes(8, "big"), stamp(blob, stamps[seq]))
        if head.seq > self.head.seq:
            self.security.remember_head(head)

    def remember_audit(self, last: LastAudit) -> None:
        self.security.write(_LAST, msgspec.json.encode(last) + b"\n")

    def close(self) -> None:
        self.cache.close()
