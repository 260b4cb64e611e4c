"""Whether a repository may be founded in a folder, and what killed runs left there.

`init` stores a key, then the config, then the first record of the log. Before that record nothing can be in
the repository, so what lies there may go. Whoever founds holds a shared lock (flock) on the folder: what
another `init` is about to finish is not taken for a leftover.
"""

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterator, Set

from strongroom.errors import PathOccupied, RepositoryExists
from strongroom.store.disk import sync_folder, translate
from strongroom.store.names import QUOTA, RESERVE, SCRATCH

_CONFIG = "config"
_MADE_BY_INIT = {SCRATCH, QUOTA, RESERVE, "keys", _CONFIG}
_FOLDERS = {"archives", "index", "leases", "log", "packs", "parity", "refs"}  # may be there, but empty
_LEASE = re.compile(r"[0-9a-f]{32}")
_LAST_DELETED = ("keys", "log")  # by `delete`, after the config
_NO_LOCKS = {errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.ENOSYS, errno.EBADF}


def claim(path: str) -> int:
    """A descriptor that says, as long as it is open, that a repository is being founded. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(fd, fcntl.LOCK_SH)
    except BaseException:
        os.close(fd)
        raise
    return fd


def vacate(path: str, claimed: int) -> None:
    """The folder must be empty, or as a killed `init` left it: of that, what is in the way is removed.

    Raises `RepositoryExists`, `PathOccupied`, `StoreError`.
    """
    try:
        present = set(os.listdir(path))
        if _CONFIG not in present:
            if _is_used(path, present):
                raise PathOccupied(_occupied(path, present))
            return
        if _is_used(path, present):
            raise RepositoryExists(f"A repository already exists at {path}.")
        if not _lock(claimed, fcntl.LOCK_EX | fcntl.LOCK_NB):
            raise RepositoryExists(
                f"Another `init` of {path} is going on. If that machine is gone, remove the folder by hand."
            )
        if _has_files(path, "log"):  # it was finished meanwhile
            raise RepositoryExists(f"A repository already exists at {path}.")
        _remove(path, os.path.join(path, _CONFIG))
        for key in _files(os.path.join(path, "keys")):
            _remove(os.path.dirname(key), key)
        _lock(claimed, fcntl.LOCK_SH)
    except OSError as error:
        raise translate(error, path, "founding a repository in") from error


def deleted_remains(path: str) -> list[str]:
    """What a killed `delete` of a repository left: the paths of keys and log records, and nothing else.

    Empty if anything else is there, too, a config above all. Raises OSError.
    """
    try:
        found = list(_files(path, leave_out={SCRATCH, QUOTA, RESERVE}))
    except NotADirectoryError:
        return []
    tops = tuple(os.path.join(path, name) + os.sep for name in _LAST_DELETED)
    return found if all(one.startswith(tops) for one in found) else []


def _is_used(path: str, present: set[str]) -> bool:
    others = present - _MADE_BY_INIT
    if "leases" in others and _has_only_leases(path):
        others.remove("leases")
    return bool(others - _FOLDERS) or any(_has_files(path, name) for name in others)


def _has_only_leases(path: str) -> bool:
    """`replicate` takes one before anything else is in the copy: they are advice, and run out."""
    try:
        with os.scandir(os.path.join(path, "leases")) as entries:
            return all(_LEASE.fullmatch(one.name) and one.is_file(follow_symlinks=False) for one in entries)
    except NotADirectoryError:
        return False


def _occupied(path: str, present: set[str]) -> str:
    if "log" in present and deleted_remains(path):
        return (
            f"At {path} is what an interrupted `delete` left of a repository. Finish it with "
            "`strongroom delete`, or choose a new folder."
        )
    return f"There is already something at {path}: choose an empty or a new folder."


def _files(top: str, leave_out: Set[str] = frozenset()) -> Iterator[str]:
    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for folder, below, names in os.walk(top, onerror=fail):
        if folder == top:
            below[:] = [name for name in below if name not in leave_out]
        yield from (os.path.join(folder, name) for name in names)


def _has_files(path: str, area: str) -> bool:
    """A file in the place of the folder counts, too."""
    top = os.path.join(path, area)
    if not os.path.isdir(top) or os.path.islink(top):
        return os.path.lexists(top)
    return next(_files(top), None) is not None


def _remove(folder: str, path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sync_folder(folder)


def _lock(fd: int, how: int) -> bool:
    """False if another holds it, or if the file system has no locks."""
    try:
        fcntl.flock(fd, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True
