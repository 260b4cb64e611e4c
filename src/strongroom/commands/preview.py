"""What a backup would take: the same walk, nothing read, nothing stored, no repository opened."""

import os
from collections.abc import Iterable

from strongroom.archive.entries import Entry
from strongroom.archive.options import ScanOptions, StreamFile
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.sources import Sources
from strongroom.archive.walk import Child, Frame, Walker, join
from strongroom.commands.create import plan_sources
from strongroom.reporting import Notice, Progress, Reporter


def preview_archive(
    sources: Sources,
    matcher: PatternMatcher,
    options: ScanOptions,
    never_enter: Iterable[str],
    reporter: Reporter,
) -> Progress:
    """Reports `-` for what would be backed up and `x` for what is excluded; returns the counts.

    `never_enter` are the folders that a backup leaves out by itself: cache and repository.
    Raises `Cancelled`, `CommandError`, and OSError for a source that cannot be read.
    """
    skip = set()
    for path in never_enter:
        try:
            status = os.stat(path)
        except OSError:
            continue  # what is not there needs no skipping
        skip.add((status.st_dev, status.st_ino))
    visitor = _Preview(reporter)
    Walker(visitor, matcher, options, skip, _DryReporter(reporter)).walk(plan_sources(sources))
    reporter.progress("create", visitor.progress, finished=True)
    return visitor.progress


class _DryReporter:
    """Passes everything on; a folder's letter becomes that of the dry run."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.wants_files = reporter.wants_files
        self.stop = reporter.stop

    def file(self, status: str, path: bytes) -> None:
        self._reporter.file("-" if status == "d" else status, path)

    def warn(self, notice: Notice) -> None:
        self._reporter.warn(notice)

    def info(self, text: str) -> None:
        self._reporter.info(text)

    def progress(self, operation: str, state: Progress, finished: bool = False) -> None:
        self._reporter.progress(operation, state, finished)


class _Preview:
    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.progress = Progress()

    def leave(self, frame: Frame) -> bytes | None:
        for child in frame.files:
            self._count(join(frame.path, child.name), child)
        self._reporter.progress("create", self.progress)
        return b""

    def single(self, name: bytes, path: bytes, status: os.stat_result) -> Entry | None:
        self._count(path, Child(name, status))
        return None

    def stream(self, name: bytes, stream: StreamFile) -> Entry | None:
        self._reporter.file("-", os.fsencode(stream.name))
        return None

    def _count(self, path: bytes, child: Child) -> None:
        self.progress.files += 1
        self.progress.original += child.status.st_size
        self.progress.path = path
        if self._reporter.wants_files:
            self._reporter.file("-", path)
