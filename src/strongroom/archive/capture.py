"""Making the entry of one file system object: its metadata, and its content through the pipeline."""

import os
import stat
import struct
import time
from collections.abc import Callable

import msgspec

from strongroom.archive.chunking import MINIMUM, ChunkedReader, Content
from strongroom.archive.entries import Entry, without_holes
from strongroom.archive.folder_cache import NEVER, FileRecord
from strongroom.archive.notices import FileRaced
from strongroom.archive.options import Attributes, FilesCacheMode
from strongroom.archive.platform import flags as file_flags
from strongroom.archive.platform import pinning, sparse
from strongroom.archive.platform.owners import Owners
from strongroom.archive.platform.reading import Extended, PartlyRead, read_extended

RACY_NS = 2_000_000_000
"""A file that changed this shortly before it was read may change again without its times showing it:
the coarsest file systems (FAT) count in 2 s. Such files are read anew by the next run."""

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_NOATIME = getattr(os, "O_NOATIME", 0)
_HAS_BIRTHTIME = hasattr(os.stat_result, "st_birthtime")  # not on Linux
_LAST_TIME = (1 << 63) - 1
_INODE = struct.Struct("<QQ")
_SPECIAL = (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK)


class Captured(msgspec.Struct):
    """`status` is Borg's letter; `record` is what the local cache may keep of a regular file."""

    entry: Entry
    status: str
    record: FileRecord | None = None


class _Inode(msgspec.Struct):
    """What the first name of an inode gave, for its other names."""

    size: int
    content: bytes  # chunk ids, concatenated
    sizes: list[int] | None  # of the chunks
    extended: Extended | None
    names_left: int


def storable_time(ns: int) -> int:
    """Clamped to what a tree can hold: some file systems count much further."""
    return min(max(ns, -(1 << 63)), (1 << 64) - 1)


def same_file(one: os.stat_result, other: os.stat_result) -> bool:
    """Neither replaced nor changed between the two looks."""
    return (
        one.st_ino == other.st_ino
        and one.st_ctime_ns == other.st_ctime_ns
        and one.st_mtime_ns == other.st_mtime_ns
        and one.st_size == other.st_size
        and one.st_mode == other.st_mode
    )


class Capturer:
    """Knows how to store everything but folders. For one thread.

    Methods raise OSError for the object at hand; `partly` is called for single attributes.
    """

    def __init__(
        self,
        reader: ChunkedReader,
        attributes: Attributes,
        owners: Owners,
        mode: FilesCacheMode,
        tagger: Callable[[bytes], bytes],
        knows: Callable[[bytes], bool],
        progress: Callable[[int], None],
    ) -> None:
        self._reader = reader
        self.attributes = attributes
        self.owners = owners
        self._mode = mode
        self._tagger = tagger
        self._knows = knows
        self._progress = progress
        self._euid = os.geteuid()
        self._named = not attributes.numeric_ids
        self._with_ctime = attributes.ctime
        self._with_more_times = attributes.atime or (attributes.birthtime and _HAS_BIRTHTIME)
        self._links: dict[tuple[int, int], _Inode] = {}  # those with several names

    # --- what all kinds share ---

    def entry(
        self,
        name: bytes,
        status: os.stat_result,
        extended: Extended | None,
        size: int = 0,
        content: bytes = b"",
        sizes: list[int] | None = None,
    ) -> Entry:
        """Everything but target, device number and hard link."""
        uid, gid = status.st_uid, status.st_gid
        mtime, ctime = status.st_mtime_ns, status.st_ctime_ns
        if mtime > _LAST_TIME or ctime > _LAST_TIME:
            mtime, ctime = storable_time(mtime), storable_time(ctime)
        named = self._named
        entry = Entry(
            name,
            status.st_mode,
            uid,
            gid,
            self.owners.user(uid) if named else None,
            self.owners.group(gid) if named else None,
            mtime,
            size,
            content,
            sizes,
            None,
            None,
            None,
            ctime if self._with_ctime else None,
        )
        if self._with_more_times:
            self._add_times(entry, status)
        if extended is not None:
            entry.xattrs = extended.xattrs
            entry.acl_access = extended.acl_access
            entry.acl_default = extended.acl_default
            entry.flags = extended.flags
        return entry

    def _add_times(self, entry: Entry, status: os.stat_result) -> None:
        if self.attributes.atime:
            entry.atime = storable_time(status.st_atime_ns)
        birthtime = getattr(status, "st_birthtime", None)
        if self.attributes.birthtime and birthtime is not None:
            entry.birthtime = storable_time(int(birthtime * 1e9))

    def extended(
        self, target: int | bytes, status: os.stat_result, partly: Callable[[OSError], None]
    ) -> Extended | None:
        try:
            return read_extended(target, status.st_mode, self.attributes, self.owners, device=status.st_dev)
        except PartlyRead as error:
            partly(error)
            return error.extended

    def link_id(self, status: os.stat_result) -> bytes | None:
        """The same for all names of an inode; None for those with one name."""
        if status.st_nlink < 2:
            return None
        return self._tagger(_INODE.pack(status.st_dev, status.st_ino))[:8]

    # --- regular files ---

    def is_nodump(self, folder: int, name: bytes, status: os.stat_result) -> bool:
        fd = self._open(folder, name, status)
        try:
            return file_flags.is_nodump(fd, status.st_mode, status.st_dev)
        finally:
            os.close(fd)

    def regular(
        self,
        folder: int,
        name: bytes,
        status: os.stat_result,
        known: FileRecord | None,
        newest: int,
        partly: Callable[[OSError], None],
    ) -> Captured:
        """`newest`: a file that changed after this (ns since the epoch) is read again by the next run."""
        linked = status.st_nlink > 1
        if linked and (status.st_dev, status.st_ino) in self._links:
            return self._another_name(name, status)
        if known is not None and self._unchanged(known, status):
            joined, sizes = known.content, known.sizes
            size = status.st_size if sizes is None else sum(sizes)
            letter = "U"
            self._progress(size)
            extended = self._extended_of(folder, name, status, partly)
        else:
            status, content, extended, changed = self._read(folder, name, status, partly)
            ids = content.ids
            if len(ids) == 1:
                size, joined, sizes = content.sizes[0], ids[0], content.sizes_if_needed()
            else:
                size, joined, sizes = content.size, content.joined(), content.sizes_if_needed()
            letter = "C" if changed else ("A" if known is None else "M")
        entry = self.entry(name, status, extended, size, joined, sizes)
        if linked:
            entry.link = self.link_id(status)
            inode = _Inode(size, joined, sizes, extended, status.st_nlink - 1)
            self._links[status.st_dev, status.st_ino] = inode
        ctime, mtime = status.st_ctime_ns, status.st_mtime_ns
        if ctime >= newest or mtime >= newest or letter == "C":
            ctime = mtime = NEVER
        return Captured(
            entry, letter, FileRecord(b"", status.st_ino, status.st_size, ctime, mtime, joined, sizes)
        )

    def _extended_of(
        self, folder: int, name: bytes, status: os.stat_result, partly: Callable[[OSError], None]
    ) -> Extended | None:
        fd = self._open(folder, name, status)
        try:
            return self.extended(fd, status, partly)
        finally:
            os.close(fd)

    def _another_name(self, name: bytes, status: os.stat_result) -> Captured:
        inode = self._links[status.st_dev, status.st_ino]
        inode.names_left -= 1
        if not inode.names_left:
            del self._links[status.st_dev, status.st_ino]
        entry = self.entry(name, status, inode.extended, inode.size, inode.content, inode.sizes)
        entry.link = self.link_id(status)
        return Captured(entry, "h")

    def _unchanged(self, known: FileRecord, status: os.stat_result) -> bool:
        mode = self._mode
        if not mode.read:
            return False
        if mode.time == "ctime":
            same = known.ctime == status.st_ctime_ns
        else:
            same = known.mtime == status.st_mtime_ns
        return (
            same
            and (not mode.size or known.size == status.st_size)
            and (not mode.inode or known.inode == status.st_ino)
            # a hole is stored nowhere
            and self._knows(known.content if known.sizes is None else without_holes(known.content))
        )

    def _open(self, folder: int, name: bytes, status: os.stat_result) -> int:
        if _NOATIME and self._euid in (0, status.st_uid):
            try:
                return os.open(name, _FLAGS | _NOATIME, dir_fd=folder)
            except PermissionError:  # root without CAP_FOWNER, as in user namespaces
                pass
        return os.open(name, _FLAGS, dir_fd=folder)

    def _read(
        self, folder: int, name: bytes, status: os.stat_result, partly: Callable[[OSError], None]
    ) -> tuple[os.stat_result, Content, Extended | None, bool]:
        """Read it, and once more should it have changed since it was listed."""
        fd = self._open(folder, name, status)
        try:
            content = self._content(fd, status)
            after = os.fstat(fd)
            if same_file(status, after):
                return status, content, self.extended(fd, status, partly), False
            if not stat.S_ISREG(after.st_mode) or after.st_ino != status.st_ino:
                raise FileRaced(None, "file type or inode changed (race condition)")
            os.lseek(fd, 0, os.SEEK_SET)
            status = after
            content = self._content(fd, status)
            after = os.fstat(fd)
            return status, content, self.extended(fd, status, partly), not same_file(status, after)
        finally:
            os.close(fd)

    def _content(self, fd: int, status: os.stat_result) -> Content:
        size = status.st_size
        holes = sparse.may_have_holes(status)
        if size <= MINIMUM and not (holes and size > sparse.BLOCK):
            data = os.read(fd, size + 1)
            if len(data) == size:
                self._progress(size)
                return self._reader.add_small(data)
            os.lseek(fd, 0, os.SEEK_SET)  # it grew, shrank, or is one of /proc's that claim to be empty
        return self._reader.add_file(fd, size, sparse=holes, progress=self._progress)

    # --- the others ---

    def symlink(
        self, folder: int, name: bytes, status: os.stat_result, partly: Callable[[OSError], None]
    ) -> Captured:
        entry = self.entry(name, status, self.extended(pinning.path_at(folder, name), status, partly))
        entry.target = os.readlink(name, dir_fd=folder)
        entry.link = self.link_id(status)
        return Captured(entry, "s")

    def node(
        self, folder: int, name: bytes, status: os.stat_result, partly: Callable[[OSError], None]
    ) -> Captured:
        """FIFOs and device nodes."""
        entry = self.entry(name, status, self.extended(pinning.path_at(folder, name), status, partly))
        if not stat.S_ISFIFO(status.st_mode):
            entry.rdev = status.st_rdev
        entry.link = self.link_id(status)
        letter = {stat.S_IFIFO: "f", stat.S_IFCHR: "c", stat.S_IFBLK: "b"}[stat.S_IFMT(status.st_mode)]
        return Captured(entry, letter)

    def special(self, folder: int, name: bytes, status: os.stat_result) -> Captured:
        """The content of a FIFO or device, stored as a regular file: `--read-special`."""
        # No O_NOFOLLOW: a link to a device is read as the device.
        # No O_NONBLOCK: a FIFO's writer may come late.
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=folder)
        try:
            opened = os.fstat(fd)
            if stat.S_IFMT(opened.st_mode) not in _SPECIAL:
                raise FileRaced(None, "file type or inode changed (race condition)")
            content = Content()
            self._reader.add_stream(lambda view: os.readv(fd, [view]), content, self._progress)
            entry = self.entry(name, opened, None)
        finally:
            os.close(fd)
        entry.mode = stat.S_IFREG | stat.S_IMODE(opened.st_mode)
        entry.size, entry.content, entry.sizes = content.size, content.joined(), content.sizes_if_needed()
        return Captured(entry, "A")

    def stream(self, name: bytes, mode: int, user: str | None, group: str | None, fd: int) -> Entry:
        """Everything that comes out of a descriptor, as a regular file that is made now."""
        content = Content()
        self._reader.add_stream(lambda view: os.readv(fd, [view]), content, self._progress)
        now = time.time_ns()
        uid = 0 if user is None else self.owners.uid(user)
        gid = 0 if group is None else self.owners.gid(group)
        return Entry(
            name,
            stat.S_IFREG | stat.S_IMODE(mode),
            uid if uid is not None else 0,
            gid if gid is not None else 0,
            user,
            group,
            now,
            content.size,
            content.joined(),
            content.sizes_if_needed(),
        )


def is_special(status: os.stat_result) -> bool:
    return stat.S_IFMT(status.st_mode) in _SPECIAL
