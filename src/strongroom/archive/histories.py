"""Many trees at once: of each path, what every tree has there, with what they share read once."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from strongroom.archive.entries import Entry
from strongroom.archive.long_files import Pieces
from strongroom.archive.reading import ArchiveTree
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
    segments: dict[bytes, list[int]] = {}
    for entry, numbers in above.states:
        if not entry.is_dir:
            continue
        for at in range(0, len(entry.content), ID_SIZE):
            segments.setdefault(entry.content[at : at + ID_SIZE], []).extend(numbers)
    covers = _covering(above)
    names: dict[bytes, list[tuple[Entry, Sequence[int]]]] = {}
    pieces = Pieces()
    for segment, numbers in segments.items():
        for entry in filter(None, map(pieces.add, reader.segment(ChunkId(segment)))):
            names.setdefault(entry.name, []).append((entry, numbers))
    pieces.end()
    for name in sorted(names):
        yield History(folder + b"/" + name if folder else name, names[name], covers)
