"""Archives as a read-only tree of folders and files that is read as it is entered.

Pure logic for everything that shows archives: a mount, a web page. A node is what a path leads to;
its inode number is made of the archive's id and the path, so it is the same after a new mount, and
the same for all names of a hard-linked file. Names cannot hold "/" or be "..": such trees are
refused when they are decoded.
"""

import stat
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec
from blake3 import blake3

from strongroom.archive.compact import FROM, CompactFolder
from strongroom.archive.entries import HOLE, Entry
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.reading import ArchiveTree
from strongroom.ids import ID_SIZE

MOST_ENTRIES = 50_000
"""Of folders that are kept in memory, 700 bytes each; one with more than half of it is kept beside them."""
_RECENT = 256  # folders whose paths are remembered; paths may be long
_KEY = 16  # bytes of what inode numbers are made of


class Node:
    """Something with a path. `entry` has its metadata, its `name` not always that of the path."""

    __slots__ = ("entry", "key")

    def __init__(self, entry: Entry, key: bytes) -> None:
        self.entry = entry
        self.key = key

    @property
    def inode(self) -> int:
        """Never 0; 63 bits, since some programs keep it signed."""
        return int.from_bytes(self.key[:8], "little") >> 1 or 1


class Folder(Node):
    """`load` reads what is in it; callers ask `Browser.children`, which remembers."""

    __slots__ = ()

    def load(self) -> Mapping[bytes, Node]:
        """Raises `Damaged`, `ChunkMissing`, `RoleInsufficient`, and the store's errors."""
        raise NotImplementedError


class FixedFolder(Folder):
    """Of nodes that are known."""

    __slots__ = ("nodes",)

    def __init__(self, entry: Entry, key: bytes, nodes: dict[bytes, Node]) -> None:
        super().__init__(entry, key)
        self.nodes = nodes

    def load(self) -> dict[bytes, Node]:
        return self.nodes


class View(NamedTuple):
    """An archive, and what of it is to be seen."""

    tree: ArchiveTree
    matcher: PatternMatcher
    key: bytes  # the archive's own; hard links are known by it

    def entries(self, folder: Entry, path: bytes) -> Iterator[tuple[bytes, Entry]]:
        """Path and entry of what is to be seen of a folder that has this path in the archive."""
        for entry in self.tree.folder(folder):
            inner = path + b"/" + entry.name if path else entry.name
            if self.matcher.is_trivial or self._is_seen(inner, entry):
                yield inner, entry

    def _is_seen(self, path: bytes, entry: Entry) -> bool:
        if not entry.implied and self.matcher.match(path):
            return True
        return entry.is_dir and self._holds_match(path, entry)

    def _holds_match(self, path: bytes, folder: Entry) -> bool:
        if not self.matcher.may_match_below(path):
            return False
        return any(self._is_seen(path + b"/" + entry.name, entry) for entry in self.tree.folder(folder))


class Part(NamedTuple):
    """A folder of one archive."""

    view: View
    entry: Entry
    path: bytes  # in the archive


class ArchiveFolder(Folder):
    """A folder of an archive; of several parts where --strip-components lays some over each other."""

    __slots__ = ("parts",)

    def __init__(self, entry: Entry, key: bytes, parts: list[Part]) -> None:
        super().__init__(entry, key)
        self.parts = parts

    def load(self) -> Mapping[bytes, Node]:
        if len(self.parts) == 1:
            (part,) = self.parts
            if part.view.matcher.is_trivial and len(part.entry.content) >= FROM * ID_SIZE:
                return CompactFolder(part.view.tree.folder(part.entry), self._node_of)
        found: dict[bytes, Node] = {}
        for part in self.parts:
            for path, entry in part.view.entries(part.entry, part.path):
                before = found.get(entry.name)
                found[entry.name] = node = self._node(part, path, entry)
                if isinstance(node, ArchiveFolder) and isinstance(before, ArchiveFolder):
                    node.parts = [*before.parts, *node.parts]
        return found

    def _node_of(self, entry: Entry) -> Node:
        (part,) = self.parts
        return self._node(part, part.path + b"/" + entry.name if part.path else entry.name, entry)

    def _node(self, part: Part, path: bytes, entry: Entry) -> Node:
        # thousands of entries have the same few owners, and each would keep their names again
        if entry.user is not None:
            entry.user = sys.intern(entry.user)
        if entry.group is not None:
            entry.group = sys.intern(entry.group)
        if not entry.is_dir:
            return Node(entry, self._file_key(part.view, entry))
        return ArchiveFolder(entry, child_key(self.key, entry.name), [Part(part.view, entry, path)])

    def _file_key(self, view: View, entry: Entry) -> bytes:
        if entry.link is not None:
            return child_key(view.key, b"/" + entry.link)  # no name begins with a slash
        return child_key(self.key, entry.name)


class Top(Folder):
    """The folder that archives begin with, so many leading components cut off every path."""

    __slots__ = ("_components", "_kind", "_views")

    def __init__(
        self, entry: Entry, key: bytes, kind: "type[ArchiveFolder | VersionsFolder]", views: list[View],
        components: int,
    ) -> None:  # fmt: skip
        super().__init__(entry, key)
        self._kind = kind
        self._views = views
        self._components = components

    def load(self) -> Mapping[bytes, Node]:
        parts = [Part(view, view.tree.root, b"") for view in self._views]
        for _ in range(self._components):
            parts = [
                Part(part.view, entry, path)
                for part in parts
                for path, entry in part.view.entries(part.entry, part.path)
                if entry.is_dir
            ]
        return self._kind(self.entry, self.key, parts).load()


class VersionsFolder(Folder):
    """A folder of many archives at once: each file is a folder of its versions, named as Borg names them.

    `report.txt` becomes `report.txt/report.00001.txt` and so on, a number for each different
    content, in the order of the archives.
    """

    __slots__ = ("parts",)

    def __init__(self, entry: Entry, key: bytes, parts: list[Part]) -> None:
        super().__init__(entry, key)
        self.parts = parts

    def load(self) -> dict[bytes, Node]:
        folders: dict[bytes, list[Part]] = {}
        files: dict[bytes, list[Entry]] = {}
        for part in self._different():
            for path, entry in part.view.entries(part.entry, part.path):
                if entry.is_dir:
                    folders.setdefault(entry.name, []).append(Part(part.view, entry, path))
                else:
                    files.setdefault(entry.name, []).append(entry)
        found: dict[bytes, Node] = {}
        for name, parts in folders.items():
            found[name] = VersionsFolder(parts[-1].entry, child_key(self.key, name), parts)
        for name, entries in files.items():
            shown = name
            while shown in found:  # it was a folder in another archive
                shown += b"~"
            found[shown] = self._versions(name, shown, entries)
        return found

    def _different(self) -> Iterable[Part]:
        """A folder that stayed as it was is read once."""
        if not all(part.view.matcher.is_trivial for part in self.parts):
            return self.parts
        first: dict[bytes, Part] = {}
        for part in self.parts:
            first.setdefault(part.entry.content, part)
        return first.values()

    def _versions(self, name: bytes, shown: bytes, entries: list[Entry]) -> Node:
        key = child_key(self.key, shown)
        different: dict[object, Entry] = {}
        for entry in entries:
            what = (stat.S_IFMT(entry.mode), entry.content, entry.target, entry.rdev)
            different.setdefault(what, entry)
        nodes: dict[bytes, Node] = {}
        for number, entry in enumerate(different.values(), 1):
            version = version_name(name, number)
            # names of one inode in one archive: here each stands for itself
            nodes[version] = Node(msgspec.structs.replace(entry, link=None), child_key(key, version))
        newest = entries[-1]
        mode = stat.S_IMODE(newest.mode) & 0o777
        folder = msgspec.structs.replace(
            newest, mode=stat.S_IFDIR | mode | (mode & 0o444) >> 2, size=0, content=b"", sizes=None,
            target=None, rdev=None, link=None, xattrs=None, acl_access=None,
        )  # fmt: skip
        return FixedFolder(folder, key, nodes)


def entries_of(children: Mapping[bytes, Node]) -> Iterator[tuple[bytes, Entry]]:
    """Of all that is in a folder, without making nodes where there are none yet."""
    if isinstance(children, CompactFolder):
        return children.entries()
    return ((name, node.entry) for name, node in children.items())


def version_name(name: bytes, number: int) -> bytes:
    """Borg's: the number stands before the extension, so that programs still know the type."""
    dot = name.rfind(b".")
    stem, extension = (name[:dot], name[dot:]) if dot > 0 and name[:dot].strip(b".") else (name, b"")
    return stem + b".%05d" % number + extension


def child_key(key: bytes, name: bytes) -> bytes:
    return blake3(key + name).digest(_KEY)


def stored_size(entry: Entry) -> int:
    """Bytes of a file that are not in holes."""
    if entry.sizes is None or bytes(HOLE) not in entry.content:
        return entry.size
    return sum(size for chunk, size in entry.chunks() if chunk != HOLE)


class Browser:
    """Finds nodes by path. Any thread may use it; memory is bounded by `most` entries."""

    def __init__(self, root: Folder, most: int = MOST_ENTRIES) -> None:
        self.root = root
        self._most = most
        self._held = 0
        self._lock = threading.Lock()
        self._folders: OrderedDict[bytes, Mapping[bytes, Node]] = OrderedDict()
        # apart: among the others it would drive them out, and be driven out by the next small one
        self._huge: tuple[bytes, Mapping[bytes, Node]] | None = None
        self._recent: dict[bytes, Folder] = {}  # a deep tree is not walked from its top for each name

    def children(self, folder: Folder) -> Mapping[bytes, Node]:
        """What is in a folder, by name; not to be changed. Raises what `Folder.load` raises."""
        with self._lock:
            if self._huge is not None and self._huge[0] == folder.key:
                return self._huge[1]
            known = self._folders.get(folder.key)
            if known is not None:
                self._folders.move_to_end(folder.key)
                return known
        found = folder.load()
        with self._lock:
            if len(found) > self._most // 2:
                self._huge = folder.key, found
            elif folder.key not in self._folders:
                self._folders[folder.key] = found
                self._held += len(found) + 1
            while self._held > self._most and len(self._folders) > 1:
                _, dropped = self._folders.popitem(last=False)
                self._held -= len(dropped) + 1
        return found

    def find(self, path: bytes) -> Node:
        """Of a path like `/a/b`. Raises FileNotFoundError, NotADirectoryError, what `children` raises."""
        above, _, name = path.rpartition(b"/")
        folder = self._recent.get(above)
        if folder is None:
            folder = self._walk(above)
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            self._recent[above] = folder
        return self._child(folder, name) if name else folder

    def _walk(self, path: bytes) -> Folder:
        node: Node = self.root
        for name in path.split(b"/"):
            node = self._child(node, name) if name else node
        if not isinstance(node, Folder):
            raise NotADirectoryError(path)
        return node

    def _child(self, node: Node, name: bytes) -> Node:
        if not isinstance(node, Folder):
            raise NotADirectoryError(name)
        inner = self.children(node).get(name)
        if inner is None:
            raise FileNotFoundError(name)
        return inner
