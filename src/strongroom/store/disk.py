"""What stores do to a disk besides reading and writing: folders, durability, and errors in words."""

import contextlib
import errno
import os

from strongroom.errors import ObjectExists, ObjectMissing, StoreError, StoreFailed, StoreFull, StoreRefused

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP}  # FUSE and network file systems may lack it


def translate(error: OSError, path: str, doing: str) -> StoreError:
    """The error of ours that says what `error` means for `path`."""
    why = os.strerror(error.errno) if error.errno is not None else str(error)
    if error.errno in _FULL:
        return StoreFull(f"{doing} {path}: {why}. Free some space or raise the quota, then run again.")
    if error.errno in _REFUSED:
        return StoreRefused(f"{doing} {path}: {why}. Check the owner and mode of the repository's folders.")
    return StoreFailed(f"{doing} {path}: {why}. Check the disk and its cabling, then run `check`.")


def missing(name: str, path: str) -> ObjectMissing:
    return ObjectMissing(f"object {name} is missing at {path}; run `check` to learn what needs it")


def exists(name: str, path: str) -> ObjectExists:
    return ObjectExists(f"object {name} exists already at {path}; objects are never replaced")


def pread(fd: int, length: int, offset: int) -> bytes:
    data = os.pread(fd, length, offset)
    if len(data) == length or not data:
        return data
    parts = [data]
    got = len(data)
    while got < length and (data := os.pread(fd, length - got, offset + got)):
        parts.append(data)
        got += len(data)
    return b"".join(parts)


def make_folder(path: str, *, mode: int, top: str = "/") -> None:
    """Make `path` and what is missing above it, below `top`, each synced into its parent."""
    if os.path.isdir(path) or path == top:
        return
    parent = os.path.dirname(path)
    make_folder(parent, mode=mode, top=top)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    sync_folder(parent)


def write_private(path: str | os.PathLike[str], content: bytes) -> None:
    """A file for its owner's eyes, whole and synced when this returns. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        write_synced(fd, content)
    finally:
        os.close(fd)


def write_synced(fd: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]  # a call may take less than it was given
    os.fsync(fd)


def sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(fd)
