"""A store that connects again: for programs that stay, whose connection does not."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from strongroom.errors import ConnectionLost
from strongroom.store.protocol import Buffer, Listed, Range, Store
from strongroom.store.reserve import Reserved

RETRY_AFTER = 5.0  # seconds after a vain attempt: not each reader is to wait for the next one


class LastingStore:
    """The store that `connect` gives. What only reads is tried again, once, on a new connection."""

    def __init__(self, connect: Callable[[], Store]) -> None:
        """Raises what `connect` raises."""
        self._connect = connect
        self._lock = threading.Lock()
        self._store = connect()
        self._failed = float("-inf")

    @property
    def uploads(self) -> int:
        return self._store.uploads

    @property
    def owner_key(self) -> bytes | None:
        return self._store.owner_key

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        used = self._store
        try:
            return used.get(name, offset, length)
        except ConnectionLost as error:
            return self._renewed(used, error).get(name, offset, length)

    def get_many(self, ranges: Iterable[Range]) -> Iterator[bytes]:
        asked = list(ranges)
        given = 0
        used = self._store
        try:
            for part in used.get_many(asked):
                yield part
                given += 1
        except ConnectionLost as error:
            yield from self._renewed(used, error).get_many(asked[given:])

    def list(self, prefix: str) -> Iterator[Listed]:
        used = self._store
        last = ""
        try:
            for found in used.list(prefix):
                yield found
                last = found.name
        except ConnectionLost as error:
            yield from (one for one in self._renewed(used, error).list(prefix) if one.name > last)

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        self._store.put(name, parts)

    def mend(self, name: str, parts: Sequence[Buffer]) -> None:
        self._store.mend(name, parts)

    def mend_record(self, name: str, record: bytes) -> None:
        self._store.mend_record(name, record)

    def append_record(self, name: str, record: bytes) -> bytes:
        return self._store.append_record(name, record)

    def append_records(self, name: str, records: Sequence[bytes]) -> None:
        self._store.append_records(name, records)

    def delete(self, name: str) -> None:
        self._store.delete(name)

    def spending(self) -> AbstractContextManager[None]:
        return self._store.spending()

    def reserve(self) -> Reserved:
        return self._store.reserve()

    def room(self) -> int:
        return self._store.room()

    def now(self) -> int:
        return self._store.now()

    def describe(self) -> str:
        return self._store.describe()

    def close(self) -> None:
        self._store.close()

    def _renewed(self, broken: Store, error: ConnectionLost) -> Store:
        """Raises `error` if a new connection was just tried in vain, and what `connect` raises."""
        with self._lock:
            if self._store is broken:
                if time.monotonic() - self._failed < RETRY_AFTER:
                    raise error
                try:
                    fresh = self._connect()
                except BaseException:
                    self._failed = time.monotonic()
                    raise
                broken.close()
                self._store = fresh
            return self._store
