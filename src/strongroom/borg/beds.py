"""Where the entries of an archive are sorted into folders: working space on the disk, kept from one archive
to the next, so that an archive that differs a little costs little.

Borg lists items as it met them on the disk. Here they lie in the order of folders and names; memory does not
grow with the archive. Trees are named by their hash, so folders that archives share are kept once.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from strongroom.archive import trees
from strongroom.archive.build import implied_entry
from strongroom.archive.entries import Entry
from strongroom.borg.growing import Follow, encode_entry, folder_key, key_of
from strongroom.borg.items import link_of
from strongroom.borg.runs import Harvest, RunId
from strongroom.borg.scratch import BED_TABLES, Scratch
from strongroom.crypto import hashing
from strongroom.errors import Damaged

_PAGE = 2_000  # entries in one read
_KNOWN_FOLDERS = 100_000
_LINKS = 5_000  # in one write
_BATCH = 4 * 1024 * 1024  # bytes of trees in one write

_decode = msgspec.msgpack.Decoder(Entry).decode


class _Frame(msgspec.Struct):
    path: bytes
    entry: Entry
    left: Iterator[Entry]
    done: list[Entry] = []


class Bed:
    """Tables: `paths`, what the runs say; `links`, what hard links make of it; `above`, folders that only
    lead to others; `built`, the trees of folders. For one thread."""

    def __init__(self, scratch: Scratch, number: int) -> None:
        self._scratch = scratch
        self._paths, self._links, self._above, self._built = (f"{name}{number}" for name in BED_TABLES)
        self.runs: dict[RunId, None] = {}  # what lies here, in its order
        self.is_sound = False  # each path is said once, and nothing was left half done
        self.used = 0  # when
        self._changed: set[bytes] = set()  # folders whose trees are to be built anew, and all above them
        self._led_to: set[bytes] = set()  # some of the folders that `above` has
        self._linked: set[bytes] = set()  # folders that links have changed
        self._new_links: dict[bytes, bytes] = {}
        self._has_links = False
        self._new_trees: list[tuple[bytes, bytes]] = []
        self._new_built: list[tuple[bytes, bytes]] = []
        self._waiting = 0  # bytes in these two

    # --- entries ---

    def clear(self) -> None:
        self._changed, self._linked, self._led_to, self._has_links = set(), set(), set(), False
        for table in (self._paths, self._links, self._above, self._built):
            self._scratch.clear(table)

    def take_out(self, gone: Iterable[Harvest], come: Iterable[Harvest]) -> None:
        """Entries of runs that will not come again just the same."""
        new = _entries(come)
        old = {one.key: one for harvest in gone for one in harvest.grown}
        out = [key for key, one in old.items() if new.get(key) != one.entry]
        self._scratch.delete_all(self._paths, out)
        for key in out:
            self._change(old[key].folder)

    def put_in(self, gone: Iterable[Harvest], come: Sequence[Harvest]) -> None:
        """Entries of runs, without those that came from `gone` and are there."""
        old = _entries(gone)
        new = {one.key: one for harvest in come for one in harvest.grown}
        into = [(key, one.entry) for key, one in new.items() if old.get(key) != one.entry]
        self._scratch.put_all(self._paths, sorted(into))
        for key, _ in into:
            self._change(new[key].folder)
        for harvest in come:
            self._lead_to(harvest.folders)

    def count(self) -> int:
        """How many paths runs have said something of."""
        return self._scratch.count(self._paths)

    def _lead_to(self, folders: Iterable[bytes]) -> None:
        implied: list[tuple[bytes, bytes]] = []
        for folder in folders:
            below = folder
            while below and below not in self._led_to:
                if len(self._led_to) >= _KNOWN_FOLDERS:
                    self._led_to.clear()
                self._led_to.add(below)
                key = key_of(below)
                below, _, name = below.rpartition(b"/")
                implied.append((key, encode_entry(implied_entry(name, b""))))
        self._scratch.put_all(self._above, sorted(implied), overwrite=False)

    def _change(self, folder: bytes) -> None:
        if len(self._changed) >= _KNOWN_FOLDERS:
            self._changed.clear()
            self._scratch.clear(self._built)  # what is not built will be
        while folder not in self._changed:
            self._changed.add(folder)
            folder = folder.rpartition(b"/")[0]

    # --- hard links ---

    def unlink(self) -> None:
        """Forget what links made of the entries."""
        self._scratch.clear(self._links)
        for folder in self._linked:
            self._change(folder)
        self._linked, self._has_links = set(), False

    def follow(self, one: Follow) -> Entry:
        """A further name of a file, which has the first one's content. Raises `Damaged`."""
        entry = one.entry
        stored = self._stored(key_of(one.source))
        first = None if stored is None else _decode(stored)
        if first is None or first.mode >> 12 != entry.mode >> 12:
            raise Damaged(
                f"{one.path.decode(errors='backslashreplace')} is a hard link to "
                f"{one.source.decode(errors='backslashreplace')}, which is not in the archive."
            )
        if first.link is None:  # Borg 1.0 does not mark first names
            first.link = link_of(one.source)
            self._link(one.source, first)
        entry.link = first.link
        if not entry.content:
            entry.content, entry.sizes, entry.size = first.content, first.sizes, first.size
        self._link(one.path, entry)
        return entry

    def _stored(self, key: bytes) -> bytes | None:
        if self._has_links:
            found = self._new_links.get(key) or self._scratch.get(self._links, key)
            if found is not None:
                return found
        return self._scratch.get(self._paths, key)

    def _link(self, path: bytes, entry: Entry) -> None:
        self._has_links = True
        self._new_links[key_of(path)] = encode_entry(entry)
        if len(self._new_links) >= _LINKS:
            self._flush_links()
        folder = path.rpartition(b"/")[0]
        self._change(folder)
        if len(self._linked) >= _KNOWN_FOLDERS:
            self._linked.clear()
            self.is_sound = False  # the next archive finds it too much to remember
        self._linked.add(folder)

    def _flush_links(self) -> None:
        self._scratch.put_all(self._links, sorted(self._new_links.items()))
        self._new_links = {}

    # --- building ---

    def build(self, root: Entry) -> Entry:
        """The topmost folder with its tree, innermost folders first."""
        self._flush_links()
        self._scratch.delete_all(self._built, [folder_key(path) for path in self._changed])
        stack = [_Frame(b"", root, self._children(b""))]
        while True:
            frame = stack[-1]
            child = next(frame.left, None)
            if child is None:
                stack.pop()
                frame.entry.content = self._store(frame.path, frame.done)
                if not stack:
                    break
                _keep(stack[-1].done, frame.entry)
            elif child.is_dir:
                path = frame.path + b"/" + child.name if frame.path else child.name
                built = self._scratch.get(self._built, folder_key(path))
                if built is None:
                    stack.append(_Frame(path, child, self._children(path)))
                else:
                    child.content = built
                    _keep(frame.done, child)
            else:
                frame.done.append(child)
        self._flush()
        self._changed = set()
        return root

    def _children(self, path: bytes) -> Iterator[Entry]:
        prefix = after = folder_key(path)
        layers = (self._links, self._paths, self._above) if self._has_links else (self._paths, self._above)
        while True:
            found: dict[bytes, bytes] = {}
            last = None  # names behind it may be missing in a layer
            for layer in layers:  # the first that has a name tells what it is
                page = self._scratch.page(layer, prefix, after, _PAGE)
                if len(page) == _PAGE and (last is None or page[-1][0] < last):
                    last = page[-1][0]
                for key, stored in page:
                    found.setdefault(key, stored)
            for key in sorted(found):
                if last is None or key <= last:
                    yield _decode(found[key])
            if last is None:
                return
            after = last

    def _store(self, path: bytes, entries: list[Entry]) -> bytes:
        segments = [(hashing.plain_hash(one), one) for one in trees.encode_tree(entries)]
        content = b"".join([chunk for chunk, _ in segments])
        self._new_trees += segments
        self._new_built.append((folder_key(path), content))
        self._waiting += len(content) + sum(len(one) for _, one in segments)
        if self._waiting >= _BATCH:
            self._flush()
        return content

    def _flush(self) -> None:
        self._scratch.put_all("trees", sorted(set(self._new_trees)))
        self._scratch.put_all(self._built, sorted(self._new_built))
        self._new_trees, self._new_built, self._waiting = [], [], 0


def _keep(entries: list[Entry], folder: Entry) -> None:
    if folder.content or not folder.implied:  # what it led to may be gone
        entries.append(folder)


def _entries(harvests: Iterable[Harvest]) -> dict[bytes, bytes]:
    return {one.key: one.entry for harvest in harvests for one in harvest.grown}
