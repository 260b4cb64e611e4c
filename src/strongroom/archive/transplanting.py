"""An archive's tree from one repository into another: cut and named by the other one's secrets.

Equal content has different chunk ids in two repositories, and is cut at different places. So content is
read, checked and cut anew; what became of each file and of each folder is remembered, and nothing is read
twice.
"""

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Protocol

import msgspec

from strongroom.archive import trees
from strongroom.archive.chunking import MINIMUM, ChunkedReader, Content
from strongroom.archive.entries import HOLE, Entry, without_holes
from strongroom.archive.frames import join
from strongroom.archive.pipeline import Pipeline
from strongroom.archive.reading import ArchiveTree, Chunks
from strongroom.crypto import hashing
from strongroom.crypto.sealing import TREE
from strongroom.errors import Damaged
from strongroom.ids import ChunkId
from strongroom.reporting import Progress
from strongroom.repository.refs import RefsWriter


class Memory(Protocol):
    """What became of content: a key of 32 bytes, and what `Carried` or `CarriedFolder` packs."""

    def get(self, key: bytes) -> bytes | None: ...

    def put(self, key: bytes, value: bytes) -> None: ...


class Carried(msgspec.Struct, array_like=True, frozen=True):
    """A file's content over there."""

    ids: bytes
    sizes: list[int] | None


class CarriedFolder(msgspec.Struct, array_like=True, frozen=True):
    """A folder's tree over there."""

    tree: bytes  # ids, concatenated
    content: bytes  # ids of what its own files hold, concatenated
    folders: list[bytes]  # trees here, of the folders in it that hold something
    files: int  # in it alone, like the next
    size: int  # bytes of content


_decoder = msgspec.msgpack.Decoder(Carried)
_folder_decoder = msgspec.msgpack.Decoder(CarriedFolder)
_MANY = 10_000  # folders that are looked up before any is taken


class _Frame(msgspec.Struct):
    path: bytes
    entry: Entry
    children: Iterator[Entry]
    kept: list[Entry] = []
    folders: list[bytes] = []  # trees here, of those in it


class Transplanter:
    """Once through one archive. For one thread."""

    def __init__(
        self,
        tree: ArchiveTree,
        chunks: Chunks,
        pipeline: Pipeline,
        reader: ChunkedReader,
        memory: Memory,
        refs: RefsWriter,
        progress: Progress,
        look: Callable[[int], None],
    ) -> None:
        """`look` is called with the bytes that were read since, and may raise to end it all."""
        self._tree = tree
        self._chunks = chunks
        self._pipeline = pipeline
        self._reader = reader
        self._memory = memory
        self._refs = refs
        self._progress = progress
        self._look = look

    def run(self) -> Entry:
        """The root entry over there. Raises `Damaged`, `Cancelled`, and the stores' errors."""
        root = self._tree.root
        stack = [_Frame(b"", root, self._tree.folder(root))]
        while True:
            frame = stack[-1]
            child = next(frame.children, None)
            if child is None:
                stack.pop()
                done = self._leave(frame)
                if not stack:
                    return done
                stack[-1].kept.append(done)
                continue
            path = join(frame.path, child.name)
            self._progress.path = path
            if child.is_dir:
                if child.content:
                    frame.folders.append(child.content)
                tree = self._reuse(child.content)
                if tree is None:
                    stack.append(_Frame(path, child, self._tree.folder(child)))
                else:
                    frame.kept.append(msgspec.structs.replace(child, content=tree))
                continue
            if child.is_regular:
                self._progress.files += 1
                child = self._carry(child, path)
            self._look(0)
            frame.kept.append(child)

    def ahead(self) -> Iterator[ChunkId]:
        """What `run` will read of content, in its order, as far as can be told before."""
        stack = [self._tree.folder(self._tree.root)]
        while stack:
            child = next(stack[-1], None)
            if child is None:
                stack.pop()
            elif child.is_dir:
                if not self._carried_folders(child.content):
                    stack.append(self._tree.folder(child))
            elif child.is_regular and child.content and self._carried(_content_key(child)) is None:
                yield from (chunk for chunk, _ in child.chunks() if chunk != HOLE)

    def _leave(self, frame: _Frame) -> Entry:
        files = b"".join([one.content for one in frame.kept if one.is_regular and one.content])
        if any(one.sizes is not None for one in frame.kept):
            files = without_holes(files)
        tree = b"".join([self._pipeline.add(TREE, segment) for segment in trees.encode_tree(frame.kept)])
        self._refs.add_all(files)
        self._refs.add_all(tree)
        regular = [one for one in frame.kept if one.is_regular]
        carried = CarriedFolder(tree, files, frame.folders, len(regular), sum(one.size for one in regular))
        self._memory.put(_folder_key(frame.entry.content), msgspec.msgpack.encode(carried))
        return msgspec.structs.replace(frame.entry, content=tree)

    def _reuse(self, tree: bytes) -> bytes | None:
        """The tree over there of a folder that is there with all below it, which then counts as carried."""
        found = self._carried_folders(tree)
        if not found:
            return None
        self._refs.add_all(_uses(found))
        self._progress.files += sum(one.files for one in found)
        self._look(sum(one.size for one in found))
        return found[0].tree

    def _carried_folders(self, tree: bytes) -> list[CarriedFolder]:
        """A folder and all below it, if all of it is over there; else empty."""
        found = self._carried_below(tree)
        return found if self._pipeline.knows(_uses(found)) else []

    def _carried_below(self, tree: bytes) -> list[CarriedFolder]:
        """A folder and all below it, each before what it holds, the last in it first; empty if they are
        not all remembered, or are many."""
        found: list[CarriedFolder] = []
        left = [tree] if tree else []
        while left:
            known = self._memory.get(_folder_key(left.pop()))
            if known is None or len(found) >= _MANY:
                return []
            found.append(_folder_decoder.decode(known))
            left += found[-1].folders
        return found

    def _carry(self, entry: Entry, path: bytes) -> Entry:
        """The file's entry with its content over there."""
        if not entry.content:
            return entry
        key = _content_key(entry)
        known = self._carried(key)
        if known is not None:
            self._look(entry.size)
            return msgspec.structs.replace(entry, content=known.ids, sizes=known.sizes)
        content = self._read(entry, path)
        carried = Carried(content.joined(), content.sizes_if_needed())
        self._memory.put(key, msgspec.msgpack.encode(carried))
        return msgspec.structs.replace(entry, content=carried.ids, sizes=carried.sizes)

    def _carried(self, key: bytes) -> Carried | None:
        """Content that is over there."""
        known = self._memory.get(key)
        carried = None if known is None else _decoder.decode(known)
        if carried is None or not self._pipeline.knows(without_holes(carried.ids)):
            return None
        return carried

    def _read(self, entry: Entry, path: bytes) -> Content:
        chunks = entry.chunks()
        if len(chunks) == 1 and entry.size <= MINIMUM and chunks[0][0] != HOLE:
            self._look(entry.size)
            return self._reader.add_small(bytes(self._chunk(*chunks[0], path)))
        content = Content()
        for is_hole, run in groupby(chunks, key=lambda one: one[0] == HOLE):
            if is_hole:
                for _, size in run:
                    content.add(HOLE, size)
                    self._look(size)
            else:
                parts = (self._chunk(chunk, size, path) for chunk, size in run)
                self._reader.add_stream(_Stream(parts).read, content, self._look)
        return content

    def _chunk(self, chunk: ChunkId, size: int, path: bytes) -> memoryview:
        data = self._chunks.read(chunk)
        if len(data) != size:
            raise Damaged(
                f"{path.decode(errors='backslashreplace')}: a chunk has not the size that it should."
            )
        return data


def _folder_key(tree: bytes) -> bytes:
    return hashing.plain_hash(b"folder", tree)


def _content_key(entry: Entry) -> bytes:
    return hashing.plain_hash(msgspec.msgpack.encode([entry.content, entry.sizes, entry.size]))


def _uses(folders: list[CarriedFolder]) -> bytes:
    """In the order in which `_leave` would come to them."""
    return b"".join([part for one in reversed(folders) for part in (one.content, one.tree)])


class _Stream:
    """Chunks one behind the other, as `Read` wants them."""

    def __init__(self, parts: Iterator[memoryview]) -> None:
        self._parts = parts
        self._left = memoryview(b"")

    def read(self, view: memoryview) -> int:
        while not self._left:
            following = next(self._parts, None)
            if following is None:
                return 0
            self._left = following
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
