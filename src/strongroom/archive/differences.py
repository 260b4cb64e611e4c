"""Two trees side by side: what differs between them, and nothing of what they share."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from strongroom.archive.entries import Entry
from strongroom.archive.reading import ArchiveTree
from strongroom.ids import ID_SIZE


class Pair(NamedTuple):
    """A path on both sides; None where it does not exist."""

    path: bytes
    old: Entry | None
    new: Entry | None


def different(old: ArchiveTree, new: ArchiveTree, enters: Callable[[bytes], bool]) -> Iterator[Pair]:
    """Every path whose entries are not the same, folders before what they hold, in the order of names.

    A subtree that both sides have, or a segment of a huge folder, is not read: the time goes by what
    changed. `enters` says whether a folder is to be looked into. An implied folder does not exist as
    such. Raises as `ArchiveTree.folder` does.
    """
    pair = Pair(b"", old.root, new.root)
    yield from _shown(Pair(b".", old.root, new.root))
    stack = [(b"", _inside(old, new, pair))]
    while stack:
        folder, pairs = stack[-1]
        found = next(pairs, None)
        if found is None:
            stack.pop()
            continue
        before, after = found
        if before == after:
            continue
        name = before.name if before is not None else after.name if after is not None else b""
        pair = Pair(folder + b"/" + name if folder else name, before, after)
        yield from _shown(pair)
        if _tree(before) != _tree(after) and enters(pair.path):
            stack.append((pair.path, _inside(old, new, pair)))


def side_by_side(old: Iterator[Entry], new: Iterator[Entry]) -> Iterator[tuple[Entry | None, Entry | None]]:
    """The entries of two folders, both in the order of names, matched by name."""
    before, after = next(old, None), next(new, None)
    while before is not None or after is not None:
        if after is None or (before is not None and before.name < after.name):
            yield before, None
            before = next(old, None)
        elif before is None or after.name < before.name:
            yield None, after
            after = next(new, None)
        else:
            yield before, after
            before, after = next(old, None), next(new, None)


def _inside(old: ArchiveTree, new: ArchiveTree, pair: Pair) -> Iterator[tuple[Entry | None, Entry | None]]:
    shared = _segments(_tree(pair.old)) & _segments(_tree(pair.new))
    return side_by_side(
        old.folder(pair.old, shared) if pair.old is not None and pair.old.is_dir else iter(()),
        new.folder(pair.new, shared) if pair.new is not None and pair.new.is_dir else iter(()),
    )


def _tree(entry: Entry | None) -> bytes:
    return entry.content if entry is not None and entry.is_dir else b""


def _segments(content: bytes) -> set[bytes]:
    return {content[at : at + ID_SIZE] for at in range(0, len(content), ID_SIZE)}


def _shown(pair: Pair) -> Iterator[Pair]:
    old = None if pair.old is not None and pair.old.implied else pair.old
    new = None if pair.new is not None and pair.new.implied else pair.new
    if old != new:
        yield Pair(pair.path, old, new)
