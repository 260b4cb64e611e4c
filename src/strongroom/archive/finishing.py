"""What makes a restored file or node complete: its metadata, and what is told of it."""

import errno
import os

import msgspec

from strongroom.archive.entries import Entry
from strongroom.archive.options import RestoreOptions
from strongroom.archive.platform import pinning
from strongroom.archive.platform.nodes import make_node
from strongroom.archive.platform.owners import Owners
from strongroom.archive.platform.restoring import restore_attributes, restore_flags
from strongroom.archive.targets import (
    FileTarget,
    Folder,
    Identity,
    check_own_node,
    make_way,
    reopen_below,
    reopen_file,
)
from strongroom.errors import NodeRefused, StoreFull
from strongroom.reporting import BACKUP_ERROR, Notice, Reporter

Shortfalls = dict[str, tuple[int, bytes]]
"""What could not be restored, of how many files, and the path of the first."""


class Finisher:
    """Makes nodes and sets attributes; `attributes` from any thread. Failures are warnings."""

    def __init__(self, options: RestoreOptions, reporter: Reporter) -> None:
        self._options = options
        self._reporter = reporter
        self._owners = Owners()
        self._as_root = os.geteuid() == 0
        # with several names: flags come at the end, where the file lies then
        self._flagged: dict[bytes, tuple[FileTarget, Identity]] = {}
        self._shortfalls: Shortfalls = {}

    def write(self, target: FileTarget, offset: int, data: memoryview) -> None:
        """Raises OSError."""
        if not self._options.dry_run:
            target.write(offset, data, make_holes=self._options.sparse and not target.kept)

    def finish(self, target: FileTarget, *, remember: bool) -> None:
        """The last chunk has arrived, or will never. `remember`: which file it is will be asked for."""
        if self._options.dry_run:
            return
        try:
            if target.error is None:
                fd = target.open()
                if target.kept:
                    target.clear_damaged()
                doubtful = self._options.sparse or target.may_end_early
                if doubtful and os.fstat(fd).st_size != target.entry.size:
                    os.ftruncate(fd, target.entry.size)
                if target.entry.link is None:
                    self._attributes_of_file(fd, target)
        except OSError as error:
            target.error = error
        finally:
            target.close(remember=remember)

    def make_node(self, folder: Folder, path: bytes, entry: Entry) -> None:
        try:
            try:
                make_node(folder.fd, entry.name, entry)
            except FileExistsError:
                make_way(folder, entry.name)
                make_node(folder.fd, entry.name, entry)
            fd = pinning.pin(folder.fd, entry.name)
            try:
                check_own_node(fd, entry.mode)
                self.attributes(fd, entry, path)
            finally:
                os.close(fd)
        except NodeRefused as error:
            self.warn(path, str(error))
        except OSError as error:
            self.fail(path, error)

    def attributes(self, fd: int, entry: Entry, path: bytes, *, flags: bool = True) -> None:
        wanted = self._options.attributes
        if not flags:
            wanted = msgspec.structs.replace(wanted, flags=False)
        self._fell_short(path, restore_attributes(fd, entry, wanted, self._owners, as_root=self._as_root))

    def _attributes_of_file(self, fd: int, target: FileTarget) -> None:
        """Of a regular file that was opened in its folder."""
        problems = restore_attributes(
            fd,
            target.entry,
            self._options.attributes,
            self._owners,
            as_root=self._as_root,
            opened=True,
            inherited=target.kept or target.folder.hands_on_acl(),
        )
        self._fell_short(target.path, problems)

    def _fell_short(self, path: bytes, sentences: list[str]) -> None:
        for sentence in sentences:
            count, first = self._shortfalls.get(sentence, (0, path))
            self._shortfalls[sentence] = count + 1, first

    def take_shortfalls(self) -> Shortfalls:
        """For another one to tell them."""
        taken, self._shortfalls = self._shortfalls, {}
        return taken

    def add_shortfalls(self, taken: Shortfalls) -> None:
        for sentence, (more, path) in taken.items():
            count, first = self._shortfalls.get(sentence, (0, path))
            self._shortfalls[sentence] = count + more, first

    def attributes_of_linked(self, target: FileTarget, place: bytes) -> None:
        """`place` is where it lies in the destination."""
        assert target.identity is not None
        try:
            fd = reopen_file(target.folder.fd, target.name, target.identity)
        except OSError as error:
            self.fail(target.path, error)
            return
        try:
            self.attributes(fd, target.entry, target.path, flags=False)
        finally:
            os.close(fd)
        if target.entry.flags and self._options.attributes.flags:
            self._flagged[place] = target, target.identity

    def move_flags(self, place: bytes, other: bytes | None) -> None:
        """Something else gets the place; the file that had it may have an `other` one."""
        flagged = self._flagged.pop(place, None)
        if flagged is not None and other is not None:
            self._flagged[other] = flagged

    def set_late_flags(self, destination: Folder) -> None:
        """An immutable file takes no more names, and they may lie far apart."""
        for place, (target, identity) in self._flagged.items():
            try:
                fd = reopen_below(destination, place, identity)
                try:
                    self._fell_short(target.path, restore_flags(fd, target.entry))
                finally:
                    os.close(fd)
            except OSError as error:
                self.fail(target.path, error)
        self._flagged = {}

    def report_file(self, target: FileTarget) -> None:
        if target.error is not None:
            if target.error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(
                    f"No space left where {os.fsdecode(target.path)} is restored to. "
                    "Make room, then extract again: what is there already is complete."
                )
            self.fail(target.path, target.error)
        for offset, size in sorted(target.damaged):
            self.warn(
                target.path,
                f"bytes {offset} to {offset + size - 1} are lost, they read as zeros now: "
                "their chunk is missing or damaged in the repository",
            )

    def fail(self, path: bytes, error: OSError) -> None:
        self.warn(path, in_words(error))

    def warn(self, path: bytes, what: str) -> None:
        self._reporter.warn(Notice(f"{os.fsdecode(path)}: {what}", *BACKUP_ERROR))

    def tell_shortfalls(self) -> None:
        for sentence, (count, first) in self._shortfalls.items():
            files = "" if count == 1 else f" and {count - 1} more"
            self._reporter.warn(
                Notice(f"{os.fsdecode(first)}{files}: not restored: {sentence}", *BACKUP_ERROR)
            )


def in_words(error: OSError) -> str:
    return f"[Errno {error.errno}] {error.strerror}" if error.errno else str(error.strerror)
