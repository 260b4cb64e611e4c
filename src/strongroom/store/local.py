"""A repository in a folder of this machine.

An object is written to `tmp/`, synced, then given its name by `publish`: a reader sees a whole object
or none, and no object is ever replaced.
"""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import nsmallest
from threading import Lock
from weakref import finalize

from blake3 import blake3

from strongroom.errors import (
    Damaged,
    NotARepository,
    ObjectMissing,
    ParentPathMissing,
    PathOccupied,
    PlaceRefused,
    RepositoryMissing,
    StoreFailed,
    StoreFull,
)
from strongroom.store.direct import read_direct
from strongroom.store.disk import exists, make_folder, missing, pread, sync_folder, translate
from strongroom.store.names import (
    MAX_NAME,
    SCRATCH,
    check_hashed,
    check_name,
    check_prefix,
    following,
    is_component,
)
from strongroom.store.protocol import Buffer, Listed, Range, Unnamed
from strongroom.store.reserve import Reserve, Reserved
from strongroom.store.stamp import as_it_was, stamp, unstamp
from strongroom.store.upload import Mending, MendingRecord, Upload
from strongroom.store.vacancy import claim, deleted_remains, vacate

CONFIG = "config"
STALE_AFTER = 24 * 3600  # seconds without a write before a leftover of `tmp` is removed
_BATCH = 100_000  # names of one folder held at once


class LocalStore:
    """The `Store` of a folder. `clock` stamps log records, in nanoseconds since 1970 UTC."""

    uploads = 2
    owner_key = None

    def __init__(self, path: str, clock: Callable[[], int] = time.time_ns) -> None:
        self.path = os.path.abspath(path)
        self._clock = clock
        self._reserve = Reserve(self.path)
        self._spending = False
        self._released = False
        self._is_leaving = False  # of a repository that is being deleted the rest is left
        self._swept = False
        self._sweep_lock = Lock()
        self._unclaim: Callable[[], object] = lambda: None

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
            why = "it has no file `config`."
            if store.deleted_remains():
                why += " It is what an interrupted `init` or `delete` left: run that again."
            raise NotARepository(f"{store.path} is not a strongroom repository: {why}")
        return store

    @classmethod
    def create(
        cls,
        path: str,
        *,
        make_parents: bool = False,
        clock: Callable[[], int] = time.time_ns,
        reserve: int | None = None,
    ) -> "LocalStore":
        """A store in a new or an empty folder; `reserve` bytes of the disk are kept for deletions, but not
        more than a quarter of what is free.

        Raises `RepositoryExists`, `PathOccupied` (by something else), `ParentPathMissing`, `StoreError`.
        """
        store = cls(path, clock)
        is_new = True
        try:
            if make_parents:
                make_folder(os.path.dirname(store.path), mode=0o777)
            try:
                os.mkdir(store.path, 0o700)
                sync_folder(os.path.dirname(store.path))
            except FileExistsError:
                is_new = False
            claimed = claim(store.path)
        except NotADirectoryError:
            raise PathOccupied(f"There is already a file at {store.path}.") from None
        except FileNotFoundError:
            raise ParentPathMissing(
                f"The parent folder of {store.path} does not exist. Make it, or use --make-parent-dirs."
            ) from None
        except PermissionError as error:
            raise PlaceRefused(str(translate(error, store.path, "creating"))) from error
        except OSError as error:
            raise translate(error, store.path, "creating") from error
        store._unclaim = finalize(store, os.close, claimed)
        if not is_new:
            vacate(store.path, claimed)
        # A disk that is full already has nothing to keep.
        with contextlib.suppress(OSError):
            store._reserve.found(reserve)
        return store

    @classmethod
    def open_remains(cls, path: str, clock: Callable[[], int] = time.time_ns) -> "LocalStore":
        """What a killed `delete` left of a repository, and nothing else.

        Raises `NotARepository` where there is nothing of that kind, and `StoreError`.
        """
        store = cls(path, clock)
        if not store.deleted_remains():
            raise NotARepository(f"At {store.path} is nothing that an interrupted `delete` has left.")
        store._is_leaving = True
        return store

    def has_config(self) -> bool:
        try:
            return stat.S_ISREG(os.stat(self._path(CONFIG)).st_mode)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise translate(error, self._path(CONFIG), "opening") from error

    def deleted_remains(self) -> list[str]:
        """Paths of what a killed `delete` left of the repository. Raises `StoreError`."""
        try:
            return deleted_remains(self.path)
        except OSError as error:
            raise translate(error, self.path, "listing") from error

    def remove_remains(self) -> None:
        """What a killed `delete` left goes, too. Raises `StoreError`."""
        try:
            for path in self.deleted_remains():
                os.unlink(path)
                sync_folder(os.path.dirname(path))
            self._reserve.remove()
        except OSError as error:
            raise translate(error, self.path, "deleting the rest of") from error

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"a range of {name} from {offset}, {length} bytes long")
        with self._reading(name) as (fd, size):
            # The size bounds the buffer: a hostile length must not become an allocation.
            available = max(0, size - offset)
            return pread(fd, available if length is None else min(length, available), offset)

    def get_into(self, name: str, offset: int, length: int, space: memoryview) -> memoryview:
        with self._reading(name) as (fd, _):
            found = read_direct(fd, offset, length, space)
            if found is not None:
                return found
            done = 0
            while done < length and (got := os.preadv(fd, [space[done:length]], offset + done)):
                done += got
            return space[:done]

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[tuple[int, int]]:
        """Descriptor and size of an object. Raises `ObjectMissing`, `StoreError`."""
        path = self._path(name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    raise missing(name, path)
                yield fd, status.st_size
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise missing(name, path) from None
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
                raise missing(name, path) from None
            raise translate(error, path, "reading") from error
        if not stat.S_ISREG(status.st_mode):
            raise missing(name, path)
        return status.st_size

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        self._with_reserve(lambda: self._put(name, parts), may_use=self._spending)

    def _put(self, name: str, parts: Sequence[Buffer]) -> None:
        with self.begin(name) as upload:
            upload.write(*parts)
            self._commit(upload)

    def _commit(self, upload: Upload) -> None:
        upload.commit()

    def _with_reserve(self, write: Callable[[], None], *, may_use: bool) -> None:
        try:
            write()
        except StoreFull:
            if not may_use or not self.release_reserve():
                raise
            write()

    def release_reserve(self) -> bool:
        """Let what is kept for a full disk be used, until `refill_reserve`. False if there is nothing."""
        try:
            released = self._reserve.release()
        except OSError as error:
            raise translate(error, self.path, "using the reserve of") from error
        self._released = self._released or released
        return released

    def keep_reserve(self, size: int) -> int:
        """Keep so many bytes from now on, or a quarter of what is free if that is less; which it is."""
        try:
            self._reserve.release()
            self._reserve.found(size)
            return self._reserve.state().wanted
        except OSError as error:
            raise translate(error, self.path, "setting the reserve of") from error

    def refill_reserve(self) -> None:
        """Keep again what is to be kept, or as much of it as there is."""
        self._released = False
        # All that can go wrong here is that less is kept: `reserve` tells.
        with contextlib.suppress(OSError):
            self._reserve.refill()

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        self._spending = True
        try:
            if self._is_scarce():
                self.release_reserve()
            yield
        finally:
            self._spending = False
            self.refill_reserve()

    def reserve(self) -> Reserved:
        try:
            return self._reserve.state()
        except OSError as error:
            raise translate(error, self.path, "looking at the reserve of") from error

    def room(self) -> int:
        try:
            left, wanted = self._reserve.state()
            # What was given back is there, though a full disk may count it among what is set aside for root.
            return max(self._reserve.room(), wanted - left if self._released else 0)
        except OSError as error:
            raise translate(error, self.path, "looking at the space of") from error

    def now(self) -> int:
        return self._clock()

    def mend(self, name: str, parts: Sequence[Buffer]) -> None:
        hasher = blake3()
        for part in parts:
            hasher.update(part)
        if hasher.hexdigest() != check_hashed(name).rpartition("/")[2]:
            raise Damaged(f"What should mend {name} is damaged itself: it is not what the name says.")
        with self.begin_mending(name) as upload:
            upload.write(*parts)
            self._commit(upload)

    def mend_record(self, name: str, record: bytes) -> None:
        with self.begin_mending_record(name) as upload:
            upload.write(self.stamp_again(name, record))
            self._commit(upload)

    def begin_mending_record(self, name: str) -> MendingRecord:
        """For whoever knows that the record belongs there."""
        self._path(name)
        self._sweep()
        return MendingRecord(self.path, name)

    def stamp_again(self, name: str, record: bytes) -> bytes:
        """The object to store for a record that was lost: with its stamp, or with one that is not earlier."""
        try:
            damaged = self.get(name)
        except (ObjectMissing, StoreFailed):
            damaged = b""
        try:
            _, behind = unstamp(self.get(following(name, 2)[1]))
        except (ObjectMissing, StoreFailed, Damaged):
            behind = self._clock()
        return as_it_was(record, damaged) or stamp(record, behind)

    def begin_mending(self, name: str) -> Mending:
        """Start an object that takes a damaged one's place; whoever writes it checks its bytes."""
        self._path(check_hashed(name))
        self._sweep()
        return Mending(self.path, name)

    def begin(self, name: str) -> "Upload":
        """Start an object that arrives in pieces. Raises `ObjectExists` if the name is taken already."""
        target = self._path(name)
        if os.path.lexists(target):
            raise exists(name, target)
        self._sweep()
        return Upload(self.path, name)

    def begin_unnamed(self) -> Upload:
        """What is kept for a full disk is not for this."""
        self._sweep()
        return Upload(self.path)

    def put_begun(self, name: str, begun: Unnamed) -> None:
        self._path(name)
        assert isinstance(begun, Upload), "it was begun elsewhere"
        begun.call(name)
        self._commit(begun)

    def append_record(self, name: str, record: bytes) -> bytes:
        obj = stamp(record, self._clock())
        # A full disk must not keep anybody from asking for a deletion; a record is small.
        self._with_reserve(lambda: self._put(name, [obj]), may_use=True)
        return obj

    def append_records(self, name: str, records: Sequence[bytes]) -> None:
        for one, record in zip(following(name, len(records)), records, strict=True):
            self.append_record(one, record)

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
            sync_folder(os.path.dirname(path))
            if name == CONFIG or self._is_leaving:
                self._reserve.remove()  # no repository is left that could need it
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise missing(name, path) from None
        except OSError as error:
            raise translate(error, path, "deleting") from error

    def describe(self) -> str:
        return self.path

    def close(self) -> None:
        self._unclaim()
        if self._released or not self._is_scarce():
            self.refill_reserve()

    def _is_scarce(self) -> bool:
        try:
            return self._reserve.is_scarce()
        except OSError:
            return True  # nobody knows: what is kept may be used, and is not taken from others

    def _path(self, name: str) -> str:
        return os.path.join(self.path, check_name(name))

    @property
    def scratch(self) -> str:
        return os.path.join(self.path, SCRATCH)

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
