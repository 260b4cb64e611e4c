"""What `create` would back up: the same walk, without a repository."""

import os
import stat

from strongroom.archive.build import implied_entry
from strongroom.archive.entries import Entry
from strongroom.archive.options import ScanOptions, StreamFile
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.sources import Sources
from strongroom.archive.walk import Frame, Walker, join
from strongroom.commands.create import inodes_of, plan_sources
from strongroom.reporting import Reporter


def preview_archive(
    sources: Sources, matcher: PatternMatcher, options: ScanOptions, mine: list[str], reporter: Reporter
) -> None:
    """Tells the reporter each path with Borg's `-`; `mine` are paths that are never backed up.

    Raises `CommandError` when a command that lists paths fails.
    """
    Walker(_Preview(reporter), matcher, options, inodes_of(mine), reporter).walk(plan_sources(sources))


class _Preview:
    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def leave(self, frame: Frame) -> bytes | None:
        for name, status in frame.files:
            if not stat.S_ISSOCK(status.st_mode):
                self._reporter.file("-", join(frame.path, name))
        return b""

    def single(self, name: bytes, path: bytes, status: os.stat_result) -> Entry | None:
        self._reporter.file("-", path)
        return implied_entry(name, b"")

    def stream(self, name: bytes, stream: StreamFile) -> Entry | None:
        self._reporter.file("-", os.fsencode(stream.name))
        return implied_entry(name, b"")
