"""What is left of a log that lost some of its records: what the others add up to.

A record that cannot be read, or is not there, is passed over; the next one's word for it keeps the chain. One
that can be read and breaks a rule is tampering, as ever, unless what was lost may be why: then it is passed
over too. Nothing may be written on top of such a state.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from strongroom.crypto import hashing
from strongroom.errors import LogBroken, ObjectMissing, StoreFailed
from strongroom.repository import log
from strongroom.repository.log import Head, LogState
from strongroom.repository.mending import LOST
from strongroom.store.protocol import Range, Store
from strongroom.store.stamp import unstamp

_BATCH = 1024  # records
_MOST_LOST = 10_000  # one after the other: names alone must not keep anybody busy

Witness = Callable[[int], bytes | None]
"""A record's object as somebody else has it, by its number; it is believed nothing."""

Contradicts = Callable[[int, bytes], bool]
"""Whether the sound record of that number is another one than somebody saw."""

_Stored = tuple[bytes, int]  # a record, and when it arrived in ns


class Remains(msgspec.Struct):
    """`damaged` says why each of them is; of `known` a witness had the record; `unclear` are sound ones."""

    state: LogState
    damaged: dict[int, str] = {}
    known: dict[int, bytes] = {}
    unclear: dict[int, str] = {}

    @property
    def lost(self) -> list[int]:
        """Damaged ones that nobody has."""
        return [seq for seq in self.damaged if seq not in self.known]


def read_remains(
    store: Store, empty: LogState, witnesses: Sequence[Witness], contradicts: Contradicts
) -> Remains:
    """Raises `ForkSeen` where `contradicts` says so, `LogBroken`, and the store's errors."""
    return _Reader(store, empty, witnesses, contradicts).read()


class _Reader:
    def __init__(
        self, store: Store, empty: LogState, witnesses: Sequence[Witness], contradicts: Contradicts
    ) -> None:
        self._store = store
        self._state = empty
        self._witnesses = witnesses
        self._contradicts = contradicts
        self._gap = False  # the last record is lost, its hash with it
        self._result = Remains(empty)

    def read(self) -> Remains:
        pending: list[int] = []
        for seq, stored in self._records():
            if stored is None:
                pending.append(seq)
                if len(pending) > _MOST_LOST:
                    raise LogBroken(f"More than {_MOST_LOST} records are lost before {log.name(seq)}.")
                continue
            blob, stamp = stored
            if self._contradicts(seq, blob):
                raise ForkSeen(seq)
            previous = log.decode(blob, seq).previous
            self._settle(pending, previous)
            pending = []
            self._take(seq, blob, previous, stamp)
        self._settle(pending, None)
        return self._result

    def _records(self) -> Iterator[tuple[int, _Stored | None]]:
        """All up to the newest name; None for those that are lost."""
        names = [one.name for one in self._store.list("log/")]
        expected = log.FIRST_SEQ
        for start in range(0, len(names), _BATCH):
            for name, stored in self._objects(names[start : start + _BATCH]):
                seq = log.seq_of(name)
                while expected < seq:
                    self._result.damaged[expected] = "is missing, while later ones are there"
                    yield expected, None
                    expected += 1
                expected = seq + 1
                try:
                    yield seq, unstamp(stored())
                except LOST as error:
                    self._result.damaged[seq] = f"cannot be read: {error}"
                    yield seq, None

    def _objects(self, names: list[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        try:
            found = list(self._store.get_many(Range(name) for name in names))
        except (ObjectMissing, StoreFailed):  # which one? each by itself
            for name in names:
                yield name, lambda name=name: self._store.get(name)  # type: ignore[misc]
            return
        for name, one in zip(names, found, strict=True):
            yield name, lambda one=one: one  # type: ignore[misc]

    def _settle(self, pending: list[int], previous: bytes | None) -> None:
        """Records that are lost: whoever saw them tells. `previous` is the hash of the last of them."""
        proven: dict[int, _Stored] = {}
        for seq in reversed(pending):
            found = next((one for one in self._heard(seq) if _is(one[0], previous)), None)
            previous = None
            if found is not None:
                proven[seq] = found
                previous = log.decode(found[0], seq).previous
        for seq in pending:
            some = [proven[seq]] if seq in proven else list(self._heard(seq)) if not self._gap else []
            if not any(self._take_witnessed(seq, *one) for one in some):
                self._lose(seq)

    def _heard(self, seq: int) -> Iterator[_Stored]:
        for witness in self._witnesses:
            told = witness(seq)
            try:
                if told is not None:
                    yield unstamp(told)
            except LOST:
                continue

    def _take_witnessed(self, seq: int, blob: bytes, stamp: int) -> bool:
        try:
            self._apply(seq, blob, log.decode(blob, seq).previous, stamp)
        except LogBroken:
            return False
        self._result.known[seq] = blob
        return True

    def _take(self, seq: int, blob: bytes, previous: bytes, stamp: int) -> None:
        follows = self._gap or self._state.head.hash == previous
        try:
            self._apply(seq, blob, previous, stamp)
        except LogBroken as error:
            if not follows or not (self._result.lost or self._result.unclear):
                raise
            self._result.unclear[seq] = str(error)
            self._state.head = Head(seq, hashing.plain_hash(blob))
            self._gap = False

    def _apply(self, seq: int, blob: bytes, previous: bytes, stamp: int) -> None:
        before = self._state.head
        if self._gap:
            self._state.head = Head(seq - 1, previous)
        try:
            self._state.apply(blob, stamp=stamp)
        except LogBroken:
            self._state.head = before
            raise
        self._gap = False

    def _lose(self, seq: int) -> None:
        if seq == log.FIRST_SEQ:
            self._state.assume_founder()
        self._state.head = Head(seq)
        self._gap = True


class ForkSeen(LogBroken):
    """A sound record is another one than somebody saw."""

    def __init__(self, seq: int) -> None:
        super().__init__(f"{log.name(seq)} is another record than the one that was seen before.")
        self.seq = seq


def _is(blob: bytes, expected: bytes | None) -> bool:
    return expected is not None and hashing.plain_hash(blob) == expected


def differs(told: bytes | None, blob: bytes) -> bool:
    """Whether a witness tells of another record; what is unreadable tells nothing."""
    try:
        return told is not None and unstamp(told)[0] != blob
    except LOST:
        return False
