"""What is on the disk now, as entries that can be compared with an archive's: without content."""

import os
import stat
from collections.abc import Callable, Iterator

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

    def entries(self, folder: int, names: frozenset[bytes] | None) -> Iterator[tuple[Entry, os.stat_result]]:
        """What is in an open folder, sockets excepted, in the order of names; of `names` alone, if given.

        One after the other, as they are asked for: of a huge folder only the names are held.
        """
        listed = sorted(
            name for name in map(os.fsencode, os.listdir(folder)) if names is None or name in names
        )
        for name in listed:
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:  # gone since it was listed
                continue
            if not stat.S_ISSOCK(status.st_mode):
                yield self.entry(name, status), status

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
