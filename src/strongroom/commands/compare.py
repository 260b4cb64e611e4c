"""What differs between an archive and the disk now."""

import os
import stat
from collections.abc import Callable, Iterator

import msgspec

from strongroom.archive.changes import Concerns, changes_of
from strongroom.archive.differences import Pair, side_by_side
from strongroom.archive.disk import DiskReader
from strongroom.archive.entries import Entry
from strongroom.archive.frames import LONG_PATH, Base, join
from strongroom.archive.local_content import LocalContent
from strongroom.archive.notices import notice_of
from strongroom.archive.options import Attributes
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.platform.owners import Owners
from strongroom.archive.reading import ArchiveTree
from strongroom.archive.same_content import Modified
from strongroom.commands.create import never_entered
from strongroom.commands.diff import Difference
from strongroom.commands.listing import tell_unmatched
from strongroom.errors import Cancelled, CommandError, Damaged
from strongroom.reporting import REPOSITORY_DAMAGED, Notice, Progress, Reporter
from strongroom.repository.repository import Repository


class CompareOptions(msgspec.Struct, frozen=True):
    concerns: Concerns = msgspec.field(default_factory=lambda: Concerns(ctime=False))
    content: bool = False  # read the files, and compare their chunk ids
    one_file_system: bool = False
    attributes: Attributes = msgspec.field(default_factory=Attributes)


def compare_archive(
    repository: Repository,
    name: str,
    folder: bytes | None,
    matcher: PatternMatcher,
    options: CompareOptions,
    reporter: Reporter,
) -> Iterator[Difference]:
    """From the archive to the disk: what is only on the disk was added, in folders that were backed up.

    `folder` is where the archive's paths begin; None: where they did when it was made. What cannot be
    read, on the disk or of a damaged folder of the archive, is a warning.

    Raises `ArchiveMissing`, `CommandError`, `Cancelled`, `RoleInsufficient`, `Damaged`, and the store's
    errors.
    """
    meta = repository.archive_meta(repository.archive_by_name(name).id)
    repository.load_index()
    tree = ArchiveTree(repository.chunk_reader(), meta)
    if folder is None:
        folder = _origin(tree, os.fsencode(meta.cwd))
        reporter.info(f"Comparing with what is in {os.fsdecode(folder)} now.")
    comparison = _Comparison(tree, matcher, options, reporter, repository)
    yield from comparison.run(folder)
    reporter.progress("compare", comparison.progress, finished=True)
    tell_unmatched(matcher, reporter)


def _origin(tree: ArchiveTree, cwd: bytes) -> bytes:
    """The root, or the folder in which `create` ran: whichever has what is at the archive's top."""
    if not tree.root.implied:
        return cwd
    names = [entry.name for entry in tree.folder(tree.root)]
    for folder in (b"/", cwd):
        if folder and all(os.path.lexists(os.path.join(folder, name)) for name in names):
            return folder
    raise CommandError(
        "What this archive holds is neither in / nor where it was made: name the folder to compare with."
    )


class _Level(msgspec.Struct):
    path: bytes
    found: Iterator[tuple[Pair, Difference | None]]
    base: Base
    own: bool  # the base's descriptor is to be closed with the level


class _Comparison:
    def __init__(
        self,
        tree: ArchiveTree,
        matcher: PatternMatcher,
        options: CompareOptions,
        reporter: Reporter,
        repository: Repository,
    ) -> None:
        self._tree = tree
        self._matcher = matcher
        self._options = options
        self._reporter = reporter
        self._chunk_id = repository.chunk_hasher()
        self._skip = never_entered(repository)
        self._disk = DiskReader(options.attributes, Owners(), self._partly)
        self._device: int | None = None
        self.progress = Progress()

    def run(self, top: bytes) -> Iterator[Difference]:
        try:
            fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise CommandError(f"{os.fsdecode(top)} cannot be opened: {error.strerror}.") from error
        try:
            status = os.fstat(fd)
            self._device = status.st_dev if self._options.one_file_system else None
            here = self._disk.entry(b"", status)
            pair = Pair(b".", self._tree.root, here)
            if not self._tree.root.implied:
                self._disk.complete_top(fd, here, status)
                found = self._changes(pair, fd)
                if found is not None:
                    yield found
            yield from self._walk(pair._replace(path=b""), Base(fd, 0))
        finally:
            os.close(fd)

    def _walk(self, top: Pair, base: Base) -> Iterator[Difference]:
        stack = [self._enter(top, base)]
        try:
            while stack:
                level = stack[-1]
                pair, found = next(level.found, (None, None))
                if found is not None:
                    yield found
                if pair is None:
                    self._close(stack.pop())
                elif self._is_entered(pair):
                    stack.append(self._enter(pair, level.base))
        finally:
            for level in stack:
                self._close(level)

    def _close(self, level: _Level) -> None:
        if level.own and level.base.fd is not None:
            os.close(level.base.fd)

    def _is_entered(self, pair: Pair) -> bool:
        if not any(entry is not None and entry.is_dir for entry in (pair.old, pair.new)):
            return False
        return self._matcher.may_match_below(pair.path) and self._matcher.decide(pair.path).recurse

    def _enter(self, pair: Pair, base: Base) -> _Level:
        """Compare what is directly in a folder, on either side."""
        if self._reporter.stop.requested:
            raise Cancelled("Stopped as asked.")
        self.progress.path = pair.path
        self._reporter.progress("compare", self.progress)
        if pair.new is None or not pair.new.is_dir:
            gone = (Pair(join(pair.path, one.name), one, None) for one in self._archived(pair))
            return _Level(pair.path, ((one, self._changes(one, -1)) for one in gone), base, False)
        relative = pair.path[base.prefix :]
        try:
            fd = base.open(pair.path)
        except OSError as error:
            self._reporter.warn(notice_of(pair.path, "dir_open", error))
            return _Level(pair.path, iter(()), base, False)
        try:
            inner, own = base, False
            if len(relative) > LONG_PATH:
                inner, own = Base(os.dup(fd), len(pair.path) + 1), True
            return _Level(pair.path, iter(self._inside(pair, fd)), inner, own)
        finally:
            os.close(fd)

    def _archived(self, pair: Pair) -> Iterator[Entry]:
        """What cannot be read is told, and the rest is compared all the same."""
        try:
            if pair.old is not None and pair.old.is_dir:
                yield from self._tree.folder(pair.old)
        except Damaged as error:
            path = os.fsdecode(pair.path or b".")
            words = f"{path}: what the archive has in this folder cannot be read: {error}"
            self._reporter.warn(Notice(words, *REPOSITORY_DAMAGED))

    def _inside(self, above: Pair, fd: int) -> list[tuple[Pair, Difference | None]]:
        """What differs, and the folders: all else is let go at once, for a folder may be huge."""
        if self._device is not None and os.fstat(fd).st_dev != self._device:
            return []  # another file system: kept as an empty folder
        names = None
        if above.old is not None and above.old.implied:
            names = frozenset(one.name for one in self._archived(above))
        states: dict[bytes, os.stat_result] = {}

        def listed() -> Iterator[Entry]:
            for entry, status in self._disk.entries(fd, names):
                states[entry.name] = status
                yield entry

        found: list[tuple[Pair, Difference | None]] = []
        try:
            for old, new in side_by_side(self._archived(above), listed()):
                name = old.name if old is not None else new.name if new is not None else b""
                pair = Pair(join(above.path, name), old, new)
                if new is not None and self._passes_by(pair, new, fd, states.pop(name)):
                    continue
                changes = self._changes(pair, fd)
                if changes is not None or any(one is not None and one.is_dir for one in (old, new)):
                    found.append((pair, changes))
        except OSError as error:
            self._reporter.warn(notice_of(above.path, "scandir", error))
            return []
        return found

    def _passes_by(self, pair: Pair, new: Entry, fd: int, status: os.stat_result) -> bool:
        """What is never backed up, and what cannot be read."""
        if stat.S_ISDIR(new.mode) and (status.st_dev, status.st_ino) in self._skip:
            return True
        return pair.old is not None and not self._complete(pair, new, fd, status)

    def _complete(self, pair: Pair, new: Entry, fd: int, status: os.stat_result) -> bool:
        if self._matcher.is_trivial or self._matcher.match(pair.path):
            self._now = pair.path
            try:
                self._disk.complete(fd, new, status)
            except OSError as error:
                self._reporter.warn(notice_of(pair.path, "open", error))
                return False
        return True

    def _changes(self, pair: Pair, fd: int) -> Difference | None:
        """`fd` is the folder in which the path is on the disk."""
        if not self._matcher.is_trivial and not self._matcher.match(pair.path):
            return None
        old = None if pair.old is not None and pair.old.implied else pair.old
        new = pair.new
        if old is None and pair.old is not None:
            return None  # a folder that only leads to what was backed up
        if old is not None and new is not None and self._options.attributes != Attributes():
            old = _masked(old, self._options.attributes)
        try:
            changes = changes_of(old, new, self._content(fd), self._options.concerns)
        except OSError as error:
            self._reporter.warn(notice_of(pair.path, "read", error))
            return None
        return Difference(Pair(pair.path, old, new), changes) if changes else None

    def _content(self, folder: int) -> Callable[[Entry, Entry], Modified | None]:
        def compare(old: Entry, new: Entry) -> Modified | None:
            self.progress.files += 1
            if old.size != new.size:
                return Modified(None, None)
            if not self._options.content:
                return None
            fd = self._disk.open(folder, new)
            try:
                same = LocalContent(fd, self._chunk_id).is_content_of(old)
            finally:
                os.close(fd)
            self.progress.original += old.size
            self._reporter.progress("compare", self.progress)
            return None if same else Modified(None, None)

        return compare

    _now = b""

    def _partly(self, error: OSError) -> None:
        self._reporter.warn(notice_of(self._now, "extended stat", error))


def _masked(entry: Entry, wanted: Attributes) -> Entry:
    """Without what is not to be compared."""
    entry = msgspec.structs.replace(entry)
    if not wanted.xattrs:
        entry.xattrs = None
    if not wanted.acls:
        entry.acl_access = entry.acl_default = None
    if not wanted.flags:
        entry.flags = None
    return entry
