"""Many trees at once: of each path, what every tree has there, with what they share read once."""

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
    roots: dict[bytes, tuple[Entry, list[int]]] = {}
    for number, tree in enumerate(trees):
        roots.setdefault(encode_root(tree.root), (tree.root, []))[1].append(number)
    top = History(b".", list(roots.values()), frozenset())
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


def _shown(history: History) -> Iterator[History]:
    states = [one for one in history.states if not one[0].implied]
    if states:
        yield history._replace(states=states)


def _inside(reader: ArchiveTree, folder: bytes, above: History) -> Iterator[History]:
    segments: dict[bytes, list[int]] = {}
    covering = set(above.covering)
    for entry, numbers in above.states:
        if not entry.is_dir:
            continue
        if not entry.implied:
            covering.update(numbers)
        for at in range(0, len(entry.content), ID_SIZE):
            segments.setdefault(entry.content[at : at + ID_SIZE], []).extend(numbers)
    covers = frozenset(covering)
    names: dict[bytes, list[tuple[Entry, Sequence[int]]]] = {}
    pieces = Pieces()
    for segment, numbers in segments.items():
        for entry in filter(None, map(pieces.add, reader.segment(ChunkId(segment)))):
            names.setdefault(entry.name, []).append((entry, numbers))
    pieces.end()
    for name in sorted(names):
        yield History(folder + b"/" + name if folder else name, names[name], covers)
