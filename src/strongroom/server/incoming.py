"""An object on its way from a client to the disk: checked, charged and written as it comes."""

import contextlib
import time
from collections.abc import Callable, Sequence

import msgspec
from blake3 import blake3

from strongroom.errors import ConnectionBroken, Damaged, LogBroken, StoreFull, StoreRefused
from strongroom.malformed import MALFORMED
from strongroom.repository import founding
from strongroom.server.logguard import LogGuard
from strongroom.server.objects import area_of
from strongroom.server.quota import Quota
from strongroom.store.local import LocalStore
from strongroom.store.names import following
from strongroom.store.stamp import stamp
from strongroom.store.upload import Mending, Upload

BEYOND = 1 << 20  # bytes of records that may come on top of a quota, to get below it again
_FREEING = frozenset({"delete", "compact", "repair"})


class Incoming:
    """A PUT. `take` its bytes, then `finish`; or `drop` it at any time.

    Raises `StoreRefused`, `QuotaExceeded`, `ObjectExists`, `StoreError`, and `Damaged` where the bytes
    are not what the name says.
    """

    def __init__(
        self, store: LocalStore, quotas: Sequence[Quota], name: str, size: int, beyond: int = 0
    ) -> None:
        area = area_of(name)
        if size > area.max_size:
            raise StoreRefused(f"put of {name!r}: {size} bytes, the most for its kind is {area.max_size}")
        self._name = name
        self.size = size
        self.received = 0
        self._hasher = blake3() if area.hashed else None
        self._founding = bytearray() if name == founding.NAME else None
        self._reserved = contextlib.ExitStack()
        self._upload = self._begin(store, name)
        try:
            for quota in quotas:
                quota.reserve(size, beyond)
                self._reserved.callback(quota.release, size)
        except BaseException:
            self.drop()
            raise
        self._quotas = quotas

    @staticmethod
    def _begin(store: LocalStore, name: str) -> Upload:
        return store.begin(name)

    @property
    def complete(self) -> bool:
        return self.received == self.size

    def take(self, data: bytes) -> None:
        """The next bytes. Raises `ConnectionBroken` if they are more than was announced."""
        _count(self, data)
        if self._hasher is not None:
            self._hasher.update(data)
        if self._founding is not None:
            self._founding += data
        self._upload.write(data)

    def finish(self) -> None:
        """Durable when this returns."""
        try:
            if self._hasher is not None and self._hasher.hexdigest() != self._name.rsplit("/", 1)[1]:
                raise Damaged(
                    f"{self._name} arrived damaged: its bytes are not those that its name stands for"
                )
            if self._founding is not None:
                founding.decode(bytes(self._founding), "the repository")
            self._upload.sync()
            _publish(self._upload, self._quotas, self._reserved)
        finally:
            self.drop()

    def drop(self) -> None:
        self._reserved.close()
        self._upload.__exit__(None, None, None)


class Repairing(Incoming):
    """A MEND: `finish` finds out whether what is there is damaged."""

    @staticmethod
    def _begin(store: LocalStore, name: str) -> Mending:
        return store.begin_mending(name)


class IncomingRecord:
    """An APPEND: held in memory, since it must be understood before it is stored; `many`: several records."""

    def __init__(
        self,
        store: LocalStore,
        quotas: Sequence[Quota],
        guard: LogGuard,
        name: str,
        size: int,
        clock: Callable[[], int] = time.time_ns,
        *,
        many: bool = False,
        beyond: int = 0,
    ) -> None:
        area = area_of(name)
        if not 0 < size <= area.max_size:
            raise StoreRefused(f"append of {name!r}: {size} bytes, allowed are 1 to {area.max_size}")
        self._store = store
        self._quotas = quotas
        self._guard = guard
        self._name = name
        self._clock = clock
        self._many = many
        self._beyond = max(BEYOND, beyond)
        self._record = bytearray()
        self.size = size
        self.received = 0

    @property
    def complete(self) -> bool:
        return self.received == self.size

    def take(self, data: bytes) -> None:
        _count(self, data)
        self._record += data

    def finish(self) -> int:
        """The last stamp, in ns. Raises `LogBroken` and `VersionUnknown` too."""
        records = self._records()
        with self._guard.lock:
            kinds = self._guard.check(self._name, records)
            names = following(self._name, len(records))
            for name, record, kind in zip(names, records, kinds, strict=True):
                now = self._clock()
                obj = stamp(record, now)
                beyond = self._beyond if kind in _FREEING else 0
                try:
                    self._store_object(name, obj, beyond)
                except StoreFull:
                    # A full disk must not keep anybody from asking for a deletion; a record is small.
                    if not self._store.release_reserve():
                        raise
                    self._store_object(name, obj, beyond)
            self._guard.stored()
        return now

    def _store_object(self, name: str, obj: bytes, beyond: int) -> None:
        self._publish_object(self._store.begin(name), obj, beyond)

    def _publish_object(self, begun: Upload, obj: bytes, beyond: int) -> None:
        with contextlib.ExitStack() as reserved, begun as upload:
            for quota in self._quotas:
                quota.reserve(len(obj), beyond)
                reserved.callback(quota.release, len(obj))
            upload.write(obj)
            upload.sync()
            _publish(upload, self._quotas, reserved)

    def _records(self) -> list[bytes]:
        if not self._many:
            return [bytes(self._record)]
        try:
            records = msgspec.msgpack.decode(self._record, type=list[bytes])
        except MALFORMED as error:
            raise LogBroken(f"{self._name}: what should be several records is none: {error}") from None
        if not records:
            raise LogBroken(f"{self._name}: no record at all")
        return records

    def drop(self) -> None:
        self._record.clear()


class MendedRecord(IncomingRecord):
    """A MEND of a log record: it must be the one that stood there, as far as anybody can tell.

    `trusted`: of a client that could remove the damaged one as well, who is believed where nothing tells.
    """

    trusted = False

    def finish(self) -> int:
        """0. Raises `ObjectExists` where nothing is damaged, `LogBroken`, `StoreRefused`."""
        record = bytes(self._record)
        with self._guard.lock:
            self._guard.check_mending(self._name, record, trusted=self.trusted)
            obj = self._store.stamp_again(self._name, record)
            self._publish_object(self._store.begin_mending_record(self._name), obj, BEYOND)
        return 0


class Discarded:
    """The rest of an upload that was refused already: read past, kept nowhere."""

    def __init__(self, size: int, received: int) -> None:
        self.size = size
        self.received = received

    @property
    def complete(self) -> bool:
        return self.received == self.size

    def take(self, data: bytes) -> None:
        _count(self, data)

    def drop(self) -> None:
        """Nothing is held."""


def _count(upload: Incoming | IncomingRecord | Discarded, data: bytes) -> None:
    upload.received += len(data)
    if not data or upload.received > upload.size:
        raise ConnectionBroken("an upload brings other than the announced number of bytes")


def _publish(upload: Upload, quotas: Sequence[Quota], reserved: contextlib.ExitStack) -> None:
    with contextlib.ExitStack() as settling:
        # `settle` gives the reservation back in any case.
        reserved.pop_all()
        for quota in quotas:
            settling.enter_context(quota.settle(upload.size, lambda: upload.replaced))
        upload.publish()
