"""Walking the sources, folder by folder.

The walk keeps its own stack, so depth is bounded by memory alone, and it opens folders
relative to an ancestor where paths grow too long for the kernel. What becomes of a folder
is the visitor's business; it is told when all subfolders are finished.
"""

import os
import stat
import sys
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import msgspec

from strongroom.archive import crowd
from strongroom.archive.capture import notice_of
from strongroom.archive.crowd import Child, Crowd
from strongroom.archive.entries import Entry
from strongroom.archive.options import ScanOptions, StreamFile
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.platform.flags import is_nodump
from strongroom.archive.sources import SourceNode
from strongroom.archive.tags import exclusion_tags
from strongroom.errors import Cancelled
from strongroom.reporting import Notice, Reporter

LONG_PATH = 2048  # bytes relative to the base; PATH_MAX is 4096
_FOLLOW = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK
_FLAGS = _FOLLOW | os.O_NOFOLLOW


class Base(NamedTuple):
    """An open folder that paths are relative to; `fd` None: the working directory."""

    fd: int | None
    prefix: int  # bytes of the full path that lead to it

    def open(self, path: bytes) -> int:
        """The folder at the full path `path`. Raises OSError."""
        return os.open(path[self.prefix :] or b".", _FLAGS, dir_fd=self.fd)


WORKING_DIRECTORY = Base(None, 0)


class Subfolder(msgspec.Struct):
    """A folder that the walk is to enter, or has left: then `tree` holds its tree's chunk ids."""

    name: bytes
    path: bytes
    status: os.stat_result | None  # None: implied, it has no metadata of its own in the archive
    node: SourceNode | None
    scan: bool  # list it on disk; otherwise only what was planted in it
    base: Base
    device: int | None  # of the file system to stay in
    tree: bytes = b""


class Frame(msgspec.Struct):
    """A folder being walked."""

    place: Subfolder
    base: Base  # for what is inside
    files: list[Child] | Crowd = []
    folders: Iterator[Subfolder] = msgspec.field(default_factory=lambda: iter(()))
    finished: list[Subfolder] = []
    extra: list[Entry] = []  # sources that are no folders
    complete: bool = True  # False: something is missing that a later run may get

    @property
    def path(self) -> bytes:
        return self.place.path

    def open(self) -> int:
        """The folder itself. Raises OSError."""
        place = self.place
        if place.node is not None and place.node.path is not None:  # a source may be reached through links
            return os.open(place.path, _FOLLOW)
        return place.base.open(place.path)

    def close(self) -> None:
        if self.base is not self.place.base and self.base.fd is not None:
            os.close(self.base.fd)


class Visitor(Protocol):
    def leave(self, frame: Frame) -> bytes | None:
        """All subfolders are finished. Returns the tree's chunk ids, None to leave the folder out."""

    def single(self, name: bytes, path: bytes, status: os.stat_result) -> Entry | None:
        """A source that is no folder."""

    def stream(self, name: bytes, stream: StreamFile) -> Entry | None:
        """A source that is no file at all."""


class Walker:
    """Walks a tree of sources, once."""

    def __init__(
        self,
        visitor: Visitor,
        matcher: PatternMatcher,
        options: ScanOptions,
        skip: set[tuple[int, int]],
        reporter: Reporter,
    ) -> None:
        """`skip` names folders never to be entered, as (device, inode)."""
        self._visitor = visitor
        self._matcher = None if matcher.is_trivial else matcher
        self._options = options
        self._skip = skip
        self._reporter = reporter
        self._tagged = bool(options.exclude_caches or options.exclude_if_present)

    def walk(self, root: SourceNode) -> Subfolder:
        """Returns the topmost folder. Raises `Cancelled` when the user asks to stop, and OSError
        for a source that takes the place of the whole archive and cannot be read."""
        stack = [self._enter(self._root(root))]
        try:
            while True:
                frame = stack[-1]
                child = next(frame.folders, None)
                if child is not None:
                    if self._reporter.stop.requested:
                        raise Cancelled("Stopped as asked. What is stored already stays for the next run.")
                    stack.append(self._enter(child))
                    continue
                tree = self._visitor.leave(frame)
                stack.pop().close()
                if tree is not None:
                    frame.place.tree = tree
                if not stack:
                    return frame.place
                if tree is not None:
                    stack[-1].finished.append(frame.place)
        finally:
            for frame in stack:
                frame.close()

    def _root(self, root: SourceNode) -> Subfolder:
        if root.path is None:
            return Subfolder(b"", b"", None, root, False, WORKING_DIRECTORY, None)
        status = os.stat(root.path)
        return self._source(b"", root.path, root, status)

    def _source(self, name: bytes, path: bytes, node: SourceNode, status: os.stat_result) -> Subfolder:
        device = status.st_dev if self._options.one_file_system else None
        return Subfolder(name, path, status, node, node.recurse, WORKING_DIRECTORY, device)

    def _enter(self, place: Subfolder) -> Frame:
        frame = Frame(place, place.base)
        folders: list[Subfolder] = []
        if place.status is not None:
            self._letter("d", place.path)
        listed = place.scan and self._list(frame, folders)
        if place.scan and not listed:
            place.status = None  # left out, unless a source lies below it
        if place.node is not None:
            for name, node in place.node.children.items():
                if node.path is not None or node.stream is not None:
                    self._plant(frame, name, node, folders)
                elif not listed:
                    folders.append(self._implied(frame, name, node))
        if isinstance(frame.files, list):
            frame.files.sort(key=lambda child: child.name)
        folders.sort(key=lambda child: child.name)
        frame.folders = iter(folders)
        return frame

    def _implied(self, frame: Frame, name: bytes, node: SourceNode) -> Subfolder:
        return Subfolder(name, join(frame.path, name), None, node, False, frame.base, None)

    def _plant(self, frame: Frame, name: bytes, node: SourceNode, folders: list[Subfolder]) -> None:
        """A source that the user named lies here."""
        if node.stream is not None:
            self._keep(frame, self._visitor.stream(name, node.stream))
            return
        path = node.path or b"."
        include, recurse = True, True
        if self._matcher is not None:
            include, recurse = self._matcher.decide(path)
            if not include:
                self._letter("x", path)
        try:
            status = os.stat(path, follow_symlinks=False) if include or recurse else None
        except OSError as error:
            self.warn(frame, path, "stat", error)
            self._letter("E", path)
            status = None
        if status is None or not stat.S_ISDIR(status.st_mode):
            if node.children:
                folders.append(self._implied(frame, name, node))
            elif status is not None and include:
                self._keep(frame, self._visitor.single(name, path, status))
        elif (status.st_dev, status.st_ino) not in self._skip:
            source = self._source(name, path, node, status)
            if not include:
                source.status = None
            folders.append(source)

    def _keep(self, frame: Frame, entry: Entry | None) -> None:
        if entry is not None:
            frame.extra.append(entry)

    # --- listing a folder on disk ---

    def _list(self, frame: Frame, folders: list[Subfolder]) -> bool:
        """Fill in what is inside. False if the folder is to be left out."""
        place = frame.place
        try:
            fd = self._open(frame)
        except OSError as error:
            self.warn(frame, place.path, "dir_open", error)
            self._letter("E", place.path)
            return False
        try:
            if self._options.exclude_nodump and is_nodump(fd, stat.S_IFDIR):
                self._letter("x", place.path)
                return False
            if place.device is not None and os.fstat(fd).st_dev != place.device:
                return True  # a mount point: kept, but empty
            names: set[bytes] | None = None
            if self._tagged and (tags := exclusion_tags(fd, self._options)):
                self._letter("x", place.path)
                if not self._options.keep_exclude_tags or place.status is None:
                    return False
                names = tags
            with os.scandir(fd) as entries:
                self._sort(frame, entries, names, folders)
        except OSError as error:
            self.warn(frame, place.path, "scandir", error)
        finally:
            os.close(fd)
        return True

    def _open(self, frame: Frame) -> int:
        place = frame.place
        relative = place.path[place.base.prefix :] or b"."
        # a source may be reached through links; what is found inside it never is
        is_source = place.node is not None and place.node.path is not None
        fd = os.open(relative, _FOLLOW if is_source else _FLAGS, dir_fd=place.base.fd)
        if len(relative) > LONG_PATH:
            frame.base = Base(os.dup(fd), len(place.path) + 1)
        return fd

    def _sort(
        self,
        frame: Frame,
        entries: Iterator["os.DirEntry[str]"],
        names: set[bytes] | None,
        folders: list[Subfolder],
    ) -> None:
        place = frame.place
        planted = place.node.children if place.node is not None else {}
        matcher, files, crowded = self._matcher, list[Child](), list[bytes]()
        isdir, encoding, errors = stat.S_ISDIR, sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
        found: set[bytes] = set()
        for entry in entries:
            name = entry.name.encode(encoding, errors)
            node = planted.get(name) if planted else None
            if (node is not None and node.path is not None) or (names is not None and name not in names):
                continue  # a source of its own, or not among the tags that alone are kept
            include, recurse = True, True
            if matcher is not None:
                path = join(place.path, name)
                include, recurse = matcher.decide(path)
                if not include:
                    self._letter("x", path)
                    if node is None and not (recurse and entry.is_dir(follow_symlinks=False)):
                        continue
            is_crowded = len(files) >= crowd.FROM and include and node is None
            if is_crowded and not entry.is_dir(follow_symlinks=False):
                crowded.append(name)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                self._lose(frame, name, error)
                continue
            if isdir(status.st_mode):
                if (status.st_dev, status.st_ino) not in self._skip:
                    found.add(name)
                    own = status if include else None
                    scan = include or recurse
                    path = join(place.path, name)
                    folders.append(Subfolder(name, path, own, node, scan, frame.base, place.device))
            elif node is not None:
                text = (
                    f"{os.fsdecode(join(place.path, name))}: a source lies behind it, so a folder stands here"
                )
                self._reporter.warn(Notice(text))
            elif include:
                files.append(Child(name, status))
        for name, node in planted.items():
            if node.path is None and node.stream is None and name not in found:
                folders.append(self._implied(frame, name, node))
        if crowded:
            crowded += [child.name for child in files]
            crowded.sort()
            frame.files = Crowd(crowded, frame.open, lambda name, error: self._lose(frame, name, error))
        else:
            frame.files = files

    def _lose(self, frame: Frame, name: bytes, error: OSError) -> None:
        path = join(frame.path, name) if name else frame.path
        self.warn(frame, path, "stat" if name else "dir_open", error)
        self._letter("E", path)

    def _letter(self, letter: str, path: bytes) -> None:
        if self._reporter.wants_files:
            self._reporter.file(letter, path)

    def warn(self, frame: Frame, path: bytes, doing: str, error: OSError) -> None:
        frame.complete = False
        self._reporter.warn(notice_of(path, doing, error))


def join(folder: bytes, name: bytes) -> bytes:
    """As `os.path.join`, and as Borg: what is in `.` has no `./`."""
    if folder in (b".", b""):
        return name
    return folder + name if folder.endswith(b"/") else folder + b"/" + name
