"""A store with a second one behind it, for reading: what the first has lost or damaged comes from there.

Objects are named by the hash of their bytes, and bundles are sealed: whoever keeps the second store
cannot slip anything in. Config, log and leases are the first one's alone.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import chain
from threading import Lock

from strongroom.errors import ObjectMissing, StoreFailed, StrongroomError
from strongroom.repository.copying import FOLDERS, fetch, is_sound
from strongroom.store.protocol import Buffer, Listed, Range, Store
from strongroom.store.reserve import Reserved


class FallbackStore:
    """`first`, and what `open_second` gives when it is needed. `tell` is told once of each object."""

    def __init__(self, first: Store, open_second: Callable[[], Store], tell: Callable[[str], None]) -> None:
        self.first = first
        self._open_second = open_second
        self._tell = tell
        self._lock = Lock()

    @property
    def uploads(self) -> int:
        return self.first.uploads

    @property
    def owner_key(self) -> bytes | None:
        return self.first.owner_key

    @cached_property
    def _second(self) -> Store:
        return self._open_second()

    @property
    def second(self) -> Store:
        """Raises what opening it raises."""
        with self._lock:
            return self._second

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        try:
            blob = self.first.get(name, offset, length)
        except (ObjectMissing, StoreFailed):
            found = self._from_second(name, offset, length)
            if found is None:
                raise
            return found
        if offset == 0 and length is None and name.startswith(FOLDERS) and not is_sound(name, blob):
            return self._from_second(name, offset, length) or blob
        return blob

    def get_many(self, ranges: Iterable[Range]) -> Iterator[bytes]:
        rest = iter(ranges)
        asked: deque[Range] = deque()

        def noting(some: Iterable[Range]) -> Iterator[Range]:
            for one in some:
                asked.append(one)
                yield one

        while True:
            try:
                for blob in self.first.get_many(noting(rest)):
                    one = asked[0]
                    if self._is_whole(one) and not is_sound(one.name, blob):
                        blob = self._from_second(*one) or blob  # noqa: PLW2901
                    asked.popleft()
                    yield blob
                return
            except (ObjectMissing, StoreFailed):
                found = self._from_second(*asked[0]) if asked else None
                if found is None:
                    raise
                asked.popleft()
                yield found
                # what was asked for behind it is asked for again
                rest = chain(list(asked), rest)
                asked.clear()

    def _is_whole(self, one: Range) -> bool:
        return one.offset == 0 and one.length is None and one.name.startswith(FOLDERS)

    def _from_second(self, name: str, offset: int, length: int | None) -> bytes | None:
        """None where it has nothing better."""
        if not name.startswith(FOLDERS):
            return None
        try:
            if offset == 0 and length is None:
                found = fetch(self.second, name)
            else:  # part of a pack: sealed, and checked when it is opened
                found = self.second.get(name, offset, length)
        except StrongroomError as error:
            self._tell(f"{name} is not to be had from the fallback either: {error}")
            return None
        self._tell(f"{name} is missing or damaged in {self.first.describe()}: it was read from the fallback.")
        return found

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        self.first.put(name, parts)

    def mend(self, name: str, parts: Sequence[Buffer]) -> None:
        self.first.mend(name, parts)

    def mend_record(self, name: str, record: bytes) -> None:
        self.first.mend_record(name, record)

    def append_record(self, name: str, record: bytes) -> bytes:
        return self.first.append_record(name, record)

    def append_records(self, name: str, records: Sequence[bytes]) -> None:
        self.first.append_records(name, records)

    def list(self, prefix: str) -> Iterator[Listed]:
        return self.first.list(prefix)

    def delete(self, name: str) -> None:
        self.first.delete(name)

    def spending(self) -> AbstractContextManager[None]:
        return self.first.spending()

    def reserve(self) -> Reserved:
        return self.first.reserve()

    def room(self) -> int:
        return self.first.room()

    def now(self) -> int:
        return self.first.now()

    def describe(self) -> str:
        return self.first.describe()

    def close(self) -> None:
        self.first.close()
        if "_second" in self.__dict__:
            self._second.close()
