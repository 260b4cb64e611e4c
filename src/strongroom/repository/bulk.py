"""Taking very many chunks into the index at once, in the order of their ids.

Put in as they come, each transaction of a large index touches nearly all of its pages: 10 million chunks took
2.4 GB of memory. So they go to a file first, by the first byte of their ids, and one such part at a time is
sorted and put in: every page is written once, and memory does not grow with the index.

The places come before what marks their index objects as taken in. A run that ends in between leaves a note,
and the next one begins with an empty index.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from strongroom.ids import ID_SIZE
from strongroom.repository.cache import Cache

LEAST = 16  # index objects that are worth the way by a file; each of them else costs a synced commit
UNFINISHED = b"bulk-unfinished"  # in `meta`, while the index lacks chunks of packs that it knows
_PARTS = 256
_KEPT = 64 << 10  # bytes of a part that wait in memory
_COMMIT = 150_000  # chunks: about 40 MB


@contextlib.contextmanager
def alone(cache: Cache) -> Iterator[None]:
    """Wait until no other process of this machine fills this cache. Raises `CacheUnusable`."""
    try:
        # not a folder: NFS locks only what is open for writing. LMDB's own locks are on another file.
        fd = os.open(cache.path / "data.mdb", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # thrown away as damaged: nobody else will find it
        yield
        return
    except OSError as error:
        raise cache.unusable(error) from error
    try:
        _lock(cache, fd)
        yield
    finally:
        os.close(fd)


def _lock(cache: Cache, fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError as error:
        raise cache.unusable(error) from error


class Places:
    """Places of chunks on their way, each as id and `place` concatenated; a context manager."""

    def __init__(self, cache: Cache, place: int) -> None:
        """`place`: bytes of a place. Raises `CacheUnusable`."""
        import tempfile

        self._cache = cache
        self._size = ID_SIZE + place
        self._kept = [bytearray() for _ in range(_PARTS)]
        self._extents: list[list[tuple[int, int]]] = [[] for _ in range(_PARTS)]  # offset, bytes
        folder = Path(cache.env.path())
        try:
            # beside the cache, for temporary files may be memory; a cache without a name has no such place
            self._file = tempfile.TemporaryFile(  # noqa: SIM115 - it is closed with the object
                dir=folder if folder.is_dir() else None, buffering=0
            )
        except OSError as error:
            raise cache.unusable(error) from error
        self._end = 0

    def add(self, rows: list[bytes]) -> None:
        """Rows in their order. Raises `CacheUnusable`."""
        begin = 0
        for at, (one, other) in enumerate(pairwise(rows), 1):
            if one[0] != other[0]:
                self._keep(one[0], rows[begin:at])
                begin = at
        if rows:
            self._keep(rows[-1][0], rows[begin:])

    def _keep(self, part: int, rows: list[bytes]) -> None:
        kept = self._kept[part]
        kept += b"".join(rows)
        if len(kept) >= _KEPT:
            self._spill(part)

    def _spill(self, part: int) -> None:
        kept = memoryview(self._kept[part])
        self._extents[part].append((self._end, len(kept)))
        self._kept[part] = bytearray()
        try:
            while kept:
                written = os.pwrite(self._file.fileno(), kept, self._end)
                self._end += written
                kept = kept[written:]
        except OSError as error:
            raise self._cache.unusable(error) from error

    def put_in(self) -> None:
        """All of them into the cache, durably. Raises `CacheUnusable`."""
        waiting: list[tuple[bytes, bytes]] = []
        for part in range(_PARTS):
            waiting += self._sorted(part)
            if len(waiting) >= _COMMIT or part == _PARTS - 1:
                self._commit(waiting)
                waiting = []

    def _sorted(self, part: int) -> list[tuple[bytes, bytes]]:
        try:
            pieces = [os.pread(self._file.fileno(), size, at) for at, size in self._extents[part]]
        except OSError as error:
            raise self._cache.unusable(error) from error
        joined = b"".join((*pieces, self._kept[part]))
        rows = [joined[at : at + self._size] for at in range(0, len(joined), self._size)]
        rows.sort()
        return [(row[:ID_SIZE], row[ID_SIZE:]) for row in rows]

    def _commit(self, rows: list[tuple[bytes, bytes]]) -> None:
        chunks, doubles = self._cache.dbs["chunks"], self._cache.dbs["doubles"]
        firsts: list[tuple[bytes, bytes]] = []
        others: list[tuple[bytes, bytes]] = []
        before = b""
        for row in rows:
            (firsts if row[0] != before else others).append(row)
            before = row[0]
        with self._cache.writing("chunks") as txn:
            cursor = txn.cursor(db=chunks)
            behind = not cursor.last() or (firsts and bytes(cursor.key()) < firsts[0][0])
            # behind the last key LMDB fills its pages, between others it leaves them half empty
            _, added = cursor.putmulti(firsts, overwrite=False, append=bool(behind))
            if added < len(firsts):
                others += [(chunk, place) for chunk, place in firsts if txn.get(chunk, db=chunks) != place]
            others.sort()
            txn.cursor(db=doubles).putmulti([(chunk + place, b"") for chunk, place in others])

    def __enter__(self) -> "Places":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
