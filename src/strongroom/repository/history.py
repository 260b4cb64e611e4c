"""Bringing the log up to date, and remembering what was seen of it.

The cache keeps verified records, so that only new ones are fetched. The security folder
keeps the newest head, so that a repository that was rolled back is refused even after the
cache is lost.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from strongroom.crypto import hashing
from strongroom.errors import CacheFull, Damaged, LogBroken, LogRolledBack, ObjectMissing, VersionUnknown
from strongroom.ids import ArchiveId, PackId, RepositoryId
from strongroom.repository import log
from strongroom.repository.cache import Cache
from strongroom.repository.log import Head, LogState, Record
from strongroom.repository.places import replace_file
from strongroom.store.disk import sync_folder
from strongroom.store.protocol import Range, Store
from strongroom.store.stamp import unstamp

ADVICE = "`strongroom repair` brings it back on a machine that has read it before, or from a copy by --from."
_PROBES = 4  # records fetched one by one before the whole log is listed


class _SeenHead(msgspec.Struct):
    seq: int
    hash: str  # hex


_seen_head = msgspec.json.Decoder(_SeenHead)


class SecurityFolder:
    """What this machine remembers of one repository: files of mode 0600 in a folder of 0700."""

    def __init__(self, base: Path, repository: RepositoryId) -> None:
        self.path = base / repository.hex()

    def head(self) -> Head:
        """The newest head seen. Raises `Damaged` if the file is unreadable rubbish."""
        try:
            raw = (self.path / "head").read_bytes()
        except FileNotFoundError:
            return Head()
        try:
            seen = _seen_head.decode(raw)
            return Head(seen.seq, bytes.fromhex(seen.hash))
        except (msgspec.MsgspecError, ValueError) as error:
            raise Damaged(
                f"{self.path / 'head'} is damaged. Compare the repository with another copy, "
                "then remove the file."
            ) from error

    def remember_head(self, head: Head) -> None:
        self.write("head", msgspec.json.encode(_SeenHead(head.seq, head.hash.hex())) + b"\n")

    def read(self, name: str) -> str | None:
        try:
            return (self.path / name).read_text("utf-8", "surrogateescape")
        except FileNotFoundError:
            return None

    def is_replica(self, location: str) -> bool:
        """Whether this machine copied the repository to that place."""
        return location in (self.read("replicas") or "").splitlines()

    def remember_replica(self, location: str) -> None:
        known = (self.read("replicas") or "").splitlines()
        if location not in known:
            lines = "".join(f"{one}\n" for one in [*known, location])
            self.write("replicas", lines.encode("utf-8", "surrogateescape"))
            # who needs the copy, after a crash, is not to be asked whether it is one
            sync_folder(str(self.path))

    def forget_replica(self, location: str) -> None:
        known = (self.read("replicas") or "").splitlines()
        lines = "".join(f"{one}\n" for one in known if one != location)
        self.write("replicas", lines.encode("utf-8", "surrogateescape"))

    def write(self, name: str, content: bytes) -> None:
        """Atomically: a temporary name, fsync, rename."""
        replace_file(self.path / name, content)


def _record(name: str, stored: bytes) -> tuple[bytes, int]:
    """Out of the store's envelope, and its stamp. Raises `LogBroken`."""
    try:
        return unstamp(stored)
    except Damaged as error:
        raise LogBroken(f"{name} is damaged ({error}). {ADVICE}") from error


class History:
    """The log of one repository as this machine knows it."""

    def __init__(
        self, store: Store, cache: Cache, security: SecurityFolder, empty: Callable[[], LogState]
    ) -> None:
        self._store = store
        self._cache = cache
        self._security = security
        self._seen = security.head()
        self._unkept: list[tuple[int, bytes]] = []
        self.unremembered: CacheFull | None = None  # why this machine keeps no memory of what `sync` saw
        self.state = empty()
        try:
            self._load_cached()
        except (Damaged, VersionUnknown):  # the cache is what broke: the store's log is verified anew
            with cache.writing("log") as txn:
                txn.drop(cache.dbs["log"], delete=False)
            self.state = empty()

    def _load_cached(self) -> None:
        with self._cache.reading("log") as txn:
            for _, stored in txn.cursor():
                blob, stamp = unstamp(bytes(stored))
                self.state.apply(blob, verified=True, stamp=stamp)
                self._compare_with_seen()

    def sync(self) -> None:
        """Fetch, verify and keep the records since the last time.

        A full disk of this machine is told in `unremembered`: who only reads may go on.
        Raises `LogRolledBack`, `LogBroken`, and the store's errors.
        """
        self._check_known_head()
        fresh = self._fetch()
        if self.state.head.seq < self._seen.seq:
            raise self._rolled_back(self.state.head.seq + 1)
        self._keep_if_there_is_room(fresh)

    def _keep_if_there_is_room(self, fresh: list[tuple[int, bytes]]) -> None:
        try:
            self._keep(fresh)
        except CacheFull as error:
            self.forgo_memory(error)

    def forgo_memory(self, why: CacheFull) -> None:
        """This machine has no room to keep what was seen."""
        self.unremembered = CacheFull(
            f"No space left on this machine to remember the newest state of {self._store.describe()}: {why}"
        )

    def check_may_append(self) -> None:
        """Raises `CacheFull` if what was seen could not be kept: nothing is written on top of that."""
        if self.unremembered is not None:
            raise self.unremembered

    def check_whole(self) -> None:
        """Raises `LogBroken` if what is known of the log has gaps."""

    def unnamed_packs(self) -> list[PackId]:
        """Packs whose record is lost, as far as anybody can tell: what others rest on may lie there."""
        return []

    def unnamed_archives(self) -> list[ArchiveId]:
        """Archive objects whose record is lost, or was never written."""
        return []

    def _fetch(self) -> list[tuple[int, bytes]]:
        """Take in the records that the store has more; returns their numbers and objects."""
        fresh: list[tuple[int, bytes]] = []
        while True:
            batch = self._next_records(probe=len(fresh) < _PROBES and self.state.head.seq > 0)
            if not batch:
                return fresh
            for name, stored in batch:
                blob, stamp = _record(name, stored)
                record = self.state.apply(blob, stamp=stamp)
                self._compare_with_seen()
                fresh.append((record.seq, stored))

    def _check_known_head(self) -> None:
        seq = self.state.head.seq
        if not seq:
            return
        try:
            blob, _ = _record(log.name(seq), self._store.get(log.name(seq)))
        except ObjectMissing:
            raise self._rolled_back(self._first_difference()) from None
        if hashing.plain_hash(blob) != self.state.head.hash:
            raise self._rolled_back(self._first_difference())

    def _next_records(self, *, probe: bool) -> list[tuple[str, bytes]]:
        """Names and objects, as stored."""
        after = self.state.head.seq
        if probe:
            try:
                name = log.name(after + 1)
                return [(name, self._store.get(name))]
            except ObjectMissing:
                return []
        names = [one.name for one in self._store.list("log/")]
        wanted = [name for name in names if name > log.name(after)]
        for offset, name in enumerate(wanted, start=1):
            if name != log.name(after + offset):
                raise LogBroken(
                    f"{log.name(after + offset)} is missing, while {name} is there: the log has a hole. "
                    f"{ADVICE}"
                )
        blobs = self._store.get_many(Range(name) for name in wanted)
        return list(zip(wanted, blobs, strict=True))

    def _compare_with_seen(self) -> None:
        if self.state.head.seq == self._seen.seq and self.state.head.hash != self._seen.hash:
            raise self._rolled_back(self.state.head.seq)

    def _first_difference(self) -> int:
        """The first record in which the store's log is not the one that we know."""
        with self._cache.reading("log") as txn:
            for key, known in txn.cursor():
                seq = int.from_bytes(key, "big")
                try:
                    if unstamp(self._store.get(log.name(seq)))[0] != unstamp(bytes(known))[0]:
                        return seq
                except (ObjectMissing, Damaged):
                    return seq
        return self.state.head.seq

    def _rolled_back(self, seq: int) -> LogRolledBack:
        return LogRolledBack(
            f"The log of {self._store.describe()} does not continue what this machine has seen: they part at "
            f"record {seq}, of {max(self._seen.seq, self.state.head.seq)} seen. The repository was rolled "
            "back or replaced. Do not write to it: compare it with a second copy. (To read a copy that "
            "`replicate` left behind the original, name the original, and the copy by --fallback.)"
        )

    def _keep(self, fresh: list[tuple[int, bytes]]) -> None:
        self._unkept += fresh
        if self._unkept:
            with self._cache.writing("log") as txn:
                for seq, stored in self._unkept:
                    txn.put(seq.to_bytes(8, "big"), stored)
            self._unkept = []
        if self.state.head.seq > self._seen.seq:
            self._security.remember_head(self.state.head)
            self._seen = self.state.head

    def appended(self, stored: bytes) -> Record:
        """Take in a record that this process has just appended, as the store keeps it.

        What was done is done: a full disk of this machine is told in `unremembered`.
        """
        blob, stamp = unstamp(stored)
        record = self.state.apply(blob, verified=True, stamp=stamp)
        self._keep_if_there_is_room([(record.seq, stored)])
        return record
