"""From walked folders to stored trees: the visitor that a backup sends along."""

import heapq
import operator
import os
import stat
import time
from collections.abc import Iterable, Iterator

import msgspec

from strongroom.archive import trees
from strongroom.archive.capture import RACY_NS, Captured, Capturer, is_special
from strongroom.archive.crowd import Crowd
from strongroom.archive.entries import Entry, without_holes
from strongroom.archive.folder_cache import NEVER, FileRecord, FolderCache, FolderRecord
from strongroom.archive.frames import WORKING_DIRECTORY, Frame, Subfolder, join
from strongroom.archive.looks import Looker
from strongroom.archive.notices import notice_of
from strongroom.archive.options import ScanOptions, StreamFile
from strongroom.archive.pipeline import Pipeline
from strongroom.archive.streams import store_stream
from strongroom.crypto import hashing
from strongroom.crypto.sealing import TREE
from strongroom.errors import Cancelled
from strongroom.reporting import FILE_CHANGED, Notice, Progress, Reporter
from strongroom.repository.refs import RefsWriter

IMPLIED_MODE = stat.S_IFDIR | 0o755
_encode = msgspec.msgpack.Encoder().encode
_name = operator.attrgetter("name")

_ALONE = b"\0"  # before a path that is a source by itself: no folder's begins so


class TreeBuilder:
    """Stores folders, and the sources that are none. For one thread."""

    def __init__(
        self,
        pipeline: Pipeline,
        capturer: Capturer,
        cache: FolderCache,
        refs: RefsWriter,
        options: ScanOptions,
        reporter: Reporter,
        progress: Progress,
    ) -> None:
        self._pipeline = pipeline
        self._capturer = capturer
        self._cache = cache
        self._refs = refs
        self._reporter = reporter
        self._progress = progress
        self._read_special = options.read_special
        self._exclude_nodump = options.exclude_nodump
        self._mode = options.files_cache
        self._named = not options.attributes.numeric_ids
        self._looker = Looker(options)
        self._names: dict[tuple[tuple[int, int], ...], bytes] = {}  # of owners, encoded
        self._familiar: dict[bytes, tuple[bytes, FolderRecord]] = {}  # by path: of folders being walked
        self._here = os.path.join(os.getcwdb(), b"")
        self._now: tuple[Frame, bytes]  # what is being captured, for messages
        self._settled = True  # whether all that was captured of a folder may be believed by its looks

    def leave(self, frame: Frame) -> bytes | None:
        if frame.list_files is None and _is_nothing(frame):
            return None
        self._progress.path = frame.path
        self._reporter.progress("create", self._progress)
        tag, record = self._familiar.pop(frame.path, None) or (self._tag(frame), None)
        if record is None and self._mode.read and not frame.extra:
            record = self._cache.folder(tag)
        looks = self._looks(frame)
        if record is not None and record.digest == _digest(looks, frame) and self._is_stored(record):
            return self._reuse(frame, tag, record)
        if frame.list_files is not None:
            frame.list_files(frame)
            if _is_nothing(frame):
                return None
            looks = self._looks(frame)
        return self._store(frame, tag, looks, record)

    # --- an unchanged folder ---

    def is_familiar(self, frame: Frame) -> bool:
        if not self._mode.read:
            return False
        tag = self._tag(frame)
        record = self._cache.folder(tag)
        if record is None or record.looks != self._looks(frame) or not self._is_stored(record):
            return False
        self._familiar[frame.path] = tag, record
        return True

    def _tag(self, frame: Frame) -> bytes:
        path = frame.path
        return self._cache.tag(path if path.startswith(b"/") else self._here + path)

    def _looks(self, frame: Frame) -> bytes:
        """Of everything that a listing shows of what is in the folder, owners' names included."""
        looks = frame.looks or self._looker.look(frame.files, frame.entered)
        if not self._named:
            return looks.digest
        names = self._names.get(looks.owners)
        if names is None:
            known = self._capturer.owners
            names = _encode([(known.user(uid), known.group(gid)) for uid, gid in looks.owners])
            self._names[looks.owners] = names
        return hashing.plain_hash(looks.digest + names)[:16]

    def _is_stored(self, record: FolderRecord) -> bool:
        if self._cache.is_trusted(record):
            return True
        return self._pipeline.knows(record.tree) and self._pipeline.knows(record.content)

    def _reuse(self, frame: Frame, tag: bytes, record: FolderRecord) -> bytes:
        self._progress.files += record.files
        self._progress.original += record.original
        self._refs.add_all(record.content)
        self._refs.add_all(record.tree)
        self._cache.renew(tag, record)
        if self._reporter.wants_files:
            for name, status in frame.files:
                letter = _letters.get(stat.S_IFMT(status.st_mode), "U")
                if not stat.S_ISSOCK(status.st_mode):
                    self._reporter.file(letter, join(frame.path, name))
        return record.tree

    # --- a new or changed one ---

    def _store(self, frame: Frame, tag: bytes, looks: bytes, record: FolderRecord | None) -> bytes:
        files, original = self._progress.files, self._progress.original
        known = self._cache.files(tag) if record is not None else {}
        self._settled = not frame.extra
        records: list[FileRecord | msgspec.Raw] = []
        captured = self._capture_all(frame, known, records) if frame.files else iter(())
        folders = (self._folder_entry(frame, folder) for folder in frame.finished)
        frame.extra.sort(key=_name)
        if isinstance(frame.files, Crowd):  # each entry is let go as soon as it is encoded
            entries: Iterable[Entry] = heapq.merge(captured, folders, frame.extra, key=_name)
        else:
            entries = sorted([*captured, *folders, *frame.extra], key=_name)
        ids: list[bytes] = []
        segments = trees.encode_tree(_noting_content(entries, ids))
        tree = b"".join([self._pipeline.add(TREE, segment) for segment in segments])
        content = b"".join(ids)
        settled = self._settled and frame.complete
        self._refs.add_all(content)
        self._refs.add_all(tree)
        if self._mode.write and not frame.extra:
            new = FolderRecord(
                _digest(looks, frame) if settled else b"",
                0,
                tree,
                content,
                self._progress.files - files,
                self._progress.original - original,
                looks if settled else b"",
            )
            self._cache.remember(tag, new, records)
        return tree

    def _capture_all(
        self, frame: Frame, known: dict[bytes, FileRecord], records: list[FileRecord | msgspec.Raw]
    ) -> Iterator[Entry]:
        """The folder's files. `_settled` tells if they may be believed unchanged by their looks."""
        try:
            folder = frame.open()
        except OSError as error:
            self._fail(frame.path, "dir_open", error)
            self._settled = False
            return
        settled = True
        crowded = isinstance(frame.files, Crowd)
        # before the first of them is read: none that changes from then on is believed unchanged
        newest = time.time_ns() - RACY_NS if self._mode.write else 0
        stop, name_tag = self._reporter.stop, self._cache.name_tag
        try:
            for name, status in frame.files:
                if stop.requested:
                    raise Cancelled("Stopped as asked. What is stored already stays for the next run.")
                tag = name_tag(name)
                captured = self._capture(
                    folder, frame, name, status, known.get(tag) if known else None, newest
                )
                if captured is None:
                    settled = settled and stat.S_ISSOCK(status.st_mode)
                    continue
                if captured.record is not None:
                    captured.record.tag = tag
                    settled = settled and captured.record.ctime != NEVER
                    records.append(msgspec.Raw(_encode(captured.record)) if crowded else captured.record)
                elif stat.S_ISREG(status.st_mode) or self._read_special:
                    settled = settled and captured.status == "h" and status.st_ctime_ns < newest
                else:
                    settled = settled and status.st_ctime_ns < newest
                yield captured.entry
        finally:
            os.close(folder)
            self._settled = self._settled and settled

    def _capture(
        self,
        folder: int,
        frame: Frame,
        name: bytes,
        status: os.stat_result,
        known: FileRecord | None,
        newest: int,
    ) -> Captured | None:
        """None for what is no part of the backup (sockets, nodump), and for what cannot be read."""
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFSOCK:
            return None
        self._now = frame, name
        try:
            if kind == stat.S_IFREG:
                if self._exclude_nodump and self._capturer.is_nodump(folder, name, status):
                    self._leave_out(join(frame.path, name))
                    return None
                captured = self._capturer.regular(folder, name, status, known, newest, self._partly)
                self._progress.files += 1
            elif self._read_special and self._leads_to_special(folder, name, status):
                captured = self._capturer.special(folder, name, status)
                self._progress.files += 1
            elif kind == stat.S_IFLNK:
                captured = self._capturer.symlink(folder, name, status, self._partly)
            else:
                captured = self._capturer.node(folder, name, status, self._partly)
        except OSError as error:
            self._fail(join(frame.path, name), "open" if kind == stat.S_IFREG else "read", error)
            return None
        if captured.status == "C":
            shown = os.fsdecode(join(frame.path, name))
            self._reporter.warn(Notice(f"{shown}: file changed while we backed it up", *FILE_CHANGED))
        if self._reporter.wants_files:
            self._reporter.file(captured.status, join(frame.path, name))
        return captured

    def _leave_out(self, path: bytes) -> None:
        if self._reporter.wants_files:
            self._reporter.file("x", path)

    def _leads_to_special(self, folder: int, name: bytes, status: os.stat_result) -> bool:
        if not stat.S_ISLNK(status.st_mode):
            return is_special(status)
        try:
            return is_special(os.stat(name, dir_fd=folder))
        except OSError:
            return False  # a link to nothing is stored as a link

    def _folder_entry(self, frame: Frame, folder: Subfolder) -> Entry:
        if folder.status is None:
            return implied_entry(folder.name, folder.tree)
        status = folder.status
        extended, settled = None, status.st_ctime_ns < time.time_ns() - RACY_NS
        self._now = frame, folder.name
        try:
            base = folder.base
            is_source = folder.node is not None and folder.node.path is not None
            fd = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY) if is_source else base.open(folder.path)
            try:
                extended = self._capturer.extended(fd, status, self._partly)
            finally:
                os.close(fd)
        except OSError as error:
            self._fail(folder.path, "extended stat", error)
            settled = False
        entry = self._capturer.entry(folder.name, status, extended)
        entry.content = folder.tree
        self._settled = self._settled and settled
        return entry

    def root_entry(self, place: Subfolder) -> Entry:
        """The entry of the walk's topmost folder."""
        if place.status is None:
            return implied_entry(b"", place.tree)
        frame = Frame(place, place.base)
        entry = self._folder_entry(frame, place)
        entry.name = b""
        return entry

    # --- sources that are no folders ---

    def single(self, name: bytes, path: bytes, status: os.stat_result) -> Entry | None:
        parent, base = os.path.split(path)
        try:
            folder = os.open(parent or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._fail(path, "dir_open", error)
            return None
        try:
            frame = Frame(
                Subfolder(b"", parent, None, None, False, WORKING_DIRECTORY, None), WORKING_DIRECTORY
            )
            captured = self._capture_alone(folder, frame, base, path, status)
        finally:
            os.close(folder)
        if captured is None:
            return None
        captured.entry.name = name
        return captured.entry

    def _capture_alone(
        self, folder: int, frame: Frame, base: bytes, path: bytes, status: os.stat_result
    ) -> Captured | None:
        """A file that is named itself is remembered by itself: of its folder nothing else is known."""
        tag = self._cache.tag(_ALONE + (path if path.startswith(b"/") else self._here + path))
        name_tag = self._cache.name_tag(base)
        folder_record = self._cache.folder(tag) if self._mode.read else None
        known = None if folder_record is None else self._cache.files(tag).get(name_tag)
        newest = time.time_ns() - RACY_NS if self._mode.write else 0
        captured = self._capture(folder, frame, base, status, known, newest)
        if captured is None or captured.record is None or not self._mode.write:
            return captured
        captured.record.tag = name_tag
        if folder_record is not None and captured.record == known:
            self._cache.renew(tag, folder_record)
        else:
            self._cache.remember(tag, FolderRecord(b"", 0, b"", b"", 1, 0), [captured.record])
        return captured

    def stream(self, name: bytes, stream: StreamFile) -> Entry | None:
        entry = store_stream(self._capturer, name, stream)
        self._progress.files += 1
        if self._reporter.wants_files:
            self._reporter.file("i", os.fsencode(stream.name))
        return entry

    # --- what goes wrong ---

    def _partly(self, error: OSError) -> None:
        """A single attribute of the object at hand cannot be read."""
        frame, name = self._now
        frame.complete = False
        self._reporter.warn(notice_of(join(frame.path, name), "extended stat", error))

    def _fail(self, path: bytes, doing: str, error: OSError) -> None:
        self._reporter.warn(notice_of(path, doing, error))
        if self._reporter.wants_files:
            self._reporter.file("E", path)


def _is_nothing(frame: Frame) -> bool:
    """A folder that is left out, and nothing in it is taken."""
    place = frame.place
    return place.status is None and bool(place.name) and not (frame.files or frame.finished or frame.extra)


def _digest(looks: bytes, frame: Frame) -> bytes:
    """Of the folder and all below it."""
    below = [(folder.name, folder.tree) for folder in frame.finished]
    return hashing.plain_hash(looks + _encode(below))[:16]


_letters = {stat.S_IFLNK: "s", stat.S_IFIFO: "f", stat.S_IFCHR: "c", stat.S_IFBLK: "b"}


def _noting_content(entries: Iterable[Entry], ids: list[bytes]) -> Iterator[Entry]:
    """The entries; `ids` gets those of the chunks that the regular files among them have stored."""
    for entry in entries:
        if entry.content and entry.is_regular:
            ids.append(entry.content if entry.sizes is None else without_holes(entry.content))
        yield entry


def implied_entry(name: bytes, tree: bytes) -> Entry:
    """A folder that only leads to what was backed up."""
    return Entry(name, IMPLIED_MODE, 0, 0, None, None, 0, 0, tree, implied=True)
