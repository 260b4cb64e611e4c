"""Many trees at once: of each path, what every tree has there, with what they share read once."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush, heapreplace
from typing import NamedTuple

from strongroom.archive.entries import Entry
from strongroom.archive.long_files import Pieces
from strongroom.archive.reading import ArchiveTree, not_following
from strongroom.archive.trees import encode_root
from strongroom.ids import ID_SIZE, ChunkId


class History(NamedTuple):
    """What trees, named by their position, have at a path; those that share an entry stand together."""

    path: bytes
    states: list[tuple[Entry, Sequence[int]]]
    covering: frozenset[int]
    """The trees that would have the path if it had existed: a folder above it was backed up in them."""


def histories(trees: Sequence[ArchiveTree], enters: Callable[[bytes], bool]) -> Iterator[History]:
    """Every path of every tree, folders before what they hold, in the order of names.

    A subtree, or a segment of a huge folder, is read once for all trees that have it there. Implied
    folders do not exist as such. Raises as `ArchiveTree.folder` does.
    """
    if not trees:
        return
    top = _top(trees)
    yield from _shown(top)
    stack = [_inside(trees[0], b"", top)]
    while stack:
        history = next(stack[-1], None)
        if history is None:
            stack.pop()
            continue
        yield from _shown(history)
        if any(entry.is_dir for entry, _ in history.states) and enters(history.path):
            stack.append(_inside(trees[0], history.path, history))


def history_of(trees: Sequence[ArchiveTree], path: bytes) -> History | None:
    """What `histories` tells of one path, read along it alone; of a huge folder, a few segments.

    None if no tree has it. Raises as `ArchiveTree.folder` does.
    """
    found = top = _top(trees)
    for name in path.split(b"/") if path != b"." else ():
        covers = _covering(found)
        segments: dict[bytes, _Looked] = {}
        states: dict[bytes, tuple[Entry, list[int]]] = {}
        for folder, numbers in found.states:
            entry = _entry_of(trees[0], folder, name, segments) if folder.is_dir else None
            if entry is not None:
                states.setdefault(encode_root(entry), (entry, []))[1].extend(numbers)
        if not states:
            return None
        inner = found.path + b"/" + name if found is not top else name
        found = History(inner, list(states.values()), covers)
    return next(_shown(found), None)


class _Looked(NamedTuple):
    """What is kept of a segment that was looked into for one name."""

    first: bytes
    last: bytes
    named: list[Entry]


def _entry_of(reader: ArchiveTree, folder: Entry, name: bytes, known: dict[bytes, _Looked]) -> Entry | None:
    """By halves, since segments follow each other in the order of names; `known` are those that were read."""

    def look(at: int) -> _Looked:
        segment = folder.content[at * ID_SIZE : (at + 1) * ID_SIZE]
        if segment not in known:
            entries = reader.segment(ChunkId(segment))
            ends = (entries[0].name, entries[-1].name) if entries else (b"", b"")
            known[segment] = _Looked(*ends, [entry for entry in entries if entry.name == name])
        return known[segment]

    count = len(folder.content) // ID_SIZE
    pieces = Pieces()
    for at in range(bisect_left(range(count), name, key=lambda at: look(at).last), count):
        if look(at).first > name:
            break
        for entry in filter(None, map(pieces.add, look(at).named)):
            return entry
    pieces.end()
    return None


def _top(trees: Sequence[ArchiveTree]) -> History:
    roots: dict[bytes, tuple[Entry, list[int]]] = {}
    for number, tree in enumerate(trees):
        roots.setdefault(encode_root(tree.root), (tree.root, []))[1].append(number)
    return History(b".", list(roots.values()), frozenset())


def _covering(above: History) -> frozenset[int]:
    """Of what lies in these folders."""
    backed_up = [numbers for entry, numbers in above.states if entry.is_dir and not entry.implied]
    return above.covering.union(*backed_up)


def _shown(history: History) -> Iterator[History]:
    states = [one for one in history.states if not one[0].implied]
    if states:
        yield history._replace(states=states)


def _inside(reader: ArchiveTree, folder: bytes, above: History) -> Iterator[History]:
    covers = _covering(above)
    for name, states in _Merge(reader, above.states).names():
        yield History(folder + b"/" + name if folder else name, states, covers)


class _Version:
    """A folder as some trees have it, read on from segment to segment."""

    def __init__(self, content: bytes, numbers: Sequence[int]) -> None:
        self.segments = [content[at : at + ID_SIZE] for at in range(0, len(content), ID_SIZE)]
        self.numbers = numbers
        self.at = 0
        self.last = b""  # name that was read


class _Run:
    """A segment, or those of one file's pieces; `versions` are those that have come to it."""

    __slots__ = ("_entries", "entry", "first", "numbers", "segments", "versions")

    def __init__(self, segments: list[bytes], entries: list[Entry]) -> None:
        self.segments = segments
        self.versions: list[_Version] = []
        self.numbers: list[int] = []
        self._entries = iter(entries)
        self.entry = next(self._entries)
        self.first = self.entry.name

    def step(self) -> bool:
        entry = next(self._entries, None)
        if entry is None:
            return False
        self.entry = entry
        return True


class _Merge:
    """Versions of one folder side by side; of each a segment is in memory, and those they share once."""

    def __init__(self, reader: ArchiveTree, states: Sequence[tuple[Entry, Sequence[int]]]) -> None:
        self._reader = reader
        self._versions = [_Version(entry.content, numbers) for entry, numbers in states if entry.is_dir]
        self._open: dict[bytes, _Run] = {}  # by its first segment
        self._heap: list[tuple[bytes, int, _Run]] = []
        self._count = 0

    def names(self) -> Iterator[tuple[bytes, list[tuple[Entry, Sequence[int]]]]]:
        for version in self._versions:
            self._go_on(version)
        heap = self._heap
        while heap:
            name = heap[0][0]
            found: list[tuple[Entry, Sequence[int]]] = []
            ended: list[_Run] = []
            while heap and heap[0][0] == name:
                _, number, run = heap[0]
                found.append((run.entry, run.numbers))
                if run.step():
                    heapreplace(heap, (run.entry.name, number, run))
                else:
                    heappop(heap)
                    ended.append(run)
            yield name, found
            for run in ended:
                del self._open[run.segments[0]]
                for version in run.versions:
                    version.last = name
                    self._go_on(version)

    def _go_on(self, version: _Version) -> None:
        """To its next segment. One that is open already has not begun, since names come in order."""
        while version.at < len(version.segments):
            segment = version.segments[version.at]
            run = self._open.get(segment) or self._read(version)
            if run is not None:
                end = version.at + len(run.segments)
                if run.first <= version.last or version.segments[version.at : end] != run.segments:
                    raise not_following(segment)
                version.at = end
                run.versions.append(version)
                run.numbers.extend(version.numbers)
                return
            version.at += 1

    def _read(self, version: _Version) -> _Run | None:
        """None if there is nothing in it."""
        entries: list[Entry] = []
        pieces = Pieces()
        end = version.at
        while end < len(version.segments) and (end == version.at or pieces.waiting):
            read = self._reader.segment(ChunkId(version.segments[end]))
            whole = list(filter(None, map(pieces.add, read)))
            if entries and whole and whole[0].name <= entries[-1].name:
                raise not_following(version.segments[end])
            entries += whole
            end += 1
        pieces.end()
        if not entries:
            return None
        run = _Run(version.segments[version.at : end], entries)
        self._open[run.segments[0]] = run
        self._count += 1
        heappush(self._heap, (run.entry.name, self._count, run))
        return run
