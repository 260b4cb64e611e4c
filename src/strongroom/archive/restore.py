"""Restoring an archive's files: walk the trees, make folders, unpack content, then set metadata.

Files are planned in windows, so that memory stays flat and bundles are read in the order in
which they lie. A folder's metadata comes last, when everything in it is there.
"""

from collections.abc import Iterator

import msgspec

from strongroom.archive.duplicates import Duplicates
from strongroom.archive.entries import Entry
from strongroom.archive.finishing import Finisher, Shortfalls, in_words
from strongroom.archive.options import RestoreOptions
from strongroom.archive.overlays import Overlays
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.platform import cloning
from strongroom.archive.reading import ArchiveTree
from strongroom.archive.resuming import Inspector
from strongroom.archive.targets import (
    FileTarget,
    Folder,
    enter,
    link,
    open_destination,
    reopen,
    rest,
)
from strongroom.archive.unpack import Running, Unpacker
from strongroom.archive.window import WINDOW_FILES, Window
from strongroom.errors import Cancelled, Damaged
from strongroom.reporting import Progress, Reporter
from strongroom.repository.index import ChunkIndex

_WINDOW_FOLDERS = 160


class Level:
    """A folder of the archive on the walk's stack; `folder` is made when something in it is chosen."""

    __slots__ = ("barred", "depth", "entries", "entry", "folder", "path")

    def __init__(self, path: bytes, entry: Entry, entries: Iterator[Entry], depth: int) -> None:
        self.path = path
        self.entry = entry
        self.entries = entries
        self.depth = depth  # components of the path
        self.folder: Folder | None = None
        self.barred = False  # it cannot be made, or what it is in: nothing in it is restored


class _Stage(msgspec.Struct):
    """What is completed together: a window, and what depends on it and on those before it."""

    window: Window
    left: list[Folder]  # folders whose files are under way, inner ones first
    links: list[tuple[Folder, bytes, bytes, Entry]]  # further names of files
    sharing: list[FileTarget]  # files that have the content of others


class Restorer:
    """Restores into one destination. One use; the walk is one thread's, the files are the unpacker's."""

    def __init__(
        self,
        tree: ArchiveTree,
        index: ChunkIndex,
        matcher: PatternMatcher,
        options: RestoreOptions,
        reporter: Reporter,
        progress: Progress,
        inspector: Inspector | None = None,
    ) -> None:
        """With an `inspector`, what is there already and sound is kept."""
        self._tree = tree
        self._index = index
        self._matcher = matcher
        self._options = options
        self._reporter = reporter
        self._progress = progress
        self._inspector = inspector
        self._finisher = Finisher(options, reporter)
        self._stage = _new_stage()
        self._running: tuple[_Stage, Running] | None = None
        self._links: dict[bytes, bytes] = {}  # hard link group -> where its first name was restored
        overlaid = options.strip_components > 0 and not options.dry_run
        self._overlays = Overlays(self._links) if overlaid else None
        self._duplicates: Duplicates | None = None  # where the file system lets files share their blocks

    def run(self, destination: str, unpacker: Unpacker) -> None:
        """Raises `Cancelled`, `StoreFull` when the destination is full, and the store's errors."""
        self._unpacker = unpacker
        top = open_destination(destination)
        top.uses += 1  # until the end: hard links and late flags start from it
        self._destination = top
        if not self._options.dry_run and cloning.can_clone(top.fd):
            self._duplicates = Duplicates()
        root = self._tree.root
        level = Level(b"", root, self._tree.folder(root), 0)
        level.folder = top
        if not root.implied and self._matcher.match(b"."):
            top.entry = root
            self._list(b".")
        stack = [level]
        try:
            while stack:
                self._step(stack)
            self._complete()
            self._finisher.set_late_flags(self._destination)
        except Cancelled:
            self._complete()
            self._finisher.set_late_flags(self._destination)
            raise
        finally:
            top.close()
            for level in stack:
                if level.folder is not None:
                    level.folder.close()
        self._finisher.tell_shortfalls()

    # --- the walk ---

    def _step(self, stack: list[Level]) -> None:
        level = stack[-1]
        if level.barred:
            stack.pop()
            return
        try:
            entry = next(level.entries, None)
        except Damaged as error:
            self._finisher.warn(level.path or b".", f"what is in this folder cannot be read: {error}")
            entry = None
        if entry is None:
            stack.pop()
            self._leave(level, stack)
            self._flush_if_full()
            return
        path = level.path + b"/" + entry.name if level.path else entry.name
        if entry.is_dir:
            if self._matcher.may_match_below(path):
                stack.append(Level(path, entry, self._tree.folder(entry), level.depth + 1))
                if (
                    not entry.implied
                    and self._matcher.match(path)
                    and level.depth >= self._options.strip_components
                ):
                    self._list(path)
                    self._folder_of(stack, chosen=True)
        elif self._is_chosen(path, level):
            self._list(path)
            folder = self._folder_of(stack, chosen=False)
            if folder is not None:
                self._restore(folder, path, entry)
        if self._reporter.stop.requested:
            raise Cancelled("Stopped as asked; what is restored so far is complete, the rest is missing.")
        self._reporter.progress("extract", self._progress)
        self._flush_if_full()

    def _flush_if_full(self) -> None:
        full = self._stage.window.full or len(self._stage.sharing) >= WINDOW_FILES
        if full or len(self._stage.left) >= _WINDOW_FOLDERS:
            self._flush(more=True)

    def _is_chosen(self, path: bytes, level: Level) -> bool:
        return level.depth >= self._options.strip_components and self._matcher.match(path)

    def _folder_of(self, stack: list[Level], *, chosen: bool) -> Folder | None:
        """The destination of the innermost level, made on demand with all above it."""
        if self._options.dry_run:
            return self._destination
        if stack[-1].folder is not None:
            return stack[-1].folder
        strip = self._options.strip_components
        parent = stack[0].folder
        for number, level in enumerate(stack[1:], start=1):
            if level.folder is None:
                if level.depth <= strip:
                    continue
                assert parent is not None
                own = level.entry if chosen and number == len(stack) - 1 else None
                self._take_place(level.path, None)
                try:
                    level.folder = enter(parent, level.entry.name, level.path, own)
                except OSError as error:
                    self._finisher.warn(level.path, f"{in_words(error)}; nothing in it is restored")
                    for below in stack[number:]:
                        below.barred = True
                    return None
                folders = [one.folder for one in stack[: number + 1] if one.folder is not None]
                if rest(folders) >= _WINDOW_FOLDERS:
                    self._complete()
                    rest(folders)
            parent = level.folder
        return parent

    def _leave(self, level: Level, stack: list[Level]) -> None:
        folder = level.folder
        if folder is None:
            return
        for above in reversed(stack):
            if above.folder is not None:
                try:
                    reopen(above.folder, folder)
                except OSError as error:
                    self._finisher.fail(above.path, error)
                break
        self._stage.left.append(folder)
        if self._overlays is not None:
            self._overlays.add(self._stripped(level.path))

    # --- what is in a folder ---

    def _restore(self, folder: Folder, path: bytes, entry: Entry) -> None:
        self._progress.files += 1
        self._progress.path = path
        self._take_place(path, entry.link)
        made_at_once = entry.link is None and not entry.is_regular
        if self._overlays is not None and not made_at_once:
            self._overlays.add(self._stripped(path), entry.link)
        if entry.link is not None and not self._options.dry_run:
            if entry.link in self._links:
                folder.uses += 1
                self._stage.links.append((folder, entry.name, path, entry))
                return
            self._links[entry.link] = self._stripped(path)
        if entry.is_regular:
            folder.uses += 1
            target = FileTarget(folder, entry.name, path, entry, len(entry.content) // 32)
            there = self._take_up(target)
            if self._duplicates is not None and self._duplicates.is_duplicate(entry) and not target.kept:
                self._stage.sharing.append(target)
            else:
                self._stage.window.add(target, self._index, there)
        elif not self._options.dry_run:
            self._finisher.make_node(folder, path, entry)

    def _take_place(self, path: bytes, link: bytes | None) -> None:
        """What this restore has made where the path leads gives way, once it is complete."""
        if self._overlays is None:
            return
        place, names = self._stripped(path), self._overlays.names
        if link is None or link != names.group(place):  # else it is another name of the same file
            if self._overlays.under_way(place):
                self._complete()
            self._finisher.move_flags(place, names.remove(place))

    def _take_up(self, target: FileTarget) -> frozenset[int]:
        """The positions of the chunks that an earlier restore has left in place."""
        if self._inspector is None:
            return frozenset()
        try:
            remains = self._inspector.remains(target.folder.fd, target.name, target.entry)
        except OSError:  # what cannot be read is restored anew
            remains = None
        if remains is None:
            return frozenset()
        target.fd, target.kept = remains.fd, True
        sizes = [size for _, size in target.entry.chunks()]
        self._unpacker.count(sum(sizes[position] for position in remains.sound))
        return remains.sound

    # --- the unpacker's side: any thread ---

    def write(self, target: FileTarget, offset: int, data: memoryview) -> None:
        self._finisher.write(target, offset, data)

    def finish(self, target: FileTarget) -> None:
        """The last chunk has arrived, or will never."""
        remember = target.entry.link is not None or self._duplicates is not None
        self._finisher.finish(target, remember=remember)

    def fell_short(self, shortfalls: Shortfalls) -> None:
        self._finisher.add_shortfalls(shortfalls)

    # --- windows ---

    def _complete(self) -> None:
        self._flush()  # starts the last window
        self._flush()  # and waits for it

    def _flush(self, *, more: bool = False) -> None:
        """Start what was planned, and complete what was under way: before that, or meanwhile if that pays."""
        planned, self._stage = self._stage, _new_stage()
        before, self._running = self._running, None
        if before is not None and not self._unpacker.overlaps:
            self._end(*before)
            before = None
        running = self._unpacker.start(planned.window, more=more)
        if before is not None:
            self._end(*before)
        self._running = planned, running
        if self._overlays is not None:
            self._overlays.turn()

    def _end(self, stage: _Stage, running: Running) -> None:
        self._unpacker.wait(running)
        self._settle(stage)

    def _settle(self, stage: _Stage) -> None:
        for target in stage.window.targets:
            self._finisher.report_file(target)
            if self._duplicates is not None:
                self._duplicates.note(target, self._stripped(target.path))
        if self._duplicates is not None:
            self._share(self._duplicates, stage.sharing)
        for folder, name, path, entry in stage.links:
            self._make_link(folder, name, path, entry)
        for target in stage.window.targets:
            if target.entry.link is not None and target.error is None and not self._options.dry_run:
                self._finisher.attributes_of_linked(target, self._stripped(target.path))
            target.folder.release()
        for folder in stage.left:
            if folder.entry is not None and folder.fd >= 0:
                self._finisher.attributes(folder.fd, folder.entry, folder.path)
            folder.release()

    def _share(self, duplicates: Duplicates, targets: list[FileTarget]) -> None:
        """Files that have the content of those that are there by now. What cannot share is unpacked."""
        window = Window()
        for target in targets:
            if duplicates.clone(self._destination, target):
                self._unpacker.count(target.entry.size)
                self.finish(target)
            else:
                window.add(target, self._index)
        self._unpacker.wait(self._unpacker.start(window))
        for target in targets:
            self._finisher.report_file(target)
            target.folder.release()

    def _make_link(self, folder: Folder, name: bytes, path: bytes, entry: Entry) -> None:
        assert entry.link is not None
        first = self._links[entry.link]
        try:
            link(self._destination, first, folder, name)
        except OSError:  # another file system, or the first name is not there: a file of its own
            self._links[entry.link] = self._stripped(path)
            self._restore_apart(folder, path, msgspec.structs.replace(entry, link=None))
        finally:
            folder.release()

    def _restore_apart(self, folder: Folder, path: bytes, entry: Entry) -> None:
        """One file at once, for the rare case."""
        if not entry.is_regular:
            self._finisher.make_node(folder, path, entry)
            return
        target = FileTarget(folder, entry.name, path, entry, len(entry.content) // 32)
        window = Window()
        window.add(target, self._index)
        self._unpacker.wait(self._unpacker.start(window))
        self._finisher.report_file(target)

    def _stripped(self, path: bytes) -> bytes:
        return b"/".join(path.split(b"/")[self._options.strip_components :])

    # --- telling ---

    def _list(self, path: bytes) -> None:
        if self._reporter.wants_files and (shown := self._stripped(path)):
            self._reporter.file("", shown)


def _new_stage() -> _Stage:
    return _Stage(Window(), [], [], [])
