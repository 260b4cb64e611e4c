"""An archive's tree once more, without what is to go: unchanged folders keep their very chunks."""

import stat
from collections.abc import Iterator

import msgspec

from strongroom.archive import trees
from strongroom.archive.build import implied_entry
from strongroom.archive.entries import HOLE, Entry, without_holes
from strongroom.archive.frames import join
from strongroom.archive.options import ScanOptions
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.reading import ArchiveTree
from strongroom.archive.tags import CACHE_SIGNATURE, CACHE_TAG
from strongroom.errors import Cancelled
from strongroom.reporting import Progress, Reporter
from strongroom.repository.reading import ChunkReader

_LETTERS = {
    stat.S_IFREG: "A",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "s",
    stat.S_IFIFO: "f",
    stat.S_IFBLK: "b",
    stat.S_IFCHR: "c",
}


class Sink:
    """What becomes of the tree: nothing, in a dry run."""

    def tree(self, segments: Iterator[bytes]) -> bytes:
        """Store a folder's new segments; returns their ids, joined."""
        for _ in segments:
            pass
        return b""

    def uses(self, joined: bytes) -> None:
        """These chunks are used, in the order of the walk."""


class _Frame(msgspec.Struct):
    path: bytes
    entry: Entry
    wanted: bool  # the folder itself, whatever becomes of what is in it
    children: Iterator[Entry]
    kept: list[Entry] = []
    changed: bool = False


class TreeRewriter:
    """Once through one archive. `changed` tells afterwards whether anything was left out."""

    def __init__(
        self,
        tree: ArchiveTree,
        chunks: ChunkReader,
        matcher: PatternMatcher,
        options: ScanOptions,
        sink: Sink,
        reporter: Reporter,
        progress: Progress,
        *,
        dry_run: bool,
    ) -> None:
        self._tree = tree
        self._chunks = chunks
        self._matcher = matcher
        self._options = options
        self._tagged = bool(options.exclude_caches or options.exclude_if_present)
        self._sink = sink
        self._reporter = reporter
        self._progress = progress
        self._dry_run = dry_run
        self._inodes: set[bytes] = set()
        self.changed = False

    def run(self) -> Entry:
        """The new root entry. Raises `Cancelled`, `Damaged`, and the store's errors."""
        root = self._tree.root
        wanted = not root.implied and self._wants(b".", root)
        stack = [self._enter(b"", root, wanted=wanted)]
        while True:
            frame = stack[-1]
            child = next(frame.children, None)
            if child is None:
                stack.pop()
                done = self._leave(frame)
                if not stack:
                    new = done if done is not None else implied_entry(b"", b"")
                    self.changed = new != root
                    return new
                parent = stack[-1]
                parent.changed = parent.changed or done != frame.entry
                if done is not None:
                    parent.kept.append(done)
                continue
            path = join(frame.path, child.name)
            if child.is_dir:
                wanted = not child.implied and self._wants(path, child)
                stack.append(self._enter(path, child, wanted=wanted))
            elif self._wants(path, child):
                self._count(child)
                frame.kept.append(child)
            else:
                frame.changed = True

    def _wants(self, path: bytes, entry: Entry) -> bool:
        if self._reporter.stop.requested:
            raise Cancelled("Stopped as asked. The archive is as it was.")
        wanted = self._matcher.match(path)
        if self._reporter.wants_files:
            letter = "-" if self._dry_run else _LETTERS[stat.S_IFMT(entry.mode)]
            self._reporter.file(letter if wanted else "x", path)
        return wanted

    def _enter(self, path: bytes, entry: Entry, *, wanted: bool) -> _Frame:
        self._progress.path = path
        self._reporter.progress("recreate", self._progress)
        children = self._tree.folder(entry)
        if not self._tagged:
            return _Frame(path, entry, wanted, children)
        inside = list(children)
        tags = [child for child in inside if self._is_tag(child)]
        if not tags:
            return _Frame(path, entry, wanted, iter(inside))
        left = tags if self._options.keep_exclude_tags else []
        if not left and self._reporter.wants_files:
            self._reporter.file("x", path)
        return _Frame(path, entry, wanted and bool(left), iter(left), changed=len(left) < len(inside))

    def _is_tag(self, child: Entry) -> bool:
        if child.name in self._options.exclude_if_present:
            return True
        if not (self._options.exclude_caches and child.name == CACHE_TAG and child.is_regular):
            return False
        for chunk, _ in child.chunks()[:1]:
            return (
                chunk != HOLE and bytes(self._chunks.read(chunk)[: len(CACHE_SIGNATURE)]) == CACHE_SIGNATURE
            )
        return False

    def _count(self, entry: Entry) -> None:
        if entry.is_regular:
            self._progress.files += 1
            if entry.link is None or entry.link not in self._inodes:
                self._progress.original += entry.size
            if entry.link is not None:
                self._inodes.add(entry.link)

    def _leave(self, frame: _Frame) -> Entry | None:
        """None where nothing of the folder is left."""
        if not frame.wanted and not frame.kept and (frame.changed or not frame.entry.implied):
            return None
        content = b"".join([one.content for one in frame.kept if one.is_regular and one.content])
        if any(one.sizes is not None for one in frame.kept):
            content = without_holes(content)
        tree = self._sink.tree(trees.encode_tree(frame.kept)) if frame.changed else frame.entry.content
        self._sink.uses(content)
        self._sink.uses(tree)
        if not frame.wanted and not frame.entry.implied:
            return implied_entry(frame.entry.name, tree)
        return msgspec.structs.replace(frame.entry, content=tree) if frame.changed else frame.entry
