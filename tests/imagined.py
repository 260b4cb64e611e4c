"""Trees that are on no disk: made by hypothesis, stored in memory, read as an archive's tree is."""

import stat
from typing import Any

import hypothesis.strategies as st
import msgspec
from blake3 import blake3

from strongroom.archive import trees
from strongroom.archive.entries import Entry
from strongroom.archive.reading import ArchiveTree
from strongroom.ids import ChunkId
from strongroom.repository.archives import ArchiveMeta

Listing = dict[bytes, Entry]
"""Every entry by its path."""


class Memory:
    """As much of a `ChunkReader` as trees need; `reads` counts what was read."""

    def __init__(self) -> None:
        self.chunks: dict[bytes, bytes] = {}
        self.reads: list[bytes] = []

    def put(self, blob: bytes) -> ChunkId:
        chunk = ChunkId(blake3(blob).digest())
        self.chunks[chunk] = blob
        return chunk

    def read(self, chunk: ChunkId) -> memoryview:
        self.reads.append(chunk)
        return memoryview(self.chunks[chunk])

    def tree(self, root: Entry) -> ArchiveTree:
        return ArchiveTree(self, ArchiveMeta("a", 0, 0, trees.encode_root(root)))  # type: ignore[arg-type]

    def plant(self, folder: dict[bytes, Any], name: bytes = b"", **more: Any) -> Entry:
        """A folder's entry; `folder` holds entries, and dicts for folders, by name."""
        entries = [
            self.plant(inner, name) if isinstance(inner, dict) else inner
            for name, inner in sorted(folder.items())
        ]
        content = b"".join(map(self.put, trees.encode_tree(entries)))
        return Entry(name, stat.S_IFDIR | 0o755, 0, 0, None, None, 0, 0, content, **more)


def file(name: bytes, data: bytes, mode: int = 0o644, mtime: int = 0, **more: Any) -> Entry:
    """A regular file with the chunk that `data` is; its bytes are nowhere."""
    content = blake3(data).digest() if data else b""
    return Entry(name, stat.S_IFREG | mode, 0, 0, None, None, mtime, len(data), content, **more)


NAMES = st.sampled_from([b"a", b"b", b"b\xff", b"c", b"long name", b"z"])
_DATA = st.sampled_from([b"", b"1", b"22", b"333"])


@st.composite
def _leaf(draw: st.DrawFn) -> Entry:
    if draw(st.booleans()):
        return file(b"", draw(_DATA), draw(st.sampled_from([0o644, 0o600])), draw(st.integers(0, 2)))
    target = draw(st.sampled_from([b"a", b"b"]))
    return Entry(b"", stat.S_IFLNK | 0o777, 0, 0, None, None, 0, 0, b"", target=target)


def folders() -> st.SearchStrategy[dict[bytes, Any]]:
    """What `Memory.plant` takes."""
    named = st.recursive(
        st.dictionaries(NAMES, _leaf(), max_size=4),
        lambda inner: st.dictionaries(NAMES, st.one_of(_leaf(), inner), max_size=4),
        max_leaves=12,
    )
    return named.map(_with_names)


def _with_names(folder: dict[bytes, Any]) -> dict[bytes, Any]:
    made: dict[bytes, Any] = {}
    for name, inner in folder.items():
        made[name] = _with_names(inner) if isinstance(inner, dict) else _renamed(inner, name)
    return made


def _renamed(entry: Entry, name: bytes) -> Entry:
    return msgspec.structs.replace(entry, name=name)


def listing(tree: ArchiveTree) -> Listing:
    """Every entry of a tree by its path, the slow and simple way."""
    return dict(tree.walk())
