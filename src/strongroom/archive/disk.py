"""What is on the disk now, as entries that can be compared with an archive's: without content."""

import os
import stat
from collections.abc import Callable

from strongroom.archive.capture import storable_time
from strongroom.archive.entries import Entry
from strongroom.archive.options import Attributes
from strongroom.archive.platform import pinning
from strongroom.archive.platform.owners import Owners
from strongroom.archive.platform.reading import PartlyRead, read_extended

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class DiskReader:
    """Methods raise OSError for the object at hand; `partly` is called for single attributes."""

    def __init__(self, attributes: Attributes, owners: Owners, partly: Callable[[OSError], None]) -> None:
        self._attributes = attributes
        self._owners = owners
        self._partly = partly

    def entries(self, folder: int, names: frozenset[bytes] | None) -> list[tuple[Entry, os.stat_result]]:
        """What is in an open folder, sockets excepted, in the order of names; of `names` alone, if given."""
        found = []
        with os.scandir(folder) as listed:
            for one in listed:
                name = os.fsencode(one.name)
                if names is None or name in names:
                    status = one.stat(follow_symlinks=False)
                    if not stat.S_ISSOCK(status.st_mode):
                        found.append((self.entry(name, status), status))
        found.sort(key=lambda one: one[0].name)
        return found

    def entry(self, name: bytes, status: os.stat_result) -> Entry:
        """What stat tells."""
        mode = status.st_mode
        entry = Entry(
            name,
            mode,
            status.st_uid,
            status.st_gid,
            self._owners.user(status.st_uid),
            self._owners.group(status.st_gid),
            storable_time(status.st_mtime_ns),
            status.st_size if stat.S_ISREG(mode) else 0,
            b"",
            ctime=storable_time(status.st_ctime_ns),
        )
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            entry.rdev = status.st_rdev
        return entry

    def complete(self, folder: int, entry: Entry, status: os.stat_result) -> None:
        """Fill in a link's target, extended attributes, access control lists and flags."""
        if stat.S_ISLNK(entry.mode):
            entry.target = os.readlink(entry.name, dir_fd=folder)
        if not (entry.is_regular or entry.is_dir):
            self._extend(entry, pinning.path_at(folder, entry.name), status)
            return
        fd = self.open(folder, entry)
        try:
            self._extend(entry, fd, status)
        finally:
            os.close(fd)

    def complete_top(self, fd: int, entry: Entry, status: os.stat_result) -> None:
        """The same for the folder that is open as `fd`."""
        self._extend(entry, fd, status)

    def open(self, folder: int, entry: Entry) -> int:
        """A regular file or folder, never what a link leads to."""
        return os.open(entry.name, _FLAGS, dir_fd=folder)

    def _extend(self, entry: Entry, target: int | bytes, status: os.stat_result) -> None:
        try:
            extended = read_extended(
                target, status.st_mode, self._attributes, self._owners, device=status.st_dev
            )
        except PartlyRead as error:
            self._partly(error)
            extended = error.extended
        if extended is not None:
            entry.xattrs = extended.xattrs
            entry.acl_access = extended.acl_access
            entry.acl_default = extended.acl_default
            entry.flags = extended.flags
