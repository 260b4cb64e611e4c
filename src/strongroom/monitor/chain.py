"""The log, verified from its first record on, and further than any other reader goes.

Where ordinary commands stop at the first record that breaks a rule, this names it, bridges it and
goes on: by the copy that this machine verified before, or by what the next record says of it. The
state that comes out is what the sound records add up to.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from strongroom.crypto import hashing
from strongroom.errors import Damaged, LogBroken, ObjectMissing, VersionUnknown
from strongroom.monitor.findings import Comparison, Finding, Findings, Severity
from strongroom.monitor.heads import head_text
from strongroom.monitor.words import at, key_name, listed, record_words
from strongroom.repository import log
from strongroom.repository.log import Head, LogState, Record
from strongroom.store import stamp
from strongroom.store.protocol import Range, Store

_BATCH = 1024  # records
_NAME = re.compile(r"log/(\d{20})")
_MOST = stamp.MAX_RECORD + 1024  # bytes of a stored record: more is none


class Chain(msgspec.Struct):
    """`stored` has the hash of each record that the store shows, `stamps` the store's clock, in ns."""

    state: LogState
    head: Head = msgspec.field(default_factory=Head)  # the last record up to which all is sound
    stored: dict[int, bytes] = {}
    stamps: dict[int, int] = {}
    records: dict[int, Record] = {}  # those that `state` took in
    comparisons: list[Comparison] = []

    @property
    def last(self) -> int:
        return max(self.stored, default=0)


class ChainReader:
    """`known` are the records that this machine verified before, by their number."""

    def __init__(self, store: Store, empty: LogState, known: Mapping[int, bytes], findings: Findings) -> None:
        self._store = store
        self._known = known
        self._findings = findings
        self._chain = Chain(empty)
        self._broken = False
        self._forked = False
        self.fresh: dict[int, bytes] = {}  # sound records that this machine had not seen

    def read(self) -> Chain:
        """Raises the store's errors, `ObjectMissing` excepted."""
        for seq, obj in self._objects():
            self._missing_before(seq)
            blob = self._unwrap(seq, obj)
            if blob is None:
                self._bridge(seq)
                continue
            self._chain.stored[seq] = hashing.plain_hash(blob)
            self._compare_with_known(seq, blob)
            self._take(seq, blob)
        self._missing_behind()
        return self._chain

    def compare(self, observer: str, head: Head) -> None:
        """Against a head that somebody saw; to be called after `read`."""
        chain = self._chain
        agrees = not head.seq or chain.stored.get(head.seq) == head.hash
        chain.comparisons.append(Comparison(observer, head, agrees))
        if agrees:
            return
        if head.seq > chain.last:
            missing = f"{chain.last + 1} to {head.seq}" if head.seq > chain.last + 1 else f"{head.seq}"
            if chain.last + 1 in self._known:
                return  # told by name already
            self._tampering(
                "log-rolled-back",
                f"Record {missing} are gone: {observer} saw the log up to record {head.seq}, the store shows "
                f"{chain.last}. The repository was rolled back, or its newest records were removed.",
                log.name(chain.last + 1),
            )
        elif not self._forked and not self._told(log.name(head.seq)) and head.seq in chain.stored:
            self._tampering(
                "log-forked",
                f"Record {head.seq} is not the one that {observer} saw: the history was forked or replaced "
                f"there or before. {observer} saw {head_text(head)}, here it is "
                f"{head_text(Head(head.seq, chain.stored[head.seq]))}.",
                log.name(head.seq),
            )

    def _told(self, name: str) -> bool:
        return any(one.object == name for one in self._findings.of("tampering", "loss"))

    # --- fetching ---

    def _objects(self) -> Iterator[tuple[int, bytes]]:
        names = []
        for listed_one in self._store.list("log/"):
            if _NAME.fullmatch(listed_one.name):
                names.append(listed_one.name)
            else:
                self._findings.add(
                    Finding(
                        "warning",
                        "log-foreign-object",
                        listed_one.name,
                        "This is no name of a record: nothing reads it, and nothing of ours wrote it.",
                    )
                )
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            try:
                fetched = list(self._store.get_many(Range(name, 0, _MOST) for name in batch))
            except ObjectMissing:  # removed while we look: each by itself
                fetched = [self._get(name) for name in batch]
            for name, obj in zip(batch, fetched, strict=True):
                yield int(name.removeprefix("log/")), obj

    def _get(self, name: str) -> bytes:
        try:
            return self._store.get(name, 0, _MOST)
        except ObjectMissing:
            return b""

    def _unwrap(self, seq: int, obj: bytes) -> bytes | None:
        try:
            blob, arrived = stamp.unstamp(obj)
        except (Damaged, VersionUnknown) as error:
            self._tampering(
                "record-damaged",
                f"Record {seq} cannot be read: {error}.{self._was(seq)}",
                log.name(seq),
                severity="loss",
            )
            return None
        self._chain.stamps[seq] = arrived
        return blob

    # --- what is not there ---

    def _missing_before(self, seq: int) -> None:
        first = self._chain.state.head.seq + 1
        if seq <= first:
            return
        self._gap(first, seq - 1, "log-hole", f"missing, while record {seq} is there")
        for one in range(first, seq):
            if one not in self._known or self._forked:
                self._broken = True
                break
            self._bridge(one)
        if self._broken:
            self._chain.state.head = Head(seq - 1)

    def _missing_behind(self) -> None:
        last = max(self._known, default=0)
        if last > self._chain.last and not self._forked:
            self._gap(self._chain.last + 1, last, "log-rolled-back", "gone from the end of the log")

    def _gap(self, first: int, last: int, code: str, how: str) -> None:
        were = [
            f"record {one} ({self._describe(self._known[one], one)})"
            for one in range(first, min(last, first + 100) + 1)
            if one in self._known
        ]
        numbers = f"Record {first} is" if first == last else f"Records {first} to {last} are"
        seen = f" This machine has seen {listed(were)}." if were else ""
        self._tampering(code, f"{numbers} {how}.{seen}", log.name(first))

    def _was(self, seq: int) -> str:
        if seq not in self._known:
            return ""
        return f" This machine has seen it: {self._describe(self._known[seq], seq)}."

    def _describe(self, blob: bytes, seq: int) -> str:
        try:
            return record_words(self._chain.state, log.decode(blob, seq))
        except (LogBroken, VersionUnknown):
            return "unreadable"

    # --- what is there ---

    def _compare_with_known(self, seq: int, blob: bytes) -> None:
        known = self._known.get(seq)
        if known is None or known == blob or self._forked:
            return
        signer = log.signer_of(blob, self._chain.state.keys.values())
        if signer is None:  # no branch, but bytes that no key signed: `_take` says what is wrong with them
            return
        self._forked = True
        seen = max(self._known)
        self._findings.add(
            Finding(
                "tampering",
                "log-forked",
                log.name(seq),
                f"Record {seq} is not the one that this machine has seen. It was "
                f"{self._describe(known, seq)}; now it is {self._describe(blob, seq)}. From there on the "
                f"history has two branches; this machine has seen the other one up to record {seen}.",
                signer.name,
                self._chain.stamps.get(seq),
            )
        )

    def _take(self, seq: int, blob: bytes) -> None:
        chain = self._chain
        state = chain.state
        try:
            if self._broken or state.head.seq != seq - 1:
                # what came before is lost: this record's own word for its predecessor, told already
                state.head = Head(seq - 1, log.decode(blob, seq).previous)
            record = state.apply(blob, stamp=self._chain.stamps.get(seq))
        except VersionUnknown as error:
            signer = log.signer_of(blob, state.keys.values())
            self._findings.add(
                Finding(
                    "warning" if signer else "tampering",
                    "record-unknown" if signer else "record-forged",
                    log.name(seq),
                    f"{error} It is signed by {signer.name!r}."
                    if signer
                    else f"{error} No key of this repository signed it.",
                    signer.name if signer else None,
                    chain.stamps.get(seq),
                )
            )
            self._bridge(seq)
        except LogBroken as error:
            self._forged(seq, blob, str(error))
            self._bridge(seq)
        else:
            self._broken = False
            chain.records[seq] = record
            if seq not in self._known:
                self.fresh[seq] = blob
            if chain.head.seq == seq - 1 and chain.head.hash == record.previous:
                chain.head = state.head

    def _forged(self, seq: int, blob: bytes, why: str) -> None:
        state = self._chain.state
        signer = log.signer_of(blob, state.keys.values())
        claimed = None
        try:
            record = log.decode(blob, seq)
            claimed = key_name(state, record.key_id)
            says = f" It says: {record_words(state, record)}."
        except (LogBroken, VersionUnknown):
            says = ""
        by = (
            "No key of this repository signed it."
            if signer is None
            else f"The key {signer.name!r} signed it."
        )
        arrived = self._chain.stamps.get(seq)
        when = "" if arrived is None else f" By the store's clock it came on {at(arrived)}."
        self._findings.add(
            Finding(
                "tampering",
                "record-forged",
                log.name(seq),
                f"{_reason(why)}{says} {by}{when}{self._was(seq)}",
                signer.name if signer else claimed,
                arrived,
            )
        )

    def _bridge(self, seq: int) -> None:
        """Past a record that is no use: by this machine's copy of it, if there is one."""
        state = self._chain.state
        known = self._known.get(seq)
        if known is not None and not self._forked and not self._broken and state.head.seq == seq - 1:
            try:
                self._chain.records[seq] = state.apply(known)
            except LogBroken:  # the store's branch is another one
                pass
            else:
                return
        state.head = Head(seq)
        self._broken = True

    def _tampering(self, code: str, what: str, name: str, severity: Severity = "tampering") -> None:
        self._findings.add(Finding(severity, code, name, what))


def _reason(text: str) -> str:
    """An error's own words, without the advice that ordinary commands add."""
    return text.split(" The repository was tampered with or damaged:", maxsplit=1)[0]
