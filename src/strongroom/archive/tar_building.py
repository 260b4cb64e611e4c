"""From the members of a tar archive to stored trees.

Members come in any order: a folder after what is in it, or never. So the tree is kept until the end, the
entries in the form in which they are stored; content goes through the pipeline as it comes.
"""

import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec

from strongroom.archive import trees
from strongroom.archive.build import implied_entry
from strongroom.archive.chunking import MINIMUM, ChunkedReader, Content
from strongroom.archive.entries import HOLE, Entry, without_holes
from strongroom.archive.pipeline import Pipeline
from strongroom.archive.tar_reading import EntryMaker, TarReader, parts_of, path_of
from strongroom.crypto import hashing
from strongroom.crypto.sealing import TREE
from strongroom.errors import CommandError, Damaged
from strongroom.reporting import BACKUP_ERROR, Notice, Progress, Reporter
from strongroom.repository.refs import RefsWriter

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode
_LETTERS = {
    stat.S_IFREG: "A",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "s",
    stat.S_IFIFO: "f",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
}


class _Folder:
    __slots__ = ("entry", "files", "folders")

    def __init__(self) -> None:
        self.entry: Entry | None = None  # None: the tar archive has only what is in it
        self.files: dict[bytes, bytes] = {}  # anything but folders, encoded
        self.folders: dict[bytes, _Folder] = {}


class TarBuilder:
    """Takes a whole tar archive, then stores its trees. For one thread, and once."""

    def __init__(
        self,
        pipeline: Pipeline,
        reader: ChunkedReader,
        refs: RefsWriter,
        reporter: Reporter,
        progress: Progress,
        read_bytes: Callable[[int], None],
    ) -> None:
        self._pipeline = pipeline
        self._reader = reader
        self._refs = refs
        self._reporter = reporter
        self._progress = progress
        self._read_bytes = read_bytes
        self._top = _Folder()
        self._maker = EntryMaker()

    def take(self, tar: TarReader) -> None:
        """Raises `CommandError` where the tar archive breaks off, and what the pipeline raises."""
        for member in tar:
            parts = path_of(member)
            self._progress.path = b"/".join(parts)
            try:
                self._member(tar, member, parts)
            except (Damaged, ValueError, OverflowError) as error:
                self._warn(parts, f"left out: {error}")
            except (tarfile.TarError, OSError) as error:
                raise CommandError(f"The tar archive breaks off: {error}. Nothing was archived.") from error
            for problem in self._maker.problems:
                self._warn(parts, f"not taken over: {problem}")
            self._maker.problems.clear()
        if not tar.has_end_mark:
            self._reporter.warn(Notice("The tar archive has no end mark: it may have been cut off."))

    def _member(self, tar: TarReader, member: tarfile.TarInfo, parts: list[bytes]) -> None:
        name = parts[-1] if parts else b""
        if member.islnk():
            self._link(member, parts)
            return
        if not (member.isreg() or member.isdir() or member.issym() or member.isdev()):
            raise ValueError(f"members of type {member.type!r} are not known")
        entry = self._maker.entry(name, member)
        if entry.is_dir:
            if parts:
                trees.check_entry(entry, "The tar archive")
            self._folder(parts).entry = entry
        else:
            if not parts:
                raise ValueError("it has no name")
            trees.check_entry(entry, "The tar archive")
            if entry.is_regular:
                content = self._content(tar.content(member), member)
                entry.size, entry.content = content.size, content.joined()
                entry.sizes = content.sizes_if_needed()
            self._put(parts, entry)
            self._progress.files += entry.is_regular
        self._letter(_LETTERS[stat.S_IFMT(entry.mode)], parts)

    def _link(self, member: tarfile.TarInfo, parts: list[bytes]) -> None:
        """A further name of a member before."""
        wanted = parts_of(member.linkname)
        folder = self._find(wanted[:-1]) if wanted else None
        encoded = folder.files.get(wanted[-1]) if folder is not None else None
        if folder is None or encoded is None or not parts:
            raise ValueError(f"it is a hard link to {member.linkname}, which did not come before it")
        if parts == wanted:
            return
        entry = _decode(encoded)
        if entry.link is None:
            entry.link = hashing.plain_hash(b"/".join(wanted))[:8]
            folder.files[wanted[-1]] = _encode(entry)
        entry.name = parts[-1]
        trees.check_entry(entry, "The tar archive")
        self._put(parts, entry)
        self._progress.files += entry.is_regular
        self._letter("h", parts)

    # --- content ---

    def _content(self, stream: BinaryIO, member: tarfile.TarInfo) -> Content:
        sparse = getattr(member, "sparse", None)
        if sparse:
            return self._sparse_content(stream, member.size, sparse)
        if member.size <= MINIMUM:
            data = stream.read(member.size)
            if len(data) != member.size:
                raise CommandError("The tar archive breaks off within a file. Nothing was archived.")
            self._read_bytes(len(data))
            return self._reader.add_small(data)
        content = Content()
        self._reader.add_stream(_reader(stream, member.size), content, self._read_bytes)
        return content

    def _sparse_content(self, stream: BinaryIO, size: int, data: list[tuple[int, int]]) -> Content:
        content = Content()
        at = 0
        for start, length in [*(stretch for stretch in data if stretch[1]), (size, 0)]:
            if not at <= start <= start + length <= size:
                raise CommandError("The tar archive has an impossible map of holes. Nothing was archived.")
            if start > at:
                content.add(HOLE, start - at)
                self._read_bytes(start - at)
            if length:
                stream.seek(start)
                self._reader.add_stream(_reader(stream, length), content, self._read_bytes)
            at = start + length
        return content

    # --- the tree ---

    def _find(self, parts: list[bytes]) -> _Folder | None:
        folder: _Folder | None = self._top
        for part in parts:
            folder = folder.folders.get(part) if folder is not None else None
        return folder

    def _folder(self, parts: list[bytes]) -> _Folder:
        """Made with all above it; files that stand in the way give way, as on extraction."""
        folder = self._top
        for part in parts:
            inner = folder.folders.get(part)
            if inner is None:
                folder.files.pop(part, None)
                inner = folder.folders[part] = _Folder()
            folder = inner
        return folder

    def _put(self, parts: list[bytes], entry: Entry) -> None:
        for part in parts[:-1]:
            trees.check_entry(implied_entry(part, b""), "The tar archive")
        folder = self._folder(parts[:-1])
        folder.folders.pop(parts[-1], None)
        folder.files[parts[-1]] = _encode(entry)

    def store(self) -> Entry:
        """The root's entry. Innermost folders first, as a backup does it."""
        stack = [(b"", self._top, iter(sorted(self._top.folders.items())), list[Entry]())]
        while True:
            name, folder, left, finished = stack[-1]
            below = next(left, None)
            if below is not None:
                stack.append((below[0], below[1], iter(sorted(below[1].folders.items())), []))
                continue
            stack.pop()
            entry = self._store(name, folder, finished)
            if not stack:
                return entry
            stack[-1][3].append(entry)

    def _store(self, name: bytes, folder: _Folder, finished: list[Entry]) -> Entry:
        content: list[bytes] = []
        entries = _in_order(folder.files, finished, content)
        tree = b"".join([self._pipeline.add(TREE, segment) for segment in trees.encode_tree(entries)])
        self._refs.add_all(without_holes(b"".join(content)))
        self._refs.add_all(tree)
        if folder.entry is None:
            return implied_entry(name, tree)
        folder.entry.name = name
        folder.entry.content = tree
        return folder.entry

    # --- telling ---

    def _letter(self, letter: str, parts: list[bytes]) -> None:
        if self._reporter.wants_files:
            self._reporter.file(letter, b"/".join(parts) or b".")

    def _warn(self, parts: list[bytes], what: str) -> None:
        path = os.fsdecode(b"/".join(parts) or b".")
        self._reporter.warn(Notice(f"{path}: {what}", *BACKUP_ERROR))
        self._letter("E", parts)


def _in_order(files: dict[bytes, bytes], folders: list[Entry], content: list[bytes]) -> Iterator[Entry]:
    """The entries of a folder, decoded one by one; `content` gets the chunks of its files."""
    known = {folder.name: folder for folder in folders}
    for name in sorted([*files, *known]):
        folder = known.get(name)
        if folder is not None:
            yield folder
            continue
        entry = _decode(files[name])
        if entry.is_regular:
            content.append(entry.content)
        yield entry


def _reader(stream: BinaryIO, length: int) -> Callable[[memoryview], int]:
    """`Read` of the next `length` bytes. Raises `CommandError` should there be less."""
    left = length

    def read(view: memoryview) -> int:
        nonlocal left
        if not left:
            return 0
        count = stream.readinto(view[:left])  # type: ignore[attr-defined]
        if not count:
            raise CommandError("The tar archive breaks off within a file. Nothing was archived.")
        left -= count
        return int(count)

    return read
