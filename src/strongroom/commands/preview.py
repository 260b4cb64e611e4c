"""What `create` would back up: the same walk, without a repository."""

import os
import stat

from strongroom.archive.build import implied_entry
from strongroom.archive.entries import Entry
from strongroom.archive.frames import Frame, join
from strongroom.archive.options import ScanOptions, StreamFile
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.platform.flags import is_nodump
from strongroom.archive.sources import Sources
from strongroom.archive.walk import Walker
from strongroom.commands.create import inodes_of, plan_sources
from strongroom.reporting import Reporter


def preview_archive(
    sources: Sources, matcher: PatternMatcher, options: ScanOptions, mine: list[str], reporter: Reporter
) -> None:
    """Tells the reporter each path with Borg's `-`; `mine` are paths that are never backed up.

    Raises `CommandError` when a command that lists paths fails.
    """
    visitor = _Preview(reporter, exclude_nodump=options.exclude_nodump)
    Walker(visitor, matcher, options, inodes_of(mine), reporter).walk(plan_sources(sources))


class _Preview:
    def __init__(self, reporter: Reporter, *, exclude_nodump: bool) -> None:
        self._reporter = reporter
        self._exclude_nodump = exclude_nodump

    def is_familiar(self, frame: Frame) -> bool:
        return False

    def leave(self, frame: Frame) -> bytes | None:
        flagged = self._flagged(frame) if self._exclude_nodump and frame.files else set()
        for name, status in frame.files:
            if not stat.S_ISSOCK(status.st_mode):
                self._reporter.file("x" if name in flagged else "-", join(frame.path, name))
        return b""

    def _flagged(self, frame: Frame) -> set[bytes]:
        """The files that are marked as not to be backed up; what cannot be asked is not."""
        try:
            folder = frame.open()
        except OSError:
            return set()
        try:
            return {name for name, status in frame.files if _is_flagged(folder, name, status)}
        finally:
            os.close(folder)

    def single(self, name: bytes, path: bytes, status: os.stat_result) -> Entry | None:
        flagged = self._exclude_nodump and _is_flagged(None, path, status)
        self._reporter.file("x" if flagged else "-", path)
        return implied_entry(name, b"")

    def stream(self, name: bytes, stream: StreamFile) -> Entry | None:
        self._reporter.file("-", os.fsencode(stream.name))
        return implied_entry(name, b"")


def _is_flagged(folder: int | None, name: bytes, status: os.stat_result) -> bool:
    if not stat.S_ISREG(status.st_mode):
        return False
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return False  # `create` itself will say so
    try:
        return is_nodump(fd, status.st_mode, status.st_dev)
    finally:
        os.close(fd)
