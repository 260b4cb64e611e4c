"""Counting what a folder holds, exactly, while several sessions write to it.

In `<folder>/.quota` lie: `lock`, held (flock) around every change; `used`, the bytes of all objects;
and a file for each session with the bytes that its unfinished uploads may still take, locked for as long
as the session lives. An object is published under the lock, so that at any moment it is counted once, as
a reservation or as an object. Each session counts anew before its first reservation: what a killed
session left behind, or what was removed by hand, is then right again.

Every object is charged whole blocks, lest many tiny ones fill the disk for nothing.
"""

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from threading import Lock

from strongroom.errors import QuotaExceeded, StoreFull
from strongroom.store.disk import translate
from strongroom.store.local import CONFIG, LocalStore
from strongroom.store.names import QUOTA, RESERVE, SCRATCH

BLOCK = 4096  # bytes
_SESSION = "session-"
_DIGITS = 20
Replaced = Callable[[], int | None]


def charge(size: int) -> int:
    """Bytes that an object of `size` bytes is counted with."""
    return max(1, -(-size // BLOCK)) * BLOCK


class Quota:
    """At most `limit` bytes below `folder`. Methods may be called from several threads."""

    def __init__(self, folder: str, limit: int) -> None:
        """Raises `StoreError` if the folder cannot be written."""
        self.folder = folder
        self.limit = limit
        self._place = os.path.join(folder, QUOTA)
        self._mutex = Lock()
        self._reserved = 0
        self._counted = False
        self._session = os.path.join(self._place, _SESSION + secrets.token_hex(8))
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._place, 0o700)
            self._lock_fd = _open(os.path.join(self._place, "lock"))
            with self._locked():
                self._session_fd = _open(self._session)
                fcntl.flock(self._session_fd, fcntl.LOCK_EX)
                _write_number(self._session_fd, 0)
        except OSError as error:
            raise translate(error, self._place, "counting the quota in") from error

    def reserve(self, size: int, beyond: int = 0) -> None:
        """Hold room for an object of `size` bytes, until `settle` or `release`. Raises `QuotaExceeded`.

        `beyond` bytes more than the limit are allowed: for what frees space.
        """
        with self._locked():
            used, reserved = self._taken()
            if used + reserved + charge(size) > self.limit + beyond:
                raise QuotaExceeded(
                    f"the quota of {self.limit} bytes does not hold {charge(size)} bytes more: {used} used, "
                    f"{reserved} on their way. Delete archives and run `compact`, "
                    "or have the quota raised."
                )
            self._reserve(charge(size))

    def room(self, beyond: int = 0) -> int:
        """Bytes that `reserve` would still hold; below 0 if the limit was lowered."""
        with self._locked():
            return self.limit + beyond - sum(self._taken())

    @contextlib.contextmanager
    def settle(self, size: int, replaced: Replaced = lambda: None) -> Iterator[None]:
        """Around the publishing of a reserved object: it is counted if that succeeds.

        `replaced` tells afterwards how many bytes the object had whose place it took, if there was one.
        """
        with self._locked():
            try:
                yield
                self._count_new(size, replaced())
            finally:
                self._reserve(-charge(size))

    def release(self, size: int) -> None:
        """The reserved object does not come."""
        with self._locked():
            self._reserve(-charge(size))

    @contextlib.contextmanager
    def adding(self, size: int, replaced: Replaced = lambda: None) -> Iterator[None]:
        """Around the publishing of an object that no quota may hinder: else as `settle`."""
        with self._locked():
            yield
            self._count_new(size, replaced())

    @contextlib.contextmanager
    def freeing(self, size: int) -> Iterator[None]:
        """Around the removal of an object: its bytes are free if that succeeds."""
        with self._locked():
            yield
            self._add(-charge(size))

    def used(self) -> int:
        """Bytes in use, counted now."""
        with self._locked():
            return self._recount()

    def close(self) -> None:
        with self._mutex:
            if self._lock_fd < 0:
                return
            with contextlib.suppress(OSError):
                os.unlink(self._session)
            os.close(self._session_fd)
            os.close(self._lock_fd)
            self._lock_fd = -1

    # --- with the lock held ---

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._mutex:
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
                try:
                    yield
                finally:
                    fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
            except OSError as error:
                raise translate(error, self._place, "counting the quota in") from error

    def _taken(self) -> tuple[int, int]:
        """Bytes of objects, and of those on their way."""
        used = self._used() if self._counted else self._recount()
        return used, sum(self._reservations()) + self._reserved

    def _reserve(self, change: int) -> None:
        self._reserved += change
        _write_number(self._session_fd, self._reserved)

    def _reservations(self) -> Iterator[int]:
        """What other living sessions hold; files of dead ones are removed."""
        with os.scandir(self._place) as entries:
            for entry in entries:
                if not entry.name.startswith(_SESSION) or entry.path == self._session:
                    continue
                try:
                    fd = os.open(entry.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                except FileNotFoundError:
                    continue
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)
                except BlockingIOError:
                    yield _read_number(fd)
                finally:
                    os.close(fd)

    def _used(self) -> int:
        fd = _open(os.path.join(self._place, "used"))
        try:
            return _read_number(fd)
        finally:
            os.close(fd)

    def _store_used(self, value: int) -> None:
        fd = _open(os.path.join(self._place, "used"))
        try:
            _write_number(fd, value)
        finally:
            os.close(fd)

    def _count_new(self, size: int, replaced: int | None) -> None:
        self._add(charge(size) - (0 if replaced is None else charge(replaced)))

    def _add(self, change: int) -> None:
        self._store_used(max(0, self._used() + change))

    def _recount(self) -> int:
        total = count(self.folder)
        self._store_used(total)
        self._counted = True
        return total


def quota_of(store: LocalStore, folder: str, limit: int) -> Quota:
    """For a folder that the store is in. Raises `StoreError` if it cannot be written."""
    try:
        return Quota(folder, limit)
    except StoreFull:
        # counting takes a file: on a full disk nobody could even delete
        if not store.release_reserve():
            raise
        try:
            return Quota(folder, limit)
        finally:
            store.refill_reserve()


def count(folder: str) -> int:
    """Bytes charged for all objects below `folder`, unfinished uploads left out. Raises OSError."""
    total = 0
    waiting = [(folder, False)]
    while waiting:
        path, is_scratch = waiting.pop()
        try:
            entries = os.scandir(path)
        except FileNotFoundError:
            continue
        with entries:
            found = list(entries)
        is_repository = any(entry.name == CONFIG for entry in found)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                scratch = entry.name in (QUOTA, RESERVE) or (
                    # A repository that is being made has uploads before it has a config; of one that
                    # someone calls `tmp`, all counts, its config too.
                    entry.name == SCRATCH
                    and (is_repository or not _is_file(os.path.join(entry.path, CONFIG)))
                )
                waiting.append((entry.path, scratch))
            elif not is_scratch:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    total += charge(status.st_size)
    return total


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _read_number(fd: int) -> int:
    text = os.pread(fd, _DIGITS, 0)
    if not text.isdigit():
        # A crash can leave the file empty; the next session's count puts it right.
        return 0
    return int(text)


def _write_number(fd: int, value: int) -> None:
    text = b"%0*d" % (_DIGITS, value)
    at = 0
    while at < len(text):  # a call may take less than it was given
        at += os.pwrite(fd, text[at:], at)
