"""Holding an object still while its attributes are read or set.

Python offers no `*at` forms of the calls for extended attributes, and no `AT_EMPTY_PATH`. What it
does offer is enough: an `O_PATH | O_NOFOLLOW` descriptor pins an object of any type, links and
devices included, without opening it, and `/proc/self/fd/N` names exactly what descriptor N pins
(proc_pid_fd(5): the kernel jumps to the object, it does not walk the path again, and a pinned
symlink is not followed). `/proc/self/fd/N/NAME` in the same way is NAME inside the directory N.
"""

import errno
import fcntl
import functools
import os

_O_PATH = getattr(os, "O_PATH", 0)
_O_SYMLINK = getattr(os, "O_SYMLINK", 0)  # macOS: opens the link itself


def pin(dir_fd: int, name: bytes) -> int:
    """A descriptor for `name` in a directory, whatever its type, never following a symlink.

    The caller closes it. Without O_PATH the object is opened for reading, which only regular
    files and directories (macOS: links too) allow. Raises OSError.
    """
    if _O_PATH:
        return os.open(name, _O_PATH | os.O_NOFOLLOW, dir_fd=dir_fd)
    how = _O_SYMLINK or os.O_NOFOLLOW
    return os.open(name, os.O_RDONLY | os.O_NONBLOCK | how, dir_fd=dir_fd)


def path_at(dir_fd: int, name: bytes) -> bytes:
    """A path for calls that take no `dir_fd`; pass it with `follow_symlinks=False`.

    `name` is one component. Raises OSError where /proc is not mounted.
    """
    return b"%s/%s" % (proc_path(dir_fd), name)


def handle(fd: int) -> int | bytes:
    """What `os.chown`, `os.chmod`, `os.utime` and `os.setxattr` accept for `fd`, and follow to it.

    Raises OSError for an O_PATH descriptor where /proc is not mounted.
    """
    return proc_path(fd) if is_path_only(fd) else fd


def is_path_only(fd: int) -> bool:
    return bool(_O_PATH and fcntl.fcntl(fd, fcntl.F_GETFL) & _O_PATH)


def proc_path(fd: int) -> bytes:
    """Names what `fd` pins. Raises OSError where /proc is not mounted."""
    if not _proc_is_mounted():
        raise OSError(
            errno.ENOSYS,
            "/proc is not mounted, without it the attributes of links and special files are out of reach",
        )
    return b"/proc/self/fd/%d" % fd


@functools.cache
def _proc_is_mounted() -> bool:
    return os.path.isdir(b"/proc/self/fd")
