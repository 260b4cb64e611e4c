"""From walked folders to stored trees: the visitor that a backup sends along."""

import heapq
import operator
import os
import stat
import time
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from strongroom.archive import trees
from strongroom.archive.capture import RACY_NS, Captured, Capturer, is_special, notice_of
from strongroom.archive.crowd import Child, Crowd
from strongroom.archive.entries import Entry, without_holes
from strongroom.archive.folder_cache import FileRecord, FolderCache, FolderRecord
from strongroom.archive.options import ScanOptions, StreamFile
from strongroom.archive.pipeline import Pipeline
from strongroom.archive.streams import store_stream
from strongroom.archive.walk import WORKING_DIRECTORY, Frame, Subfolder, join
from strongroom.crypto import hashing
from strongroom.crypto.sealing import TREE
from strongroom.errors import Cancelled
from strongroom.reporting import FILE_CHANGED, Notice, Progress, Reporter
from strongroom.repository.refs import RefsWriter

IMPLIED_MODE = stat.S_IFDIR | 0o755
_ROWS = 8192  # of a folder's listing that are encoded at once
_encode = msgspec.msgpack.Encoder().encode
_name = operator.attrgetter("name")


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
        self._with_atime = options.attributes.atime
        self._named = not options.attributes.numeric_ids
        # what changes a tree without any change of the file system
        choices = options.attributes, options.read_special, options.exclude_nodump
        self._fingerprint = hashing.plain_hash(repr(choices).encode())
        self._here = os.getcwdb()
        self._now: tuple[Frame, bytes]  # what is being captured, for messages
        self._settled = True  # whether all that was captured of a folder may be believed by its looks

    def leave(self, frame: Frame) -> bytes | None:
        place = frame.place
        if place.status is None and place.name and not (frame.files or frame.finished or frame.extra):
            return None
        self._progress.path = frame.path
        self._reporter.progress("create", self._progress)
        digest = self._digest(frame)
        tag = self._cache.tag(os.path.join(self._here, frame.path))
        record = self._cache.folder(tag) if self._mode.read and not frame.extra else None
        if record is not None and record.digest == digest and self._is_stored(record):
            return self._reuse(frame, tag, record)
        return self._store(frame, tag, digest, record)

    # --- an unchanged folder ---

    def _digest(self, frame: Frame) -> bytes:
        """Of everything that a listing shows of what is in the folder, subfolders' trees included."""
        rows = self._rows(frame)
        batches = iter(lambda: list(islice(rows, _ROWS)), [])
        return hashing.hash_in_pieces(map(_encode, batches))[:16]

    def _rows(self, frame: Frame) -> Iterator[object]:
        inode = self._mode.inode
        yield self._fingerprint
        owners = set()
        for name, status in frame.files:
            linked = status.st_nlink > 1
            owners.add((status.st_uid, status.st_gid))
            yield (
                name,
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
                status.st_ino if inode or linked else 0,
                status.st_dev if linked else 0,
                status.st_atime_ns if self._with_atime else 0,
            )
        for folder in frame.finished:
            own = folder.status
            if own is None:
                yield folder.name, folder.tree
                continue
            owners.add((own.st_uid, own.st_gid))
            yield (
                folder.name,
                folder.tree,
                own.st_mode,
                own.st_uid,
                own.st_gid,
                own.st_mtime_ns,
                own.st_ctime_ns,
                own.st_atime_ns if self._with_atime else 0,
            )
        if self._named:
            known = self._capturer.owners
            yield [(known.user(uid), known.group(gid)) for uid, gid in sorted(owners)]

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

    def _store(self, frame: Frame, tag: bytes, digest: bytes, record: FolderRecord | None) -> bytes:
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
                digest if settled else b"",
                0,
                tree,
                content,
                self._progress.files - files,
                self._progress.original - original,
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
            for child in frame.files:
                if stop.requested:
                    raise Cancelled("Stopped as asked. What is stored already stays for the next run.")
                tag = name_tag(child.name)
                captured = self._capture(folder, frame, child, known.get(tag) if known else None, newest)
                if captured is None:
                    settled = settled and stat.S_ISSOCK(child.status.st_mode)
                    continue
                if captured.record is not None:
                    captured.record.tag = tag
                    records.append(msgspec.Raw(_encode(captured.record)) if crowded else captured.record)
                elif stat.S_ISREG(child.status.st_mode) or self._read_special:
                    settled = settled and captured.status == "h" and child.status.st_ctime_ns < newest
                else:
                    settled = settled and child.status.st_ctime_ns < newest
                yield captured.entry
        finally:
            os.close(folder)
            self._settled = self._settled and settled

    def _capture(
        self, folder: int, frame: Frame, child: Child, known: FileRecord | None, newest: int
    ) -> Captured | None:
        """None for what is no part of the backup (sockets, nodump), and for what cannot be read."""
        name, status = child
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
            place = Subfolder(b"", parent, None, None, False, WORKING_DIRECTORY, None)
            captured = self._capture(folder, Frame(place, WORKING_DIRECTORY), Child(base, status), None, 0)
        finally:
            os.close(folder)
        if captured is None:
            return None
        captured.entry.name = name
        return captured.entry

    def stream(self, name: bytes, stream: StreamFile) -> Entry | None:
        entry = store_stream(self._capturer, name, stream)
        self._progress.files += 1
        if self._reporter.wants_files:
            self._reporter.file("A" if stream.command else "i", os.fsencode(stream.name))
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
