"""A database for what is worked out while a Borg repository is read: on the disk, and gone with us.

Its files have no name any more when it is in use, so nothing of an encrypted repository stays behind,
not even when the process is killed.
"""

import contextlib
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import lmdb

from strongroom.errors import CacheUnusable

_SPACE = 1 << 38  # address space, not disk
BEDS = 4
BED_TABLES = ("paths", "links", "above", "built")
_NAMES = (
    *("trees", "sizes", "refs", "spots", "runs", "harvests", "where"),
    *(f"{name}{number}" for number in range(BEDS) for name in BED_TABLES),
)


class Scratch:
    """Tables of bytes to bytes. Any thread may read; one at a time writes."""

    def __init__(self, base: Path) -> None:
        """In the folder `base`, made if it is missing. Raises `CacheUnusable`."""
        try:
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="borg-", dir=base) as folder:
                self._env = lmdb.open(
                    folder,
                    map_size=_SPACE,
                    max_dbs=len(_NAMES),
                    mode=0o600,
                    sync=False,
                    writemap=False,
                    readahead=False,
                )
                self._dbs = {name: self._env.open_db(name.encode()) for name in _NAMES}
        except (lmdb.Error, OSError) as error:
            raise _unusable(base, error) from error
        self._base = base

    def get(self, table: str, key: bytes) -> bytes | None:
        with self._guarded(), self._env.begin(db=self._dbs[table]) as txn:
            found: bytes | None = txn.get(key)
            return found

    def has(self, table: str, key: bytes) -> bool:
        return self.get(table, key) is not None

    def put_all(self, table: str, pairs: Collection[tuple[bytes, bytes]], *, overwrite: bool = True) -> int:
        """How many were put; without `overwrite` those that are there stay as they are."""
        if not pairs:
            return 0
        with self._guarded(), self._env.begin(write=True, db=self._dbs[table]) as txn:
            return int(txn.cursor().putmulti(pairs, overwrite=overwrite)[1])

    def delete_all(self, table: str, keys: Collection[bytes]) -> None:
        if not keys:
            return
        with self._guarded(), self._env.begin(write=True, db=self._dbs[table]) as txn:
            for key in keys:
                txn.delete(key)

    def items(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """In the order of the keys. Nothing may be written to the table meanwhile."""
        with self._guarded(), self._env.begin(db=self._dbs[table]) as txn:
            for key, value in txn.cursor():
                yield bytes(key), bytes(value)

    def page(self, table: str, prefix: bytes, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """The next pairs whose keys begin with `prefix`, behind the key `after`, in their order."""
        found: list[tuple[bytes, bytes]] = []
        with self._guarded(), self._env.begin(db=self._dbs[table]) as txn:
            cursor = txn.cursor()
            more = cursor.set_range(after)
            if more and cursor.key() == after:
                more = cursor.next()
            while more and len(found) < most and cursor.key().startswith(prefix):
                found.append(cursor.item())
                more = cursor.next()
        return found

    def count(self, table: str) -> int:
        with self._guarded(), self._env.begin(db=self._dbs[table]) as txn:
            return int(txn.stat(self._dbs[table])["entries"])

    def clear(self, table: str) -> None:
        with self._guarded(), self._env.begin(write=True) as txn:
            txn.drop(self._dbs[table], delete=False)

    def close(self) -> None:
        self._env.close()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except lmdb.Error as error:
            raise _unusable(self._base, error) from error


def _unusable(base: Path, error: Exception) -> CacheUnusable:
    return CacheUnusable(
        f"Working space in {base} cannot be used: {error}. Free some space there, or name another folder "
        "in STRONGROOM_CACHE_DIR."
    )
