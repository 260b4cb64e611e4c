"""Walking the sources, folder by folder.

The walk keeps its own stack, so depth is bounded by memory alone, and it opens folders
relative to an ancestor where paths grow too long for the kernel. What becomes of a folder
is the visitor's business; it is told when all subfolders are finished.
"""

import os
import stat
import sys
from collections.abc import Iterator
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

from strongroom.archive import crowd
from strongroom.archive.crowd import Child, Crowd
from strongroom.archive.entries import Entry
from strongroom.archive.frames import (
    FLAGS,
    FOLLOW_FLAGS,
    LONG_PATH,
    WORKING_DIRECTORY,
    Base,
    Frame,
    Subfolder,
    Visitor,
    join,
)
from strongroom.archive.notices import notice_of
from strongroom.archive.options import ScanOptions
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.platform.flags import is_nodump
from strongroom.archive.sources import SourceNode
from strongroom.archive.tags import exclusion_tags
from strongroom.errors import Cancelled
from strongroom.reporting import Notice, Reporter

if TYPE_CHECKING:
    from strongroom.archive.scouting import Report, Scout

_by_name = itemgetter(0)  # of a `Child`
_by_attribute = attrgetter("name")


class Walker:
    """Walks a tree of sources, once."""

    def __init__(
        self,
        visitor: Visitor,
        matcher: PatternMatcher,
        options: ScanOptions,
        skip: set[tuple[int, int]],
        reporter: Reporter,
        scout: "Scout | None" = None,
    ) -> None:
        """`skip` names folders never to be entered, as (device, inode)."""
        self._visitor = visitor
        self._matcher = None if matcher.is_trivial else matcher
        self._options = options
        self._skip = skip
        self._reporter = reporter
        self._scout = scout
        self._tagged = bool(options.exclude_caches or options.exclude_if_present)

    def walk(self, root: SourceNode) -> Subfolder:
        """Returns the topmost folder. Raises `Cancelled` when the user asks to stop, and OSError
        for a source that takes the place of the whole archive and cannot be read."""
        stack = [self._enter(self._root(root), 0)]
        try:
            while True:
                frame = stack[-1]
                child = next(frame.folders, None)
                if child is not None:
                    if self._reporter.stop.requested:
                        raise Cancelled("Stopped as asked. What is stored already stays for the next run.")
                    stack.append(self._enter(child, len(stack)))
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

    def _enter(self, place: Subfolder, depth: int) -> Frame:
        frame = Frame(place, place.base)
        if self._scout is not None and place.scan and self._is_spared(frame, self._scout, depth):
            return frame
        folders = frame.entered
        if not place.scan:
            self._show_folder(place)
        frame.listed = listed = place.scan and self._list(frame, folders)
        if place.scan and not listed:
            place.status = None  # left out, unless a source lies below it
        if place.node is not None:
            for name, node in place.node.children.items():
                if node.path is not None or node.stream is not None:
                    self._plant(frame, name, node, folders)
                elif not listed:
                    folders.append(self._implied(frame, name, node))
        if isinstance(frame.files, list):
            frame.files.sort(key=_by_name)
        folders.sort(key=_by_attribute)
        frame.folders = iter(folders)
        return frame

    # --- what a scout has listed ---

    def _is_spared(self, frame: Frame, scout: "Scout", depth: int) -> bool:
        """Whether the folder is familiar by a look that another has taken."""
        place = frame.place
        report = scout.report(place.path, depth)
        if report is None or frame.has_sources:
            return False
        frame.looks = report.looks
        frame.entered = self._reported(place, report)
        familiar = self._visitor.is_familiar(frame) and not any(map(self._is_skipped, frame.entered))
        scout.judge(useful=familiar)
        if not familiar:
            frame.looks, frame.entered = None, []
            return False
        frame.folders = iter(frame.entered)
        frame.list_files = self._list_files
        return True

    def _reported(self, place: Subfolder, report: "Report") -> list[Subfolder]:
        return [
            Subfolder(
                name,
                join(place.path, name),
                None if status is None else os.stat_result(*status),
                None,
                scan,
                place.base,
                place.device,
            )
            for name, scan, status in report.folders
        ]

    def _is_skipped(self, folder: Subfolder) -> bool:
        return folder.status is not None and (folder.status.st_dev, folder.status.st_ino) in self._skip

    def _list_files(self, frame: Frame) -> None:
        """Of a folder that was known by its looks alone, and that is to be stored after all."""
        frame.looks = frame.list_files = None
        if not self._list(frame, []):
            frame.complete = False  # it went, or was marked to be left out, since the scout was there
        taken = {folder.name for folder in frame.entered}
        if isinstance(frame.files, Crowd):
            frame.files.leave_out(taken)
        else:
            frame.files = sorted([child for child in frame.files if child[0] not in taken], key=_by_name)

    def _implied(self, frame: Frame, name: bytes, node: SourceNode) -> Subfolder:
        return Subfolder(name, join(frame.path, name), None, node, False, frame.base, None)

    def _plant(self, frame: Frame, name: bytes, node: SourceNode, folders: list[Subfolder]) -> None:
        """A source that the user named lies here."""
        if node.stream is not None:
            self._keep(frame, self._visitor.stream(name, node.stream))
            return
        path = node.path or b"."
        include, recurse = True, True
        # a list of paths is backed up as it stands: Borg's "no more, no less"
        if self._matcher is not None and node.recurse:
            include, recurse = self._matcher.decide(path)
            if not include:
                self._letter("x", path)
        try:
            status = os.stat(path, follow_symlinks=False) if include or recurse else None
        except OSError as error:
            self.warn(frame, path, "stat", error)
            if not node.recurse:  # from a list of paths; of those on the command line Borg gives no letter
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
            self._show_folder(place)
            self.warn(frame, place.path, "dir_open", error)
            self._letter("E", place.path)
            return False
        try:
            if self._options.exclude_nodump and is_nodump(fd, stat.S_IFDIR):
                self._letter("x", place.path)
                return False
            if place.device is not None and os.fstat(fd).st_dev != place.device:
                self._show_folder(place)
                return True  # a mount point: kept, but empty
            names: set[bytes] | None = None
            if self._tagged and (tags := exclusion_tags(fd, self._options)):
                self._letter("x", place.path)
                if not self._options.keep_exclude_tags or place.status is None:
                    return False
                names = tags
            else:
                self._show_folder(place)
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
        fd = os.open(relative, FOLLOW_FLAGS if is_source else FLAGS, dir_fd=place.base.fd)
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
        plain = matcher is None and names is None and not planted
        for entry in entries:
            name = entry.name.encode(encoding, errors)
            node, include, recurse = None, True, True
            if not plain:
                node = planted.get(name)
                if (node is not None and node.path is not None) or (names is not None and name not in names):
                    continue  # a source of its own, or not among the tags that alone are kept
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
                files.append((name, status))
        for name, node in planted.items():
            if node.path is None and node.stream is None and name not in found:
                folders.append(self._implied(frame, name, node))
        if crowded:
            crowded += [name for name, _ in files]
            crowded.sort()
            frame.files = Crowd(crowded, frame.open, lambda name, error: self._lose(frame, name, error))
        else:
            frame.files = files

    def _lose(self, frame: Frame, name: bytes, error: OSError) -> None:
        path = join(frame.path, name) if name else frame.path
        self.warn(frame, path, "stat" if name else "dir_open", error)
        self._letter("E", path)

    def _show_folder(self, folder: Subfolder) -> None:
        if folder.status is not None:
            self._letter("d", folder.path)

    def _letter(self, letter: str, path: bytes) -> None:
        if self._reporter.wants_files:
            self._reporter.file(letter, path)

    def warn(self, frame: Frame, path: bytes, doing: str, error: OSError) -> None:
        frame.complete = False
        self._reporter.warn(notice_of(path, doing, error))
