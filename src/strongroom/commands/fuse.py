"""A `Browser` as a FUSE file system, through mfusepy and libfuse 3 or 2.

Everything here runs on libfuse's threads, several at a time. Nothing ever changes, so the kernel
keeps names, attributes and content as long as it likes. The methods of `_Adapter` replace those of
mfusepy that cost most: content is copied once, from the opened bundle to the kernel's buffer, and
the attributes of a folder's entries travel with the names (readdirplus).
"""

import ctypes
import errno
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import mfusepy
import msgspec

from strongroom.archive.browsing import Browser, Folder, Node, stored_size
from strongroom.archive.compact import CompactFolder
from strongroom.archive.content import Chunks, FileContent
from strongroom.archive.platform import flags as file_flags
from strongroom.archive.platform import xattrs
from strongroom.archive.platform.acls import acl_from_text, mode_without_acl
from strongroom.archive.platform.owners import Owners
from strongroom.errors import AclInvalid, StrongroomError
from strongroom.reporting import IO_ERROR, Notice, Reporter

_ENFORCES_ACLS = 1 << 19  # FUSE_CAP_POSIX_ACL, libfuse's fuse_common.h
_FLAGS_OF_FOLDERS = 1 << 11  # FUSE_CAP_IOCTL_DIR; libfuse 3 has it without asking
_PLUS_WANTED = 1  # FUSE_READDIR_PLUS, fuse.h
_PLUS_GIVEN = 2  # FUSE_FILL_DIR_PLUS
_FOREVER = 86_400  # seconds that the kernel may trust what it was told
_TOLD = 10_000  # different complaints that are remembered, so that each is told once
_THREADS = 16

_view = ctypes.pythonapi.PyMemoryView_FromMemory
_view.restype = ctypes.py_object
_view.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)
_THREADS_STAY = (mfusepy.fuse_version_major, mfusepy.fuse_version_minor) >= (3, 12)
"""Whether libfuse can be told so; before, it ended those that were idle."""
_thread = threading.local()
_WRITABLE = 0x200  # PyBUF_WRITE
_UNSIGNED = 0xFFFFFFFF  # libfuse gave the number of an ioctl as a signed int before 3.5


class Appearance(msgspec.Struct, frozen=True):
    """How files look. None leaves what the archive says."""

    uid: int | None = None
    gid: int | None = None
    umask: int = 0
    numeric_ids: bool = False
    ignore_permissions: bool = False


class _OpenFolder(msgspec.Struct):
    """Its entries are listed when they are asked for: who walks opens each parent again, only to go up."""

    path: str
    node: Folder
    inside: CompactFolder[Node] | list[tuple[bytes, Node]] | None = None


class _OpenFile(msgspec.Struct, frozen=True):
    path: str
    node: Node
    content: FileContent


class ArchiveOperations(mfusepy.Operations):  # type: ignore[misc]
    """What mfusepy calls. Paths are text with surrogate escapes; None where a handle says it all."""

    use_ns = True
    flag_nullpath_ok = True
    flag_nopath = True

    def __init__(
        self,
        browser: Browser,
        chunks: Chunks,
        appearance: Appearance,
        reporter: Reporter,
        mounted: Callable[[], None],
    ) -> None:
        """`mounted` is called once, when the file system answers."""
        self._browser = browser
        self._chunks = chunks
        self._look = appearance
        self._reporter = reporter
        self._mounted = mounted
        self._owners = Owners()
        self._acls_enforced = False
        self._numbers = itertools.count(1)
        self._files: dict[int, _OpenFile] = {}
        self._folders: dict[int, _OpenFolder] = {}
        self._told: set[str] = set()

    def init_with_config(self, conn_info: Any, config_3: Any) -> None:
        conn_info.want |= conn_info.capable & _FLAGS_OF_FOLDERS
        if config_3 is not None and not self._look.ignore_permissions:
            # else a list's mask would pass for what the group may do
            self._acls_enforced = bool(conn_info.capable & _ENFORCES_ACLS)
            conn_info.want |= conn_info.capable & _ENFORCES_ACLS
        self._mounted()

    # --- names and attributes ---

    def find(self, path: str) -> Node:
        try:
            return self._browser.find(path.encode("utf-8", "surrogateescape"))
        except FileNotFoundError:
            raise OSError(errno.ENOENT, path) from None
        except NotADirectoryError:
            raise OSError(errno.ENOTDIR, path) from None
        except StrongroomError as error:
            raise self.failed(path, error) from error

    def failed(self, path: str, error: Exception) -> OSError:
        """EIO, and a line in the log, once for each complaint."""
        line = f"{path}: {error}"
        if line not in self._told:
            if len(self._told) >= _TOLD:
                self._told.clear()
            self._told.add(line)
            self._reporter.warn(Notice(line, *IO_ERROR))
        return OSError(errno.EIO, path)

    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, int]:
        if path is not None:
            return self.attributes(self.find(path))
        number = fh or 0
        if number in self._files:
            return self.attributes(self._files[number].node)
        return self.attributes(self._folders[number].node)

    def attributes(self, node: Node) -> dict[str, int]:
        entry, look = node.entry, self._look
        uid, gid = look.uid, look.gid
        if uid is None:
            uid = self._owners.uid(entry.user) if entry.user and not look.numeric_ids else None
            uid = entry.uid if uid is None else uid
        if gid is None:
            gid = self._owners.gid(entry.group) if entry.group and not look.numeric_ids else None
            gid = entry.gid if gid is None else gid
        mode = entry.mode
        if entry.acl_access is not None and not self._acls_enforced:
            mode = mode_without_acl(mode, entry.acl_access)
        size = entry.size if entry.target is None else len(entry.target)
        return {
            "st_ino": node.inode,
            "st_mode": mode & ~look.umask,
            # the number of all names is in no tree; 1 tells `find` not to count subfolders by it
            "st_nlink": 1 if entry.link is None or entry.is_dir else 2,
            "st_uid": uid,
            "st_gid": gid,
            "st_rdev": entry.rdev or 0,
            "st_size": size,
            "st_blksize": 128 * 1024,
            "st_blocks": (stored_size(entry) + 511) // 512,
            "st_atime": entry.mtime if entry.atime is None else entry.atime,
            "st_mtime": entry.mtime,
            "st_ctime": entry.mtime if entry.ctime is None else entry.ctime,
        }

    def readlink(self, path: str) -> str:
        target = self.find(path).entry.target
        if target is None:
            raise OSError(errno.EINVAL, path)
        return target.decode("utf-8", "surrogateescape")

    def listxattr(self, path: str) -> list[str]:
        entry = self.find(path).entry
        names = list(entry.xattrs or ())
        if entry.acl_access is not None:
            names.append(xattrs.ACL_ACCESS)
        if entry.acl_default is not None and entry.is_dir:
            names.append(xattrs.ACL_DEFAULT)
        return [name.decode("utf-8", "surrogateescape") for name in names]

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        entry = self.find(path).entry
        wanted = name.encode("utf-8", "surrogateescape")
        text = {xattrs.ACL_ACCESS: entry.acl_access, xattrs.ACL_DEFAULT: entry.acl_default}.get(wanted)
        if text is not None:
            try:
                return acl_from_text(text, self._owners, numeric_ids=self._look.numeric_ids)
            except AclInvalid as error:
                raise self.failed(path, error) from error
        # a list that hides among the attributes would pass by all checks of lists
        value = None if wanted in _ACLS else (entry.xattrs or {}).get(wanted)
        if value is None:
            raise OSError(_NO_ATTRIBUTE, path)
        return value

    def statfs(self, path: str) -> dict[str, int]:
        return {"f_bsize": 4096, "f_frsize": 4096, "f_namemax": 255}

    # --- handles ---

    def opendir(self, path: str) -> int:
        node = self.find(path)
        if not isinstance(node, Folder):
            raise OSError(errno.ENOTDIR, path)
        number = next(self._numbers)
        self._folders[number] = _OpenFolder(path, node)
        return number

    def entries(self, fh: int, position: int) -> Iterator[tuple[bytes, Node]]:
        """From a position on, "." and ".." before all, in an order that stays while the handle is open."""
        folder = self._folders[fh]
        yield from ((b".", folder.node), (b"..", folder.node))[position:]
        position = max(0, position - 2)
        try:
            if folder.inside is None:
                inside = self._browser.children(folder.node)
                folder.inside = inside if isinstance(inside, CompactFolder) else list(inside.items())
            if isinstance(folder.inside, CompactFolder):
                yield from folder.inside.since(position)
            else:
                yield from (folder.inside[at] for at in range(position, len(folder.inside)))
        except StrongroomError as error:
            raise self.failed(folder.path, error) from error

    def readdir_with_offset(self, path: str | None, offset: int, fh: int) -> None:
        """mfusepy must see it; `_Adapter` does it."""

    def releasedir(self, path: str | None, fh: int) -> int:
        self._folders.pop(fh, None)
        return 0

    def open(self, path: str, flags: int) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EROFS, path)
        node = self.find(path)
        if not node.entry.is_regular:
            raise OSError(errno.EINVAL, path)
        number = next(self._numbers)
        self._files[number] = _OpenFile(path, node, FileContent(node.entry, self._chunks))
        return number

    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:
        return self.content(fh).read(offset, size)

    def content(self, fh: int) -> FileContent:
        return self._files[fh].content

    def path_of(self, fh: int) -> str:
        return self._files[fh].path

    def ioctl(self, path: str | None, cmd: int, arg: Any, fh: int, flags: int, data: Any) -> int:
        """lsattr's question, for the flags of a file or folder; the kernel itself opens it for that."""
        if cmd & _UNSIGNED != file_flags.GET or not data:
            raise OSError(errno.ENOTTY, path)
        node = self._files[fh].node if fh in self._files else self._folders[fh].node
        ctypes.cast(data, ctypes.POINTER(ctypes.c_uint32))[0] = node.entry.flags or 0
        return 0

    def lseek(self, path: str | None, offset: int, whence: int, fh: int) -> int:
        content = self.content(fh)
        found = content.seek_data(offset) if whence == os.SEEK_DATA else content.seek_hole(offset)
        if found is None:
            raise OSError(errno.ENXIO, path)
        return found

    def release(self, path: str | None, fh: int) -> int:
        self._files.pop(fh, None)
        return 0


_ACLS = (xattrs.ACL_ACCESS, xattrs.ACL_DEFAULT)
_NO_ATTRIBUTE = errno.ENODATA if sys.platform == "linux" else getattr(errno, "ENOATTR", errno.ENODATA)


class _Adapter(mfusepy.FUSE):  # type: ignore[misc]
    operations: ArchiveOperations

    def _wrapper(self, func: Callable[..., int | None], *args: Any, **kwargs: Any) -> int:
        if _THREADS_STAY and not hasattr(_thread, "known"):
            # else the interpreter would make what it keeps of a thread anew for each call
            ctypes.pythonapi.PyGILState_Ensure()
            _thread.known = True
        return int(super()._wrapper(func, *args, **kwargs))

    def read(self, path: bytes | None, buf: Any, size: int, offset: int, fip: Any) -> int:
        operations, number = self.operations, fip.contents.fh
        target = _view(ctypes.addressof(buf.contents), size, _WRITABLE)
        try:
            return operations.content(number).read_into(target, offset)
        except StrongroomError as error:
            raise operations.failed(operations.path_of(number), error) from error

    def readdir_fuse_3(
        self, path: bytes | None, buf: Any, filler: Any, offset: int, fip: Any, flags: int
    ) -> int:
        plus = bool(flags & _PLUS_WANTED)
        status = mfusepy.c_stat()
        entries = self.operations.entries(fip.contents.fh, offset)
        for position, (name, node) in enumerate(entries, offset + 1):
            self._fill(status, node, whole=plus)
            if filler(buf, name, status, position, _PLUS_GIVEN if plus else 0):
                break
        return 0

    def readdir_fuse_2(self, path: bytes | None, buf: Any, filler: Any, offset: int, fip: Any) -> int:
        status = mfusepy.c_stat()
        entries = self.operations.entries(fip.contents.fh, offset)
        for position, (name, node) in enumerate(entries, offset + 1):
            self._fill(status, node, whole=False)
            if filler(buf, name, status, position):
                break
        return 0

    def _fill(self, status: Any, node: Node, *, whole: bool) -> None:
        if whole:
            mfusepy.set_st_attrs(status, self.operations.attributes(node), use_ns=True)
        else:
            status.st_ino, status.st_mode = node.inode, node.entry.mode

    def lseek(self, path: bytes | None, offset: int, whence: int, fip: Any) -> int:
        return self.operations.lseek(None, offset, whence, fip.contents.fh)


def run(operations: ArchiveOperations, mountpoint: str, options: dict[str, str | bool]) -> int:
    """Mount, and serve until it is unmounted or a signal ends it; returns libfuse's own code, 0 for success.

    libfuse handles signals that nobody else handles, in the main thread, where this must run.
    """
    chosen: dict[str, str | bool] = {
        "entry_timeout": str(_FOREVER),
        "attr_timeout": str(_FOREVER),
        "negative_timeout": str(_FOREVER),
        "kernel_cache": True,
        "use_ino": True,
        **options,
    }
    if _THREADS_STAY:
        chosen["max_threads"] = chosen["max_idle_threads"] = str(_THREADS)
    try:
        _Adapter(operations, mountpoint, foreground=True, **chosen)
    except RuntimeError as error:
        return int(error.args[0]) if error.args and isinstance(error.args[0], int) else 1
    return 0
