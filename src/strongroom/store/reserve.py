"""Space for the day when the disk is full: a file of nothing, given back when something must be deleted.

In `<repository>/.reserve` lie `size`, how many bytes are to be kept (text; an administrator may write
another number, 0 for none), and `space`, the file that keeps them.
"""

import contextlib
import errno
import os
import sys
from typing import NamedTuple

from strongroom.store.disk import pread
from strongroom.store.names import RESERVE

DEFAULT = 64 << 20  # bytes: a pack that `compact` fills and its index
LEAST = 256 << 10
_SHARE = 100  # of a disk, one in so many bytes at the most
_MOST = 4  # of what is free, one in so many bytes, however much is asked for
_DIGITS = 20
_STEP = 1 << 20
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ALLOCATION = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


class Reserved(NamedTuple):
    """Bytes that are kept now, and that are to be."""

    left: int
    wanted: int


class Reserve:
    """Of the repository in the folder `root`. Methods raise OSError."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._folder = os.path.join(root, RESERVE)
        self._space = os.path.join(self._folder, "space")
        self._size = os.path.join(self._folder, "size")

    def found(self, size: int | None = None) -> None:
        """In a new repository. A disk without room for it gets none until there is; no `size` takes more
        than a quarter of what is free."""
        wanted = self.default() if size is None else min(size, self.room() // _MOST)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._folder, 0o700)
        fd = os.open(self._size, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, b"%d\n" % wanted)
        finally:
            os.close(fd)
        self.refill()

    def default(self) -> int:
        status = os.statvfs(self._root)
        return min(DEFAULT, max(LEAST, status.f_blocks * status.f_frsize // _SHARE))

    def state(self) -> Reserved:
        try:
            left = os.stat(self._space).st_size
        except FileNotFoundError:
            left = 0
        return Reserved(left, self._wanted())

    def _wanted(self) -> int:
        try:
            fd = os.open(self._size, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return 0  # made by an older program, or without one
        try:
            text = pread(fd, _DIGITS, 0).strip()
        finally:
            os.close(fd)
        return int(text) if text.isdigit() else 0

    def is_scarce(self) -> bool:
        """Whether little more is free than what is kept."""
        status = os.statvfs(self._root)
        return status.f_bavail * status.f_frsize < 2 * self._wanted()

    def room(self) -> int:
        """Bytes of the disk that are free for this user."""
        status = os.statvfs(self._root)
        if not status.f_blocks:
            return sys.maxsize  # some file systems that are not on a disk count nothing at all
        return status.f_bavail * status.f_frsize

    def release(self) -> bool:
        """Give the space back. False if there was none."""
        try:
            os.unlink(self._space)
        except FileNotFoundError:
            return False
        return True

    def remove(self) -> None:
        """Keep nothing any more: the repository goes."""
        for path in (self._size, self._space):  # in this order: a run that is killed refills nothing
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(self._folder)

    def refill(self) -> None:
        """Keep what is wanted, or as much of it as there is."""
        left, wanted = self.state()
        if left >= wanted:
            return
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._folder, 0o700)
        fd = os.open(self._space, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            step = wanted - left
            while left < wanted and step >= 4096:
                try:
                    _grow(fd, left, min(step, wanted - left))
                except OSError as error:
                    if error.errno not in NO_ROOM:
                        raise
                    os.ftruncate(fd, left)
                    step //= 2
                else:
                    left += min(step, wanted - left)
        finally:
            os.close(fd)


def _grow(fd: int, start: int, length: int) -> None:
    try:
        os.posix_fallocate(fd, start, length)
    except OSError as error:
        if error.errno not in _NO_ALLOCATION:
            raise
        # what compresses would keep nothing
        for at in range(start, start + length, _STEP):
            size = min(_STEP, start + length - at)
            if os.pwrite(fd, os.urandom(size), at) < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
