"""A restore for practice: some of the files, or all, into a place of their own, and read back."""

import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from strongroom.archive.browsing import stored_size
from strongroom.archive.changes import Concerns
from strongroom.archive.entries import Entry
from strongroom.archive.options import Attributes, RestoreOptions
from strongroom.archive.patterns import Decision, PatternMatcher
from strongroom.archive.reading import ArchiveTree
from strongroom.commands.compare import CompareOptions, compare_archive
from strongroom.commands.diff import Difference
from strongroom.commands.estimating import LARGE, Part, estimate
from strongroom.commands.extract import extract_archive
from strongroom.commands.listing import ArchiveFilter, list_archives
from strongroom.commands.results import ArchiveInfo
from strongroom.errors import ArchiveMissing, CommandError
from strongroom.reporting import Notice, Reporter
from strongroom.repository.repository import Repository

_RUN = 50  # files that are neighbours: restored one here and one there, each would cost a bundle
_SPARE = 64 * 1024 * 1024  # bytes that stay free where a drill restores to


class DrillOptions(msgspec.Struct, frozen=True):
    archive: str | None = None  # this one; else those that `archives` names
    archives: ArchiveFilter = msgspec.field(default_factory=ArchiveFilter)
    count: int = 3  # archives: the newest, the oldest, and others at random
    files: int = 1000  # of each archive, at the most
    size: int = 10**9  # bytes of each archive, at the most
    full: bool = False  # everything, of one archive unless more are named
    folder: Path | None = None  # where to restore to; None: the system's folder for such
    seed: int | None = None  # the same choice again


class Drilled(msgspec.Struct):
    """What became of one archive."""

    archive: ArchiveInfo
    files: int  # restored: all but folders
    size: int  # bytes of them
    all_files: int
    all_size: int
    seconds: float  # that the restore took
    estimate: tuple[float, float] | None  # seconds of a whole restore, at the least and at the most
    differences: list[Difference]  # between archive and what was restored
    unreadable: dict[bytes, str]  # folders of which nobody knows what they hold, and why


def drill_repository(repository: Repository, options: DrillOptions, reporter: Reporter) -> Iterator[Drilled]:
    """Restore from one archive after the other; nothing of it stays behind.

    What cannot be restored is a warning, and a difference. Raises `ArchiveMissing` if there is nothing to
    restore, `CommandError` where the place is too small, and what `extract_archive` raises.
    """
    chance = random.Random(options.seed)  # noqa: S311  # nothing secret
    for archive in _chosen(repository, options, chance):
        yield _drill(repository, archive, options, chance, reporter)


def _chosen(repository: Repository, options: DrillOptions, chance: random.Random) -> list[ArchiveInfo]:
    if options.archive is not None:
        wanted = repository.archive_by_name(options.archive).id
        return [one for one in list_archives(repository, ArchiveFilter()) if one.id == wanted]
    readable = [one for one in list_archives(repository, options.archives) if one.name is not None]
    if not readable:
        raise ArchiveMissing("There is no archive to restore from.")
    if options.archives != ArchiveFilter():
        return readable
    if options.full:
        return readable[-1:]
    ends = [readable[-1], readable[0]][: min(options.count, len(readable))]
    between = readable[1:-1]
    return ends + chance.sample(between, min(len(between), options.count - len(ends)))


def _drill(
    repository: Repository,
    archive: ArchiveInfo,
    options: DrillOptions,
    chance: random.Random,
    reporter: Reporter,
) -> Drilled:
    assert archive.name is not None
    meta = repository.archive_meta(archive.id)
    repository.load_index()
    sample = _Sample(options, chance)
    unreadable: dict[bytes, str] = {}
    tree = ArchiveTree(repository.chunk_reader(), meta)
    for path, entry in tree.walk(lost=lambda folder, why: unreadable.update({folder: str(why)})):
        if not entry.is_dir:
            sample.offer(path, entry)
    chosen = sample.chosen()
    files, size = len(chosen), sum(one.size for one in chosen)
    matcher: PatternMatcher = _Exactly(chosen)
    if options.full:
        files, size, matcher = sample.all_files, sample.all_size, PatternMatcher()
    reporter.info(f"Restoring {files} of {sample.all_files} files of {archive.name}.")
    with tempfile.TemporaryDirectory(prefix="strongroom-drill-", dir=options.folder) as place:
        _check_room(place, size)
        as_root = os.geteuid() == 0
        # An immutable file could not be removed again.
        attributes = Attributes(flags=False, owners=as_root, acls=as_root, xattrs=as_root)
        restore = _Restore(
            repository, archive.name, RestoreOptions(attributes=attributes), place, _Once(reporter)
        )
        if options.full:
            seconds = restore(matcher)
            told: tuple[float, float] | None = (seconds, seconds)
        else:
            start = restore.for_practice(chosen)
            for large, part in enumerate(sample.parts):
                if alike := [one for one in chosen if one.is_large == large]:
                    part.files, part.size = len(alike), sum(one.data for one in alike)
                    part.seconds = restore(_Exactly(alike))
            seconds = sum(part.seconds for part in sample.parts)
            told = estimate(*sample.parts, start)
        compared = CompareOptions(
            Concerns(metadata=as_root, ctime=False), content=True, attributes=attributes
        )
        found = compare_archive(repository, archive.name, os.fsencode(place), matcher, compared, reporter)
        differences = list(found)
    return Drilled(
        archive, files, size, sample.all_files, sample.all_size, seconds, told, differences, unreadable
    )


def _check_room(place: str, size: int) -> None:
    free = shutil.disk_usage(place).free
    if size + _SPARE > free:
        raise CommandError(
            f"{place} has {free} bytes free, the drill restores {size}: name a larger place with --to, "
            "or restore less with --size."
        )


class _Restore(NamedTuple):
    """Restores and says how many seconds it took."""

    repository: Repository
    archive: str
    options: RestoreOptions
    place: str
    reporter: "Reporter"

    def __call__(self, matcher: PatternMatcher) -> float:
        began = time.monotonic()
        extract_archive(self.repository, self.archive, matcher, self.options, Path(self.place), self.reporter)
        return time.monotonic() - began

    def for_practice(self, files: "list[_File]") -> float:
        """The smallest one is read, and not written: what is left is what every restore costs."""
        reading = self._replace(options=msgspec.structs.replace(self.options, dry_run=True))
        return reading(_Exactly(sorted(files, key=lambda one: one.data)[:1]))


class _Once:
    """Passes on to a reporter what it was not told yet: each step of a drill may meet the same damage."""

    wants_files = False

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._told: set[Notice] = set()
        self.stop = reporter.stop
        self.file, self.info, self.outcome = reporter.file, reporter.info, reporter.outcome
        self.progress = reporter.progress

    def warn(self, notice: Notice) -> None:
        if notice not in self._told:
            self._told.add(notice)
            self._reporter.warn(notice)


class _File(NamedTuple):
    path: bytes
    size: int
    data: int  # bytes that are not in holes

    @property
    def is_large(self) -> bool:
        return self.data >= LARGE


class _Sample:
    """Runs of neighbouring files, each with the same chance: Vitter's Algorithm R (ACM TOMS, 1985)."""

    def __init__(self, options: DrillOptions, chance: random.Random) -> None:
        self._slots = 0 if options.full else max(1, options.files // _RUN)
        self._run = min(_RUN, options.files)
        self._most = options.size
        self._chance = chance
        self._seen = 0
        self._kept: list[list[_File]] = []
        self._current: list[_File] = []
        self.parts = Part(), Part()  # the small ones and the large ones, what there is of them
        self.all_files = 0
        self.all_size = 0

    def offer(self, path: bytes, entry: Entry) -> None:
        size, data = (entry.size, stored_size(entry)) if entry.is_regular else (0, 0)
        one = _File(path, size, data)
        self.all_files += 1
        self.all_size += size
        part = self.parts[one.is_large]
        part.all_files += 1
        part.all_size += data
        if self._slots:
            self._current.append(one)
            if len(self._current) == self._run:
                self._close_run()

    def _close_run(self) -> None:
        self._seen += 1
        if len(self._kept) < self._slots:
            self._kept.append(self._current)
        else:
            at = self._chance.randrange(self._seen)
            if at < self._slots:
                self._kept[at] = self._current
        self._current = []

    def chosen(self) -> list[_File]:
        """As many as the bytes allow. Ends the sample."""
        if self._current:
            self._close_run()
        left = self._most
        chosen = []
        for run in self._kept:
            for one in run:
                if one.size <= left:
                    chosen.append(one)
                    left -= one.size
        return chosen


class _Exactly(PatternMatcher):
    """These paths and no others: patterns would be asked one by one."""

    def __init__(self, files: Iterable[_File]) -> None:
        super().__init__()
        self.is_trivial = False
        self._paths = paths = frozenset(one.path for one in files)
        self._above = {path[:at] for path in paths for at, char in enumerate(path) if char == ord("/")}

    def match(self, path: bytes | str) -> bool:
        return os.fsencode(path) in self._paths

    def decide(self, path: bytes | str) -> Decision:
        return Decision(include=self.match(path), recurse=True)

    def may_match_below(self, folder: bytes) -> bool:
        return not folder or folder in self._above
