"""Giving a finished file its name, atomically, and never over another one.

Three ways, the best that the file system has: a hard link; Linux's renameat2(RENAME_NOREPLACE);
a look and a rename under a lock of the whole store.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from functools import cache

_UNSUPPORTED = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.ENOTTY}
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1  # linux/fs.h


def publish(source: str, target: str, lock: str) -> None:
    """Move the file `source` to `target`. `lock` is the path of the lock file for the last resort.

    Raises FileExistsError if `target` exists, another OSError as it came; `source` is then still there.
    """
    for attempt in (_by_link, _by_renameat2):
        try:
            attempt(source, target)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        else:
            return
    _under_lock(source, target, lock)


def _by_link(source: str, target: str) -> None:
    os.link(source, target, follow_symlinks=False)
    # A name too many is harmless: the next writers remove it with the other leftovers.
    with contextlib.suppress(OSError):
        os.unlink(source)


def _by_renameat2(source: str, target: str) -> None:
    import ctypes

    rename = _renameat2()
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), source)
    if rename(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), source, None, target)


def _under_lock(source: str, target: str, lock: str) -> None:
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        os.rename(source, target)
    finally:
        os.close(fd)


@cache
def _renameat2() -> Callable[..., int] | None:
    """glibc's wrapper, since 2.28; None where the C library has none."""
    import ctypes

    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    function.restype = ctypes.c_int
    result: Callable[..., int] = function
    return result
