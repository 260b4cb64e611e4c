"""The walk of the scout: it enters the folders that a backup would, and stores nothing."""

import os
import time
from collections.abc import Callable
from typing import cast

from strongroom.archive.entries import Entry
from strongroom.archive.frames import LONG_PATH, Frame, Subfolder
from strongroom.archive.looks import Looker
from strongroom.archive.options import ScanOptions, StreamFile
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.scouting import Report, Status
from strongroom.archive.walk import Walker
from strongroom.reporting import Notice, SilentReporter


class Explorer(Walker):
    """Tells of each folder as it enters it; of those where anything went wrong it does not."""

    def __init__(self, tell: Callable[[Report], None], matcher: PatternMatcher, options: ScanOptions) -> None:
        super().__init__(_Nothing(), matcher, options, set(), _Quiet())
        self._tell = tell
        self._looker = Looker(options)

    def _enter(self, place: Subfolder, depth: int) -> Frame:
        frame = super()._enter(place, depth)
        if frame.listed and not frame.has_sources and len(place.path) <= LONG_PATH:
            looks = self._looker.look(frame.files, frame.entered)
            folders = [(one.name, one.scan, _parts(one.status)) for one in frame.entered]
            if frame.complete:
                self._tell(Report(place.path, depth, time.monotonic(), looks, folders))
        frame.files = []
        return frame


def _parts(status: os.stat_result | None) -> Status | None:
    return None if status is None else cast("Status", status.__reduce__()[1])


class _Nothing:
    def leave(self, frame: Frame) -> bytes | None:
        return b""

    def single(self, name: bytes, path: bytes, status: object) -> Entry | None:
        return None

    def stream(self, name: bytes, stream: StreamFile) -> Entry | None:
        return None

    def is_familiar(self, frame: Frame) -> bool:
        return False


class _Quiet(SilentReporter):
    def warn(self, notice: Notice) -> None: ...
