"""A repository in a folder of this machine.

An object is written to `tmp/`, synced, then given its name by `publish`: a reader sees a whole object
or none, and no object is ever replaced.
"""

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import nsmallest
from threading import Lock
from types import TracebackType
from typing import Self

from strongroom.errors import (
    NotARepository,
    ObjectExists,
    ObjectMissing,
    ParentPathMissing,
    PathOccupied,
    RepositoryExists,
    RepositoryMissing,
    StoreError,
    StoreFailed,
    StoreFull,
    StoreRefused,
)
from strongroom.store.names import MAX_NAME, QUOTA, SCRATCH, check_name, check_prefix, is_component
from strongroom.store.protocol import Buffer, Listed, Range
from strongroom.store.publish import publish
from strongroom.store.stamp import stamp

CONFIG = "config"
STALE_AFTER = 24 * 3600  # seconds without a write before a leftover of `tmp` is removed
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP}  # FUSE and network file systems may lack it
_BATCH = 100_000  # names of one folder held at once
_MAX_VECTORS = 512  # below every system's IOV_MAX


class LocalStore:
    """The `Store` of a folder. `clock` stamps log records, in nanoseconds since 1970 UTC."""

    uploads = 2

    def __init__(self, path: str, clock: Callable[[], int] = time.time_ns) -> None:
        self.path = os.path.abspath(path)
        self._clock = clock
        self._swept = False
        self._sweep_lock = Lock()

    @classmethod
    def open(cls, path: str, clock: Callable[[], int] = time.time_ns) -> "LocalStore":
        """The store of an existing repository. Raises `RepositoryMissing`, `NotARepository`, `StoreError`."""
        store = cls(path, clock)
        try:
            if not stat.S_ISDIR(os.stat(store.path).st_mode):
                raise NotARepository(f"{store.path} is a file, not a repository's folder")
        except (FileNotFoundError, NotADirectoryError):
            raise RepositoryMissing(f"Repository {store.path} does not exist. Make it with `init`.") from None
        except OSError as error:
            raise translate(error, store.path, "opening") from error
        if not store.has_config():
            raise NotARepository(f"{store.path} is not a strongroom repository: it has no file `config`.")
        return store

    @classmethod
    def create(
        cls, path: str, *, make_parents: bool = False, clock: Callable[[], int] = time.time_ns
    ) -> "LocalStore":
        """A store in a new or an empty folder.

        Raises `RepositoryExists`, `PathOccupied` (by something else), `ParentPathMissing`, `StoreError`.
        """
        store = cls(path, clock)
        try:
            if make_parents:
                _make_folder(os.path.dirname(store.path), mode=0o777)
            os.mkdir(store.path, 0o700)
            _sync_folder(os.path.dirname(store.path))
        except FileExistsError:
            store._check_vacant()
        except FileNotFoundError:
            raise ParentPathMissing(
                f"The parent folder of {store.path} does not exist. Make it, or use --make-parent-dirs."
            ) from None
        except OSError as error:
            raise translate(error, store.path, "creating") from error
        return store

    def has_config(self) -> bool:
        try:
            return stat.S_ISREG(os.stat(self._path(CONFIG)).st_mode)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise translate(error, self._path(CONFIG), "opening") from error

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"a range of {name} from {offset}, {length} bytes long")
        path = self._path(name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    raise _missing(name, path)
                # The size bounds the buffer: a hostile length must not become an allocation.
                available = max(0, status.st_size - offset)
                return _pread(fd, available if length is None else min(length, available), offset)
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise _missing(name, path) from None
            raise translate(error, path, "reading") from error

    def get_many(self, ranges: Iterable[Range]) -> Iterator[bytes]:
        for part in ranges:
            yield self.get(part.name, part.offset, part.length)

    def size(self, name: str) -> int:
        """Bytes of an object. Raises `ObjectMissing`."""
        path = self._path(name)
        try:
            status = os.stat(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise _missing(name, path) from None
            raise translate(error, path, "reading") from error
        if not stat.S_ISREG(status.st_mode):
            raise _missing(name, path)
        return status.st_size

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        with self.begin(name) as upload:
            upload.write(*parts)
            upload.commit()

    def begin(self, name: str) -> "Upload":
        """Start an object that arrives in pieces. Raises `ObjectExists` if the name is taken already."""
        target = self._path(name)
        if os.path.lexists(target):
            raise _exists(name, target)
        self._sweep()
        return Upload(self, name, target)

    def append_record(self, name: str, record: bytes) -> bytes:
        obj = stamp(record, self._clock())
        self.put(name, [obj])
        return obj

    def list(self, prefix: str) -> Iterator[Listed]:
        """As the protocol says; files whose names no object can have are left out."""
        check_prefix(prefix)
        return self._list(prefix)

    def _list(self, prefix: str) -> Iterator[Listed]:
        folder = os.path.join(self.path, prefix)
        for tail in self._tails(folder, is_top=prefix == ""):
            name = prefix + tail
            if tail.endswith("/"):
                if len(name) < MAX_NAME:
                    yield from self._list(name)
                continue
            try:
                status = os.stat(os.path.join(folder, tail))
            except FileNotFoundError:
                continue  # deleted meanwhile
            except OSError as error:
                raise translate(error, os.path.join(folder, tail), "listing") from error
            if stat.S_ISREG(status.st_mode):
                yield Listed(name, status.st_size)

    def _tails(self, folder: str, *, is_top: bool) -> Iterator[str]:
        """Names in a folder, in order, those of folders with a slash: so they sort as their contents do.

        Read again for every `_BATCH`, so that no folder, however full, takes the memory.
        """
        last = ""
        while True:
            try:
                with os.scandir(folder) as entries:
                    tails = (
                        entry.name + "/" if entry.is_dir() else entry.name
                        for entry in entries
                        if is_component(entry.name) and not (is_top and entry.name == SCRATCH)
                    )
                    batch = nsmallest(_BATCH, (tail for tail in tails if tail > last))
            except (FileNotFoundError, NotADirectoryError):
                return
            except OSError as error:
                raise translate(error, folder, "listing") from error
            yield from batch
            if len(batch) < _BATCH:
                return
            last = batch[-1]

    def delete(self, name: str) -> None:
        path = self._path(name)
        try:
            os.unlink(path)
            _sync_folder(os.path.dirname(path))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise _missing(name, path) from None
        except OSError as error:
            raise translate(error, path, "deleting") from error

    def describe(self) -> str:
        return self.path

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _path(self, name: str) -> str:
        return os.path.join(self.path, check_name(name))

    @property
    def scratch(self) -> str:
        return os.path.join(self.path, SCRATCH)

    def _check_vacant(self) -> None:
        """The folder was there before `create`: it must be empty, or as a stopped `create` left it."""
        if not os.path.isdir(self.path):
            raise PathOccupied(f"There is already a file at {self.path}.")
        try:
            present = set(os.listdir(self.path))
        except OSError as error:
            raise translate(error, self.path, "listing") from error
        if CONFIG in present:
            raise RepositoryExists(f"A repository already exists at {self.path}.")
        if present - {SCRATCH, QUOTA, "keys"}:
            raise PathOccupied(f"There is already something at {self.path}: choose an empty or a new folder.")

    def _sweep(self) -> None:
        """Remove what crashed runs left in `tmp` a day ago or earlier; once for each store object."""
        with self._sweep_lock:
            if self._swept:
                return
            self._swept = True
        # Leftovers cost space alone: a failure here must not stop the write that comes next.
        with contextlib.suppress(OSError), os.scandir(self.scratch) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_mtime < time.time() - STALE_AFTER:
                    os.unlink(entry.path)


class Upload:
    """An object on its way: `write` its parts, then `commit`; leaving the `with` without that drops it."""

    def __init__(self, store: LocalStore, name: str, target: str) -> None:
        self._store = store
        self._name = name
        self._target = target
        self._path = os.path.join(store.scratch, secrets.token_hex(16))
        self._fd = -1
        self.size = 0  # bytes written so far
        try:
            self._fd = self._open()
        except OSError as error:
            raise translate(error, self._path, "writing") from error

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            # Only the scratch folder is made here: a repository that vanished must not come back empty.
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._store.scratch, 0o700)
            return os.open(self._path, flags, 0o600)

    def write(self, *parts: Buffer) -> None:
        """Append the parts. Raises `StoreFull`, `StoreRefused`, `StoreFailed`."""
        views = [memoryview(part).cast("B") for part in parts if len(part)]
        try:
            while views:
                written = os.writev(self._fd, views[:_MAX_VECTORS])
                self.size += written
                done = 0
                while done < len(views) and written >= len(views[done]):
                    written -= len(views[done])
                    done += 1
                del views[:done]
                if views and written:
                    views[0] = views[0][written:]
        except OSError as error:
            raise translate(error, self._target, "writing") from error

    def commit(self) -> None:
        """Make the object durable under its name. Raises `ObjectExists`, `StoreError`."""
        self.sync()
        self.publish()

    def sync(self) -> None:
        """The first half of `commit`, and the slow one: nothing can be written any more."""
        try:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
        except OSError as error:
            raise translate(error, self._target, "writing") from error

    def publish(self) -> None:
        """The second half of `commit`."""
        folder = os.path.dirname(self._target)
        try:
            lock = os.path.join(self._store.scratch, "publish-lock")
            try:
                publish(self._path, self._target, lock)
            except FileNotFoundError:
                _make_folder(folder, mode=0o700, top=self._store.path)
                publish(self._path, self._target, lock)
            self._path = ""
            _sync_folder(folder)
        except FileExistsError:
            raise _exists(self._name, self._target) from None
        except OSError as error:
            raise translate(error, self._target, "writing") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)


def translate(error: OSError, path: str, doing: str) -> StoreError:
    """The error of ours that says what `error` means for `path`."""
    why = os.strerror(error.errno) if error.errno is not None else str(error)
    if error.errno in _FULL:
        return StoreFull(f"{doing} {path}: {why}. Free some space or raise the quota, then run again.")
    if error.errno in _REFUSED:
        return StoreRefused(f"{doing} {path}: {why}. Check the owner and mode of the repository's folders.")
    return StoreFailed(f"{doing} {path}: {why}. Check the disk and its cabling, then run `check`.")


def _missing(name: str, path: str) -> ObjectMissing:
    return ObjectMissing(f"object {name} is missing at {path}; run `check` to learn what needs it")


def _exists(name: str, path: str) -> ObjectExists:
    return ObjectExists(f"object {name} exists already at {path}; objects are never replaced")


def _pread(fd: int, length: int, offset: int) -> bytes:
    data = os.pread(fd, length, offset)
    if len(data) == length or not data:
        return data
    parts = [data]
    got = len(data)
    while got < length and (data := os.pread(fd, length - got, offset + got)):
        parts.append(data)
        got += len(data)
    return b"".join(parts)


def _make_folder(path: str, *, mode: int, top: str = "/") -> None:
    """Make `path` and what is missing above it, below `top`, each synced into its parent."""
    if os.path.isdir(path) or path == top:
        return
    parent = os.path.dirname(path)
    _make_folder(parent, mode=mode, top=top)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    _sync_folder(parent)


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(fd)
