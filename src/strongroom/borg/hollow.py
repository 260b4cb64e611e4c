"""The store of a Borg repository: as a store of ours it holds nothing, and takes nothing."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from strongroom.errors import ObjectMissing, StoreRefused
from strongroom.store.protocol import Buffer, Listed, Range
from strongroom.store.reserve import Reserved


class HollowStore:
    """What is read comes from `borg.objects`; so nothing can be written, whoever tries."""

    def __init__(self, location: str) -> None:
        self._location = location

    @property
    def uploads(self) -> int:
        return 1

    @property
    def owner_key(self) -> bytes | None:
        return None

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        raise ObjectMissing(f"{name} does not exist: {self._location} is a Borg repository.")

    def get_many(self, ranges: Iterable[Range]) -> Iterator[bytes]:
        for part in ranges:
            yield self.get(part.name)

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        raise self._refused()

    def mend(self, name: str, parts: Sequence[Buffer]) -> None:
        raise self._refused()

    def mend_record(self, name: str, record: bytes) -> None:
        raise self._refused()

    def append_record(self, name: str, record: bytes) -> bytes:
        raise self._refused()

    def append_records(self, name: str, records: Sequence[bytes]) -> None:
        raise self._refused()

    def list(self, prefix: str) -> Iterator[Listed]:
        return iter(())

    def delete(self, name: str) -> None:
        raise self._refused()

    def spending(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def reserve(self) -> Reserved:
        return Reserved(0, 0)

    def room(self) -> int:
        return 0

    def now(self) -> int:
        return time.time_ns()

    def describe(self) -> str:
        return self._location

    def close(self) -> None:
        """There is nothing to close."""

    def _refused(self) -> StoreRefused:
        return StoreRefused(
            f"{self._location} is a Borg repository: it is only read. Bring its archives over with "
            "`strongroom transfer`, and write there."
        )
