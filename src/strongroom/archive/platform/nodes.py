"""Making what is neither a regular file nor a directory: symlinks, FIFOs and device nodes."""

import errno
import os
import stat

from strongroom.archive.entries import Entry
from strongroom.errors import NodeRefused

_MOST_RDEV = 0xFFFFFFFF  # the kernel's own limit: 12 bits of major, 20 of minor number


def is_node(mode: int) -> bool:
    """Whether `make_node` is the one to make an object of this st_mode; sockets included."""
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def make_node(dir_fd: int, name: bytes, entry: Entry) -> None:
    """Create `name` in the directory, accessible to the owner alone; attributes come afterwards.

    Replaces nothing: FileExistsError (an OSError, like all that the system itself refuses) if the
    name is taken. Raises NodeRefused for what a user can do something about or an archive should
    not ask for.
    """
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise NodeRefused(f"{_shown(name)} is not a name that a file can have; nothing was created.")
    kind = stat.S_IFMT(entry.mode)
    if kind == stat.S_IFLNK:
        _make_symlink(dir_fd, name, entry)
    elif kind == stat.S_IFIFO:
        os.mkfifo(name, 0o600, dir_fd=dir_fd)
    elif kind in (stat.S_IFBLK, stat.S_IFCHR):
        _make_device(dir_fd, name, entry)
    elif kind == stat.S_IFSOCK:
        raise NodeRefused(
            f"{_shown(name)} is a socket; sockets are made by the program that listens on them, not restored."
        )
    else:
        raise NodeRefused(f"{_shown(name)} is of a type unknown here ({kind:#o}); nothing was created.")


def _make_symlink(dir_fd: int, name: bytes, entry: Entry) -> None:
    if not entry.target or b"\0" in entry.target:
        raise NodeRefused(f"The archive has no valid target for the symlink {_shown(name)}.")
    os.symlink(entry.target, name, dir_fd=dir_fd)


def _make_device(dir_fd: int, name: bytes, entry: Entry) -> None:
    if entry.rdev is None or not 0 <= entry.rdev <= _MOST_RDEV:
        raise NodeRefused(f"The archive has no valid device number for {_shown(name)}.")
    try:
        os.mknod(name, stat.S_IFMT(entry.mode) | 0o600, entry.rdev, dir_fd=dir_fd)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        word = "block" if stat.S_ISBLK(entry.mode) else "character"
        number = f"{os.major(entry.rdev)}:{os.minor(entry.rdev)}"
        raise NodeRefused(
            f"Only root may create {_shown(name)}, the {word} device {number}; extract as root to restore it."
        ) from error


def _shown(name: bytes) -> str:
    return repr(os.fsdecode(name))
