"""Folders and files being restored: every step relative to an open folder, following no link.

Whatever an archive says, and whoever else changes the place meanwhile, nothing is made
outside of the folder that the restore began in.
"""

import contextlib
import errno
import os
import stat
import threading

import msgspec

from strongroom.archive.entries import HOLE, Entry
from strongroom.archive.platform import aligned, sparse, xattrs

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES = 10
_HOLE = bytes(HOLE)
_ZEROS = memoryview(bytes(1024 * 1024))
_KEEP_OPEN = 64  # levels of a deep tree that stay open; the others are found again through `..`


Identity = tuple[int, int]  # device and inode


class Raced(OSError):
    """What we made is no longer where we made it."""


class Obstructed(OSError):
    """A folder that holds something is where anything else belongs."""

    def __init__(self) -> None:
        super().__init__(None, "not restored: a folder that is not empty is in its place")


class Folder(msgspec.Struct, eq=False):
    """A folder of the destination. `uses` counts the stack and the files that are under way."""

    path: bytes  # in the archive
    entry: Entry | None  # None: implied, or not chosen
    fd: int
    identity: Identity
    uses: int = 1
    default_acl: bool | None = None  # not looked for yet

    def hands_on_acl(self) -> bool:
        """Whether what is made in it may get an access control list from it."""
        if self.default_acl is None:
            try:
                self.default_acl = xattrs.ACL_DEFAULT in xattrs.list_names(self.fd)[2]
            except OSError:
                self.default_acl = True
        return self.default_acl

    def release(self) -> None:
        self.uses -= 1
        if not self.uses:
            self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def open_destination(path: str) -> Folder:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return Folder(b"", None, fd, _identity(fd))


def enter(parent: Folder, name: bytes, path: bytes, entry: Entry | None) -> Folder:
    """Make or enter a folder; anything else of that name gives way. Raises OSError.

    One whose own mode comes back at the end is opened to its owner until then: an earlier restore
    may have left it read-only.
    """
    for _ in range(_TRIES):
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700 if entry is not None else 0o777, dir_fd=parent.fd)
        try:
            fd = os.open(name, _FOLDER, dir_fd=parent.fd)
        except OSError:
            if not _is_other(parent.fd, name):
                raise
            os.unlink(name, dir_fd=parent.fd)
            continue
        if entry is not None:
            _open_to_owner(fd)
        return Folder(path, entry, fd, _identity(fd))
    raise Raced(None, "something else takes the folder's place again and again")


def _open_to_owner(fd: int) -> None:
    status = os.fstat(fd)
    if status.st_mode & 0o300 != 0o300 and status.st_uid == os.geteuid() != 0:
        os.fchmod(fd, stat.S_IMODE(status.st_mode) | 0o700)


def rest(stack: list[Folder]) -> int:
    """Close what is far up a deep stack; `reopen` finds it again.

    Returns how many must stay open, for their files are under way.
    """
    busy = 0
    for folder in stack[:-_KEEP_OPEN]:
        if folder.uses == 1:
            folder.close()
        else:
            busy += folder.fd >= 0
    return busy


def reopen(parent: Folder, child: Folder) -> None:
    """Open a rested parent through its child. Raises `Raced` should somebody have moved it."""
    if parent.fd >= 0:
        return
    fd = os.open(b"..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=child.fd)
    if _identity(fd) != parent.identity:
        os.close(fd)
        raise Raced(None, "the folder was moved while it was restored")
    parent.fd = fd


def make_way(folder: Folder, name: bytes) -> None:
    """Remove what has the name; a folder only if it is empty. Raises `Obstructed`, OSError."""
    try:
        os.unlink(name, dir_fd=folder.fd)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        if _is_other(folder.fd, name):
            raise
        try:
            os.rmdir(name, dir_fd=folder.fd)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # POSIX allows either
                raise Obstructed from None
            raise


class FileTarget(msgspec.Struct, eq=False):
    """A regular file under way. `left` counts the chunks that are still to come."""

    folder: Folder
    name: bytes
    path: bytes
    entry: Entry
    left: int
    fd: int = -1
    direct: int | None = None  # a second descriptor, past the page cache; -1: there can be none
    kept: bool = False  # an earlier restore made it: what it holds where nothing is written is not zeros
    lock: threading.Lock = msgspec.field(default_factory=threading.Lock)
    damaged: list[tuple[int, int]] = []  # offset and size of what is lost
    error: OSError | None = None
    identity: Identity | None = None
    ctime: int = 0  # ns; like the identity, known once it was closed, if it was remembered

    def open(self) -> int:
        """Create the file when its first bytes come. Raises OSError."""
        with self.lock:
            if self.fd < 0:
                try:
                    self.fd = os.open(self.name, _NEW_FILE, 0o600, dir_fd=self.folder.fd)
                except FileExistsError:
                    make_way(self.folder, self.name)
                    self.fd = os.open(self.name, _NEW_FILE, 0o600, dir_fd=self.folder.fd)
                if _HOLE in self.entry.content:
                    # XFS would fill the holes of a file that grows with what it allocates in advance
                    os.ftruncate(self.fd, self.entry.size)
            return self.fd

    def open_direct(self) -> bool:
        """Whether the file may be written to past the page cache. Raises OSError."""
        fd = self.open()
        with self.lock:
            if self.direct is None:
                self.direct = aligned.open_direct(fd, self.folder.fd, self.name)
                if self.direct >= 0 and not self.kept:
                    self._preallocate(fd)
            return self.direct >= 0

    def _preallocate(self, fd: int) -> None:
        """Direct writes that make a file longer would wait for one another. Raises OSError."""
        if _HOLE in self.entry.content:
            os.ftruncate(fd, self.entry.size)
        else:
            os.posix_fallocate(fd, 0, self.entry.size)

    def write(self, offset: int, data: memoryview, *, make_holes: bool) -> None:
        fd = self.open()
        if make_holes:
            sparse.write_sparse(fd, offset, bytes(data))
            return
        done = 0
        while done < len(data):
            done += os.pwrite(fd, data[done:], offset + done)

    @property
    def may_end_early(self) -> bool:
        """Whether writing its chunks has perhaps not made it as long as it is to be."""
        return self.kept or bool(self.damaged) or _HOLE in self.entry.content

    def clear_damaged(self) -> None:
        """What is lost reads as zeros. Raises OSError."""
        for offset, size in self.damaged:
            for at in range(offset, offset + size, len(_ZEROS)):
                self.write(at, _ZEROS[: offset + size - at], make_holes=False)

    def close(self, *, remember: bool) -> None:
        """`remember`: which file it is will be asked for."""
        if self.fd >= 0:
            if remember:
                status = os.fstat(self.fd)
                self.identity, self.ctime = (status.st_dev, status.st_ino), status.st_ctime_ns
            os.close(self.fd)
            self.fd = -1
        if self.direct is not None and self.direct >= 0:
            os.close(self.direct)
            self.direct = -1


def reopen_file(folder: int, name: bytes, identity: Identity) -> int:
    """A file that we made, for its attributes. Raises `Raced` if another one has its name now."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = os.open(name, os.O_RDONLY | flags, dir_fd=folder)
    except PermissionError:  # its mode may let its owner write only
        fd = os.open(name, os.O_WRONLY | flags, dir_fd=folder)
    if _identity(fd) != identity:
        os.close(fd)
        raise Raced(None, "the file was replaced while it was restored")
    return fd


def reopen_below(destination: Folder, path: bytes, identity: Identity) -> int:
    """The same by its whole path in the destination."""
    folder = _open_parent(destination, path)
    try:
        return reopen_file(folder, os.path.basename(path), identity)
    finally:
        os.close(folder)


def link(destination: Folder, first: bytes, folder: Folder, name: bytes) -> None:
    """Give what was restored at the path `first` another name. Raises OSError."""
    source, base = _open_parent(destination, first), os.path.basename(first)
    try:
        if stat.S_ISDIR(os.stat(base, dir_fd=source, follow_symlinks=False).st_mode):
            raise Raced(None, "the first name of this hard link became a folder")
        for _ in range(2):
            try:
                os.link(base, name, src_dir_fd=source, dst_dir_fd=folder.fd, follow_symlinks=False)
                return
            except FileExistsError:
                if _is_same(source, base, folder.fd, name):  # an earlier restore has linked it
                    return
                make_way(folder, name)
        raise Raced(None, "something else takes the name again and again")
    finally:
        os.close(source)


def _open_parent(destination: Folder, path: bytes) -> int:
    """The folder of something restored, component by component, following no link."""
    fd = os.dup(destination.fd)
    for part in path.split(b"/")[:-1]:
        try:
            inner = os.open(part, _FOLDER, dir_fd=fd)
        finally:
            os.close(fd)
        fd = inner
    return fd


def check_own_node(fd: int, mode: int) -> None:
    """Raises `Raced` unless the pinned object can be the node that was just made.

    Whoever may write to the folder could have put a link to another file there: it has several names.
    """
    status = os.fstat(fd)
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(mode) or status.st_nlink != 1:
        raise Raced(None, "it was replaced while it was restored")


def _identity(fd: int) -> Identity:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _is_same(folder: int, name: bytes, other: int, other_name: bytes) -> bool:
    try:
        one = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return os.path.samestat(one, os.stat(other_name, dir_fd=other, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _is_other(fd: int, name: bytes) -> bool:
    try:
        return not stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return True
