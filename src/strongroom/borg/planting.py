"""From the stream of an archive's items to trees: folders, each with its entries in order of their names.

Borg lists items as it met them on the disk. They are sorted in working space on the disk, so that memory
does not grow with the archive; trees are named by their hash, so folders that archives share are kept once.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from strongroom.archive import trees
from strongroom.archive.build import implied_entry
from strongroom.archive.entries import Entry
from strongroom.borg.items import (
    Content,
    content_of,
    entry_of,
    hard_link_source,
    link_of,
    parts_of,
    split_path,
)
from strongroom.borg.scratch import Scratch
from strongroom.crypto import hashing
from strongroom.errors import Damaged
from strongroom.ids import ID_SIZE, ChunkId

_BATCH = 5_000  # entries in one write
_PAGE = 2_000  # entries in one read
_KNOWN_FOLDERS = 100_000
_KEY = 16  # bytes of a folder's hash, before a name
MAX_DEPTH = 4096  # components of a path

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Planted(msgspec.Struct):
    """What came of an archive's items."""

    root: Entry
    files: int = 0
    size: int = 0  # bytes of content


class _Frame(msgspec.Struct):
    path: bytes
    entry: Entry
    left: Iterator[Entry]
    done: list[Entry] = []


class Planter:
    """Plants one archive. For one thread."""

    def __init__(
        self,
        scratch: Scratch,
        has: Callable[[ChunkId], bool],
        use: Callable[[bytes], None],
        tell: Callable[[str], None],
    ) -> None:
        """`has` says whether the repository holds a chunk, `use` is given the ids of each file's content,
        concatenated, `tell` what the archive has that cannot be."""
        self._scratch = scratch
        self._has = has
        self._use = use
        self._tell = tell
        self._pending: dict[bytes, bytes] = {}
        self._sizes: dict[bytes, bytes] = {}
        self._folders: set[bytes] = set()
        self._root: Entry | None = None
        self._files = 0
        self._size = 0

    def plant(self, items: Iterator[Any]) -> Planted:
        """Raises `Damaged` where the stream ends early, and what `items` raises."""
        self._scratch.clear("paths")
        try:
            for item in items:
                try:
                    self._take(item)
                except Damaged as error:
                    self._tell(f"{error} It is left out.")
            self._flush()
            root = self._root or implied_entry(b"", b"")
            return Planted(self._build(root), self._files, self._size)
        finally:
            self._scratch.clear("paths")

    # --- sorting ---

    def _take(self, item: object) -> None:
        if not isinstance(item, dict):
            raise Damaged("An item is no list of fields.")
        if item.get(b"part") is not None:  # of an interrupted run: the whole file follows, or never came
            return
        parts = parts_of(item)
        if len(parts) > MAX_DEPTH:
            raise Damaged("An item's path is too deep.")
        source = hard_link_source(item)
        content = self._content(item)
        path = b"/".join(parts)
        entry = entry_of(item, parts[-1] if parts else b"", content)
        if source is not None:
            self._follow(entry, path, source)
        elif item.get(b"hardlink_master") and not entry.is_dir:
            entry.link = link_of(path)
        if entry.is_regular:
            self._files += 1
            self._size += entry.size
            self._use(entry.content)
        if not parts:
            if not entry.is_dir:
                raise Damaged("The archive's topmost item is no folder.")
            self._root = entry
            return
        self._put(parts, entry)

    def _content(self, item: dict[bytes, Any]) -> Content:
        content = content_of(item)
        if item.get(b"chunks_healthy") is not None:
            # `borg check --repair` put zeros where a chunk was lost. It may have come back since.
            healthy = content_of(item, b"chunks_healthy")
            ids = healthy.ids
            if all(self._has(ChunkId(ids[at : at + ID_SIZE])) for at in range(0, len(ids), ID_SIZE)):
                content = healthy
            else:
                path = item[b"path"].decode(errors="backslashreplace")
                self._tell(f"{path}: `borg check --repair` has put zeros in place of chunks that were lost.")
        for at, stored in enumerate(content.stored):
            if stored:
                self._sizes[content.ids[at * ID_SIZE : (at + 1) * ID_SIZE]] = stored.to_bytes(4, "big")
        return content

    def _follow(self, entry: Entry, path: bytes, source: bytes) -> None:
        """A further name of a file that came before: it has that one's content."""
        parts = split_path(source)
        key = _key(parts)
        first = self._entry(key)
        if first is None or first.mode >> 12 != entry.mode >> 12:
            raise Damaged(
                f"{path.decode(errors='backslashreplace')} is a hard link to "
                f"{source.decode(errors='backslashreplace')}, which is not in the archive before it."
            )
        if first.link is None:  # Borg 1.0 does not mark first names
            first.link = link_of(source)
            self._pending[key] = _encode(first)
        entry.link = first.link
        if not entry.content:
            entry.content, entry.sizes, entry.size = first.content, first.sizes, first.size

    def _put(self, parts: list[bytes], entry: Entry) -> None:
        self._pending[_key(parts)] = _encode(entry)
        for depth in range(len(parts) - 1, 0, -1):
            above = b"/".join(parts[:depth])
            if above in self._folders:
                break
            key = _key(parts[:depth])
            if self._stored(key) is None:
                self._pending[key] = _encode(implied_entry(parts[depth - 1], b""))
            if len(self._folders) >= _KNOWN_FOLDERS:
                self._folders.clear()
            self._folders.add(above)
        if len(self._pending) >= _BATCH:
            self._flush()

    def _stored(self, key: bytes) -> bytes | None:
        return self._pending.get(key) or self._scratch.get("paths", key)

    def _entry(self, key: bytes) -> Entry | None:
        stored = self._stored(key)
        return None if stored is None else _decode(stored)

    def _flush(self) -> None:
        self._scratch.put_all("paths", sorted(self._pending.items()))
        self._scratch.put_all("sizes", sorted(self._sizes.items()))
        self._pending, self._sizes = {}, {}

    # --- building ---

    def _build(self, root: Entry) -> Entry:
        """Innermost folders first."""
        stack = [_Frame(b"", root, self._children(b""))]
        while True:
            frame = stack[-1]
            child = next(frame.left, None)
            if child is not None:
                if child.is_dir:
                    path = frame.path + b"/" + child.name if frame.path else child.name
                    stack.append(_Frame(path, child, self._children(path)))
                else:
                    frame.done.append(child)
                continue
            stack.pop()
            frame.entry.content = self._store(frame.done)
            if not stack:
                return frame.entry
            stack[-1].done.append(frame.entry)

    def _children(self, path: bytes) -> Iterator[Entry]:
        prefix = _folder_key(path)
        after = prefix
        while page := self._scratch.page("paths", prefix, after, _PAGE):
            for _, stored in page:
                yield _decode(stored)
            after = page[-1][0]

    def _store(self, entries: list[Entry]) -> bytes:
        segments = [(hashing.plain_hash(one), one) for one in trees.encode_tree(entries)]
        self._scratch.put_all("trees", sorted(set(segments)))
        return b"".join([chunk for chunk, _ in segments])


def _folder_key(path: bytes) -> bytes:
    return hashing.plain_hash(path)[:_KEY]


def _key(parts: list[bytes]) -> bytes:
    return _folder_key(b"/".join(parts[:-1])) + parts[-1] if parts else b"."
