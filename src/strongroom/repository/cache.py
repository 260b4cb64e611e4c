"""The local cache: a memory-mapped database beside the configuration, one a repository.

It holds copies of what the repository says (log records, index) and what the last run saw
of the file system. Everything in it can be lost: that costs time, never correctness. Its
writes are durable, so that a crash of the machine cannot leave it claiming what is not so.
"""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import lmdb

from strongroom.errors import CacheDamaged, CacheFull, CacheUnusable
from strongroom.ids import RepositoryId
from strongroom.repository import mapped
from strongroom.repository.guarded import guard, unguard
from strongroom.store.reserve import NO_ROOM

FORMAT = b"4"  # 2: records with the stamp of their arrival; 3: packs numbered by a counter; 4: checksums
FOLLOWED = b"freeings"  # in `meta`: how many of the log's freeing records the cache has followed
COMPLETE_RUNS = b"complete-runs"
"""In `meta`: the runs whose folder records are believed without a look at their chunks."""

_UNWRITTEN = 1 << 20  # bytes
_NEXT_TO_NOTHING = 1 << 20  # bytes that are free of a disk that is as good as full
_LOCK_SIZE = 16 << 10  # bytes: what LMDB maps for 126 readers takes half of it
_LET_GO_EVERY = 256  # look-ups, each of which may map 64 KiB
_MAP_SIZE = 1 << 38  # address space, not disk: LMDB maps it all and writes what it uses
# lmdb.Error itself is what the system said, such as that the disk is full
_OF_THE_SYSTEM = (lmdb.DiskError, lmdb.MapFullError, lmdb.MemoryError, lmdb.ReadersFullError, lmdb.LockError)
_NAMES = (
    *("meta", "log", "indexes", "packs", "numbers", "chunks", "distrusted", "doubles", "pending", "intents"),
    "unplaced",
    *("folders", "files", "archives", "refs", "sizes"),
)


class Cache:
    """Opens or makes the cache of one repository. Use `reading` and `writing` for transactions.

    Several processes may use it at once. Raises `CacheUnusable`.
    """

    def __init__(self, folder: Path, repository: RepositoryId) -> None:
        self.path = folder / repository.hex()
        self._repository = repository
        self._left: list[lmdb.Environment] = []
        self._look_ups = 0
        try:
            self._open(self.path)
            if not self._is_ours():
                self._rebuild()
        except (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError):
            self._rebuild()
        except (lmdb.Error, OSError) as error:
            why = self.unusable(error)
            if not isinstance(why, CacheFull):
                raise why from error
            self._open_temporary()

    @staticmethod
    def exists(folder: Path, repository: RepositoryId) -> bool:
        """Whether there is one in `folder` already."""
        return (folder / repository.hex() / "data.mdb").exists()

    def _open_temporary(self) -> None:
        """For a disk that is full: what has no room for its cache works, and begins anew each time."""
        import tempfile

        try:
            with tempfile.TemporaryDirectory(prefix="strongroom-cache-") as folder:
                self._open(Path(folder))  # it stays open without its name
            self._is_ours()
        except (lmdb.Error, OSError) as error:
            raise self.unusable(error) from error

    def _open(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_room_for_lock(folder / "lock.mdb")
        self.env = lmdb.open(
            os.fspath(folder),
            map_size=_MAP_SIZE,
            max_dbs=len(_NAMES),
            mode=0o600,
            metasync=True,
            max_readers=126,
            readahead=False,
        )
        self._make_whole(folder / "data.mdb")
        self.dbs = {name: self.env.open_db(name.encode()) for name in _NAMES}
        self.meta = self.dbs["meta"]

    def _make_whole(self, path: Path) -> None:
        """LMDB maps the file: pages that were cut off would end the process by a signal.

        It may leave free pages at the end unwritten; as zeros they do no harm, and neither do used
        ones, which it refuses. More is a file that was cut off.
        """
        page, last = self.env.stat()["psize"], self.env.info()["last_pgno"]
        missing = (last + 1) * page - path.stat().st_size
        if missing > _UNWRITTEN:
            raise lmdb.CorruptedError(f"{missing} bytes are cut off")
        if missing > 0:
            with open(path, "r+b") as stream:
                stream.truncate((last + 1) * page)

    def _is_ours(self) -> bool:
        """Adopts an empty database; False for one of another format or repository."""
        with self.env.begin(write=True, db=self.meta) as txn:
            known = txn.get(b"repository"), txn.get(b"format")
            if known == (None, None):
                txn.put(b"repository", self._repository)
                txn.put(b"format", FORMAT)
                return True
            return known == (self._repository, FORMAT)

    def _rebuild(self) -> None:
        import shutil

        try:
            with contextlib.suppress(AttributeError):
                self.env.close()
            shutil.rmtree(self.path)
            self._open(self.path)
            self._is_ours()
        except (lmdb.Error, OSError) as error:
            raise self.unusable(error) from error

    def detach(self) -> None:
        """Go on in a copy among the temporary files, which nobody else sees and which ends with us.

        Raises `CacheUnusable` if there is no room either.
        """
        import tempfile

        self._left.append(self.env)  # somebody may be reading there yet
        try:
            with tempfile.TemporaryDirectory(prefix="strongroom-cache-") as folder:
                self.env.copy(folder)
                self._open(Path(folder))  # it stays open without its name
        except (lmdb.Error, OSError) as error:
            raise self.unusable(error) from error

    def unusable(self, error: Exception) -> CacheUnusable:
        """To be raised for what the system said."""
        if self._is_for_lack_of_room(str(error)):
            return CacheFull(
                f"The cache in {self.path} cannot be written: {error}. Free some space there, or "
                "name another folder in STRONGROOM_CACHE_DIR."
            )
        return CacheUnusable(
            f"The cache in {self.path} cannot be used: {error}. Make the folder writable, "
            "or name another one in STRONGROOM_CACHE_DIR."
        )

    def _is_for_lack_of_room(self, said: str) -> bool:
        """LMDB speaks of EIO, too, where a write took less than it was given: the last one on a full disk."""
        if any(os.strerror(one) in said for one in NO_ROOM):
            return True
        if os.strerror(errno.EIO) not in said:
            return False
        with contextlib.suppress(OSError):
            status = os.statvfs(self.path)
            return status.f_bavail * status.f_frsize < _NEXT_TO_NOTHING
        return False

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[lmdb.Transaction]:
        try:
            with self.env.begin(db=self.dbs[name], buffers=False) as txn:
                yield txn
        except lmdb.Error as error:
            raise (self.damaged() if self.is_to_blame(error) else self.unusable(error)) from error

    @contextlib.contextmanager
    def writing(self, name: str = "meta") -> Iterator[lmdb.Transaction]:
        """Commits at the end, durably; raises `CacheUnusable` when the disk is full."""
        try:
            with self.env.begin(write=True, db=self.dbs[name]) as txn:
                yield txn
        except lmdb.Error as error:
            raise (self.damaged() if self.is_to_blame(error) else self.unusable(error)) from error
        self._let_go()

    def looked_up(self) -> None:
        """To be called for each look-up of a run that makes many: what they map must not grow."""
        self._look_ups += 1
        if self._look_ups % _LET_GO_EVERY == 0:
            self._let_go()

    def _let_go(self) -> None:
        mapped.let_go(self.path / "data.mdb")

    def record(self, seq: int) -> bytes | None:
        """The object of a log record that this machine has verified before."""
        with self.reading("log") as txn:
            found = txn.get(seq.to_bytes(8, "big"))
        return None if found is None else bytes(found)

    def keep_copies(self, name: str, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Of what can be fetched or counted again: a full disk keeps nobody from going on without."""
        with contextlib.suppress(CacheFull), self.writing(name) as txn:
            for key, value in items:
                txn.put(key, value)

    def note(self, txn: lmdb.Transaction, key: bytes, value: bytes) -> None:
        """Put a value into `meta`, for `noted`."""
        txn.put(key, guard(key, value), db=self.meta)

    def noted(self, txn: lmdb.Transaction, key: bytes) -> bytes | None:
        """A value of `meta`, None if there is none. Raises `CacheDamaged`."""
        stored = txn.get(key, db=self.meta)
        return None if stored is None else self.sound(key, bytes(stored))

    def sound(self, key: bytes, stored: bytes) -> bytes:
        """The value that was guarded. Raises `CacheDamaged`."""
        value = unguard(key, stored)
        if value is None:
            raise self.damaged()
        return value

    @staticmethod
    def is_to_blame(error: BaseException | None) -> bool:
        """Whether the database found its file damaged; bits may flip anywhere, so it may say so anywhere."""
        if not isinstance(error, lmdb.Error):
            return False
        return type(error) is not lmdb.Error and not isinstance(error, _OF_THE_SYSTEM)

    def damaged(self) -> CacheDamaged:
        """To be raised; the next run begins with an empty cache, those under way keep what they opened."""
        with contextlib.suppress(OSError):
            (self.path / "data.mdb").unlink()
        return CacheDamaged(
            f"The cache in {self.path} was damaged: check this machine's disk and memory. It was thrown "
            "away, nothing is lost by that: run the same command again."
        )

    def close(self) -> None:
        for env in (self.env, *self._left):
            env.close()


def _make_room_for_lock(path: Path) -> None:
    """LMDB maps a file with holes, and a full disk would end the process by a signal. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not os.fstat(fd).st_size:
            os.posix_fallocate(fd, 0, _LOCK_SIZE)
    finally:
        os.close(fd)
