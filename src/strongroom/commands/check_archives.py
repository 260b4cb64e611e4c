"""Check archives: that each can be read, and that all chunks that it uses are there."""

from collections.abc import Callable, Iterator

from strongroom.archive.entries import HOLE, Entry
from strongroom.archive.reading import ArchiveTree
from strongroom.commands.check_packs import LostPlaces
from strongroom.commands.results import CheckResult, Part, Problem
from strongroom.ids import ChunkId, RefsId
from strongroom.reporting import Reporter
from strongroom.repository import archives
from strongroom.repository.index_objects import UNREADABLE
from strongroom.repository.log import ArchiveState, split_ids
from strongroom.repository.refs import RefsCounter
from strongroom.repository.repository import Repository


class ArchiveCheck:
    """`opens`: with folders and files, which needs a key that opens; `lost` is what `PackCheck` found."""

    def __init__(
        self,
        repository: Repository,
        lost: LostPlaces,
        result: CheckResult,
        reporter: Reporter,
        *,
        opens: bool,
    ) -> None:
        self._repository = repository
        self._lost = lost
        self._result = result
        self._reporter = reporter
        self._opens = opens
        self._whole: set[bytes] = set()  # folders in which, and below which, nothing is wrong
        self._counter = RefsCounter(repository.refs_block, self._count_lost)

    def check(self, state: ArchiveState, place: str) -> None:
        """`place`, for the log: the how manieth it is, of how many.

        Raises `RoleInsufficient`, and the store's errors, but none for what is damaged.
        """
        name = archives.name(state.id)
        try:
            # from the store: the cache's copy would hide damage
            blob = self._repository.store.get(name)
            root, _, _ = archives.decode(blob, state.id)
            meta = None
            if self._opens:
                meta = archives.open_meta(blob, state.id, self._repository.session_reader())
        except UNREADABLE as error:
            self._problem(name, error, Part.ARCHIVE, state)
            return
        self._refs(root, state)
        if meta is not None:
            self._reporter.info(f"Analyzing archive {meta.name} ({place})")
            shown = f"{meta.name} ({name})"
            try:
                tree = ArchiveTree(self._repository.chunk_reader(), meta)
                self._walk(shown, tree, state)
            except UNREADABLE as error:
                self._problem(shown, error, Part.FILE, state)

    def _problem(self, shown: str, what: object, part: Part, state: ArchiveState) -> None:
        self._result.problems.append(Problem(shown, str(what), part, state.id))

    def _are_lost(self, chunks: list[bytes]) -> list[bool]:
        index = self._repository.index
        if self._lost.packs or self._lost.bundles:
            lost = [self._lost.has_all_of(ChunkId(one), index) for one in chunks]
        else:
            lost = index.lacks(chunks)
        if not any(lost):
            return lost
        return [is_lost and one != HOLE for one, is_lost in zip(chunks, lost, strict=True)]

    def _count_lost(self, ids: list[bytes]) -> int:
        return sum(self._are_lost(ids))

    def _refs(self, root: RefsId, state: ArchiveState) -> None:
        name = archives.name(state.id)
        try:
            uses, lost = self._counter.count(root)
        except UNREADABLE as error:
            self._problem(name, error, Part.REFS, state)
            return
        if lost:
            self._problem(name, f"{lost} of the {uses} chunks that it uses are lost.", Part.FILE, state)
        if uses != state.body.chunks:
            said = f"It lists {uses} chunks, its record says {state.body.chunks}."
            self._problem(name, said, Part.REFS, state)

    def _walk(self, shown: str, tree: ArchiveTree, state: ArchiveState) -> None:
        """Every folder that was not found whole before: that it opens, and its files' chunks are there."""
        stack = [_Visit(b"", tree.root, tree.folder(tree.root))]
        while stack:
            visit = stack[-1]
            try:
                entry = next(visit.entries, None)
            except UNREADABLE as error:
                self._problem(shown, f"{_text(visit.path)}: {error}", Part.FILE, state)
                visit.whole = False
                entry = None
            if entry is None:
                stack.pop()
                if visit.whole:
                    self._whole.add(visit.entry.content)
                elif stack:
                    stack[-1].whole = False
            elif entry.is_dir:
                if entry.content not in self._whole:
                    inner = visit.path + b"/" + entry.name
                    stack.append(_Visit(inner, entry, tree.folder(entry)))
            elif holes := _lost_ranges(entry, self._are_lost):
                path = _text(visit.path + b"/" + entry.name)
                ranges = ", ".join(f"{start} to {end - 1}" for start, end in holes)
                self._problem(shown, f"{path}: bytes {ranges} are lost.", Part.FILE, state)
                visit.whole = False


class _Visit:
    """A folder on the walk's stack."""

    __slots__ = ("entries", "entry", "path", "whole")

    def __init__(self, path: bytes, entry: Entry, entries: Iterator[Entry]) -> None:
        self.path = path
        self.entry = entry
        self.entries = entries
        self.whole = True


def _lost_ranges(entry: Entry, are_lost: Callable[[list[bytes]], list[bool]]) -> list[tuple[int, int]]:
    """The bytes of a file, as (start, end), whose chunks are lost; adjacent ones joined."""
    ids = split_ids(entry.content)
    lost = are_lost(ids)
    if not any(lost):
        return []
    ranges: list[tuple[int, int]] = []
    at = 0
    for (_, size), is_lost in zip(entry.chunks(), lost, strict=True):
        if is_lost:
            if ranges and ranges[-1][1] == at:
                ranges[-1] = ranges[-1][0], at + size
            else:
                ranges.append((at, at + size))
        at += size
    return ranges


def _text(path: bytes) -> str:
    return path.lstrip(b"/").decode("utf-8", "backslashreplace") or "."
