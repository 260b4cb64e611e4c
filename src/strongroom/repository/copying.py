"""Objects from one store to another, each compared with its name on the way.

All but the config and the log are named by the BLAKE3 of their bytes: whoever brings them, nothing else
than what was asked for is taken. No key is needed.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from strongroom.crypto import hashing
from strongroom.errors import Cancelled, Damaged, ObjectExists, ObjectMissing, StoreFailed
from strongroom.reporting import Progress, Reporter
from strongroom.store.names import HASHED
from strongroom.store.protocol import Store

FOLDERS = HASHED
"""Where every name is the hash of the bytes."""

_SMALL_AT_ONCE = 8  # small objects wait for the disk or the line, not for us
_BATCH = 512


class Lost(NamedTuple):
    """An object that could not be had, and why."""

    name: str
    why: str


def is_sound(name: str, blob: bytes) -> bool:
    """Whether the bytes are those that the name stands for."""
    return hashing.plain_hash(blob).hex() == name.rpartition("/")[2]


def fetch(store: Store, name: str) -> bytes:
    """A whole object. Raises `Damaged` if it is not what its name says, `ObjectMissing`, `StoreError`."""
    blob = store.get(name)
    if not is_sound(name, blob):
        raise Damaged(f"{name} in {store.describe()} is damaged: its bytes are not what its name says.")
    return blob


class Copier:
    """Copies from `source` to `target`. What the source has lost or damaged is gathered in `lost`.

    `progress.original` counts bytes of what was read, `progress.files` objects that were stored.
    """

    def __init__(self, source: Store, target: Store, reporter: Reporter, operation: str) -> None:
        self.source = source
        self.target = target
        self.lost: list[Lost] = []
        self.progress = Progress()
        self._reporter = reporter
        self._operation = operation

    def copy(self, names: Iterable[str], *, small: bool = True) -> bool:
        """Whether all of them are in the target now, durably.

        Raises `Cancelled`, and the target's errors.
        """
        before = len(self.lost)
        threads = max(_SMALL_AT_ONCE, self.target.uploads) if small else self.target.uploads
        rest = iter(names)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(threads, thread_name_prefix="copy") as pool:
            while batch := list(islice(rest, _BATCH)):
                running = [pool.submit(self._one, name) for name in batch]
                try:
                    for future in running:
                        self._count(*future.result())
                except BaseException:
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
        return len(self.lost) == before

    def _one(self, name: str) -> tuple[int, Lost | None]:
        try:
            blob = fetch(self.source, name)
        except (Damaged, ObjectMissing, StoreFailed) as error:
            return 0, Lost(name, str(error))
        self.put(name, blob)
        return len(blob), None

    def put(self, name: str, blob: bytes) -> None:
        """Store what was fetched already; finding it there is as good."""
        with suppress(ObjectExists):
            self.target.put(name, [blob])

    def _count(self, size: int, lost: Lost | None) -> None:
        if lost is not None:
            self.lost.append(lost)
        else:
            self.progress.files += 1
        self.progress.original += size
        if self._reporter.stop.requested:
            raise Cancelled("Stopped as asked; what was copied stays, and the next run goes on from there.")
        self._reporter.progress(self._operation, self.progress)

    def finished(self) -> None:
        self._reporter.progress(self._operation, self.progress, finished=True)


def listing(store: Store, folders: Iterable[str] = FOLDERS) -> dict[str, int]:
    """Names and sizes of all objects in the folders."""
    return dict(_listed(store, folders))


def _listed(store: Store, folders: Iterable[str]) -> Iterator[tuple[str, int]]:
    for folder in folders:
        for one in store.list(folder):
            yield one.name, one.size
