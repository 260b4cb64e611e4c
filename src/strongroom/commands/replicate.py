"""Copy a repository to a second place, without any key: all objects that its log names, then the log.

The order makes the target a whole repository whenever the copying ends: a record is appended when
everything that it brings is there. Of a log that was shortened or forked nothing is carried over.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress

import msgspec

from strongroom.errors import (
    Damaged,
    LogBroken,
    LogRolledBack,
    NotAReplica,
    ObjectExists,
    ObjectMissing,
    StoreFailed,
)
from strongroom.ids import ArchiveId, IndexId, PackId, RefsId, last_part
from strongroom.reporting import Reporter
from strongroom.repository import archives, founding, log, packs, refs
from strongroom.repository.copying import Copier, Lost, fetch, listing
from strongroom.repository.log import ArchiveBody, FreeingBody, Record
from strongroom.repository.repository import Repository
from strongroom.store.protocol import Range, Store
from strongroom.store.stamp import unstamp

_PASSES = 3  # a `compact` at the source may free what we are about to read


class ReplicateResult(msgspec.Struct):
    records: int = 0  # appended to the target's log
    objects: int = 0  # copied besides
    bytes: int = 0  # of them
    behind: int = 0  # records that could not be carried over, for want of what they name
    lost: list[Lost] = []


def replicate(source: Repository, target: Store, reporter: Reporter) -> ReplicateResult:
    """Bring `target` up to the source's log. Nothing is removed there, whatever was freed here.

    An object that the source has lost or damaged holds back the record that brings it, and the later ones;
    all other objects are copied. Raises `NotAReplica`, `LogRolledBack`, `Cancelled`, and the stores' errors.
    """
    source.history.check_whole()
    result = ReplicateResult()
    for attempt in range(_PASSES):
        run = _Pass(source, target, reporter)
        run.go()
        result.records += run.records
        result.objects += run.copier.progress.files
        result.bytes += run.copier.progress.original
        result.lost = run.copier.lost
        result.behind = run.behind
        before = source.state.head
        if not result.lost or attempt == _PASSES - 1:
            break
        source.history.sync()
        if source.state.head == before:
            break
    return result


class _Pass:
    def __init__(self, source: Repository, target: Store, reporter: Reporter) -> None:
        self._source = source
        self._target = target
        self._reporter = reporter
        self.copier = Copier(source.store, target, reporter, "replicate")
        self.records = 0
        self.behind = 0
        self._waiting: list[bytes] = []  # records that are appended together
        self._first = 0  # the first of them
        self._owed: set[bytes] = set()  # what they name, and a later one frees

    def go(self) -> None:
        self._bring_config()
        self._head = self._compare_logs()
        self._present = listing(self._target)
        self._copy_keys()
        self._measure()
        try:
            for record, blob in self._log():
                complete = self._bring_objects(record)
                if record.seq <= self._head:
                    continue
                if self.behind or not complete:
                    self.behind += 1
                    continue
                self._queue(record, blob)
            self.behind += len(self._waiting)
        finally:
            self.copier.finished()

    # --- the two logs ---

    def _bring_config(self) -> None:
        ours = self._source.store.get(founding.NAME, 0, founding.MAX_SIZE)
        with suppress(ObjectExists):
            self._target.put(founding.NAME, [ours])
            return
        theirs = self._target.get(founding.NAME, 0, founding.MAX_SIZE)
        if founding.decode(theirs, self._target.describe())[0] != self._source.id:
            raise NotAReplica(
                f"{self._target.describe()} holds another repository than {self._source.store.describe()}: "
                "nothing was copied. Name an empty place, or the replica of this repository."
            )

    def _compare_logs(self) -> int:
        """How many records the target has: the first ones of the source's. Raises `LogRolledBack`."""
        count = 0
        for count, listed in enumerate(self._target.list("log/"), start=1):
            if listed.name != log.name(count):
                raise LogBroken(
                    f"{log.name(count)} is missing in {self._target.describe()}. Bring it back: "
                    f"strongroom repair --from {self._source.store.describe()} {self._target.describe()}"
                )
        known = self._source.state.head.seq
        common = min(count, known)
        if common and not self._same(common):
            low, high = 1, common  # records are chained: all before the first difference are the same
            while low < high:
                middle = (low + high) // 2
                if self._same(middle):
                    low = middle + 1
                else:
                    high = middle
            raise self._parted(low, "they differ in")
        if count > known:
            raise self._parted(known + 1, f"{self._source.store.describe()} ends before")
        return count

    def _same(self, seq: int) -> bool:
        name = log.name(seq)
        return unstamp(self._source.store.get(name))[0] == self._theirs(name)

    def _theirs(self, name: str) -> bytes:
        try:
            return unstamp(self._target.get(name))[0]
        except Damaged as error:
            raise LogBroken(
                f"{name} in {self._target.describe()} is damaged: {error}. Bring it back: "
                f"strongroom repair --from {self._source.store.describe()} {self._target.describe()}"
            ) from error

    def _parted(self, seq: int, how: str) -> LogRolledBack:
        return LogRolledBack(
            f"The logs of {self._source.store.describe()} and {self._target.describe()} part: {how} record "
            f"{seq}. One of them was rolled back or replaced, or somebody wrote to the replica. Nothing "
            "was copied, and the replica is as it was: find out which of the two is the true one."
        )

    def _log(self) -> Iterator[tuple[Record, bytes]]:
        """The source's records up to the head that was verified when it was opened."""
        source = self._source
        state = source.empty_log()
        last = source.state.head.seq
        names = (Range(log.name(seq)) for seq in range(1, last + 1))
        for stored in source.store.get_many(names):
            blob, stamp = unstamp(stored)
            # the chain ends in a head that is known: what leads to it needs no second signature check
            yield state.apply(blob, verified=True, stamp=stamp), blob
        if state.head != source.state.head:
            raise LogRolledBack(f"The log of {source.store.describe()} changed while it was copied.")

    def _queue(self, record: Record, blob: bytes) -> None:
        """Append the record, together with the next ones if it names what one of them frees."""
        self._first = self._first if self._waiting else record.seq
        self._waiting.append(blob)
        match record.body:
            case ArchiveBody(archive=archive, packs=data, indexes=index):
                self._owed |= self._absent([archive], data, index)
            case FreeingBody(archives=freed, packs=data, indexes=index, new_packs=new, new_indexes=new_index):
                self._owed |= self._absent([], new, new_index)
                self._owed -= {*log.split_ids(freed), *log.split_ids(data), *log.split_ids(index)}
        if not self._owed:
            self._append()

    def _absent(self, archive_ids: list[bytes], data: bytes, index: bytes) -> set[bytes]:
        """What was freed since, and never came to the target."""
        state = self._source.state
        gone = {one for one in archive_ids if one not in state.archives}
        gone |= {one for one in log.split_ids(data) if one not in state.packs}
        gone |= {one for one in log.split_ids(index) if one not in state.indexes}
        return gone

    def _append(self) -> None:
        blobs, self._waiting = self._waiting, []
        try:
            if len(blobs) == 1:
                self._target.append_record(log.name(self._first), blobs[0])
            else:
                self._target.append_records(log.name(self._first), blobs)
            self.records += len(blobs)
        except ObjectExists:  # by another `replicate` at the same time, or by a writer
            for seq, blob in enumerate(blobs, self._first):
                if self._theirs(log.name(seq)) != blob:
                    raise self._parted(seq, "they differ in") from None

    # --- what records bring ---

    def _copy_keys(self) -> None:
        names = [one.name for one in self._source.store.list("keys/")]
        self.copier.copy(self._missing(names))

    def _measure(self) -> None:
        wanted = [packs.name(pack) for pack in self._source.state.packs]
        missing = {name for name in wanted if name not in self._present}
        sizes = listing(self._source.store, ["packs/"]) if missing else {}
        self.copier.progress.total = sum(sizes.get(name, 0) for name in missing)

    def _missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self._present]

    def _bring_objects(self, record: Record) -> bool:
        match record.body:
            case ArchiveBody(archive=archive):
                return self._tables(record.body.packs, record.body.indexes) & self._archive(
                    ArchiveId(archive)
                )
            case FreeingBody():
                return self._tables(record.body.new_packs, record.body.new_indexes)
            case _:
                return True

    def _tables(self, pack_ids: bytes, index_ids: bytes) -> bool:
        """Packs and index objects, but for those that a later record freed."""
        state = self._source.state
        data = [packs.name(PackId(one)) for one in log.split_ids(pack_ids) if one in state.packs]
        index = [packs.index_name(IndexId(one)) for one in log.split_ids(index_ids) if one in state.indexes]
        return self.copier.copy(self._missing(data), small=False) & self.copier.copy(self._missing(index))

    def _archive(self, archive: ArchiveId) -> bool:
        """Refs from the bottom up, then the archive object: what is there has everything below it."""
        name = archives.name(archive)
        if archive not in self._source.state.archives or name in self._present:
            return True
        try:
            blob = fetch(self._source.store, name)
            levels = self._missing_refs(archives.decode(blob, archive)[0])
        except (Damaged, ObjectMissing, StoreFailed) as error:
            self.copier.lost.append(Lost(name, str(error)))
            return False
        for level in levels:
            if not self.copier.copy(level):
                return False
            self._present.update((one, 0) for one in level)
        self.copier.put(name, blob)
        return True

    def _missing_refs(self, root: RefsId) -> list[list[str]]:
        """Names of the blocks below `root` that the target lacks, a list a level, the lowest first."""
        found: list[list[str]] = []
        level = self._missing([refs.name(root)])
        while level:
            found.append(level)
            blobs = self._source.store.get_many(Range(name) for name in level)
            below: dict[str, None] = {}
            for name, blob in zip(level, blobs, strict=True):
                height, ids = refs.decode(blob, RefsId(last_part(name)))
                if height:
                    below.update((refs.name(RefsId(one)), None) for one in ids)
            if len(found) > refs.MAX_LEVEL + 1:
                raise Damaged(f"{refs.name(root)} has more levels than refs can have.")
            level = self._missing(below)
        return found[::-1]
