"""Verify a Borg repository, and change nothing: `borg check` without its repairs."""

import os
from collections.abc import Iterator

from strongroom.archive.entries import HOLE
from strongroom.archive.reading import ArchiveTree
from strongroom.borg.repository import BorgRepository
from strongroom.commands.check import CheckOptions
from strongroom.commands.listing import ArchiveFilter, list_archives
from strongroom.commands.results import CheckResult, Part, Problem
from strongroom.errors import Cancelled, CommandError, Damaged, VersionUnknown
from strongroom.ids import ArchiveId
from strongroom.reporting import Progress, Reporter

_LOOK_EVERY = 1000  # objects


def check_borg(repository: BorgRepository, options: CheckOptions, reporter: Reporter) -> CheckResult:
    """Every entry's checksum, every file's chunks; with `verify_data` every object is opened.

    All problems are reported instead of the first. Raises `CommandError`, `Cancelled`, the store's errors.
    """
    if options.max_duration is not None:
        raise CommandError("--max-duration is for repositories of strongroom, not for Borg's.")
    check = _Check(repository, options, reporter)
    if not options.archives_only:
        check.stored()
    if options.verify_data:
        check.opened()
    if not options.repository_only:
        check.archives()
    return check.result


class _Check:
    def __init__(self, repository: BorgRepository, options: CheckOptions, reporter: Reporter) -> None:
        self._repository = repository
        self._options = options
        self._reporter = reporter
        self._bad: set[bytes] = set()  # chunks that are there, and damaged
        self.result = CheckResult()

    def _problem(self, where: str, what: object, part: Part, one: bytes = b"") -> None:
        self.result.problems.append(Problem(where, str(what), part, one))

    def _look(self, name: str, progress: Progress) -> None:
        if self._reporter.stop.requested:
            raise Cancelled("Stopped as asked. Nothing was changed.")
        self._reporter.progress(name, progress)

    def stored(self) -> None:
        """The checksums of all that is stored."""
        self._reporter.info("Checking the objects as they are stored.")
        progress = Progress()
        for number, problem in enumerate(self._repository.verify_stored(), start=1):
            if problem:
                self._problem("objects", problem, Part.PACK)
            progress.original = number
            if number % _LOOK_EVERY == 0:
                self._look("check.packs", progress)
        self._reporter.progress("check.packs", progress, finished=True)

    def opened(self) -> None:
        """The authentication and the id of every object."""
        self._reporter.info("Opening all objects.")
        progress = Progress(total=self._repository.index.count())
        for number, (chunk, problem) in enumerate(self._repository.verify_opened(), start=1):
            self.result.chunks += 1
            if problem:
                self._bad.add(chunk)
                self._problem(f"object {chunk.hex()}", problem, Part.PACK, chunk)
            progress.original = number
            if number % _LOOK_EVERY == 0:
                self._look("check.packs", progress)
        self._reporter.progress("check.packs", progress, finished=True)

    def archives(self) -> None:
        """That every archive can be read, and the chunks of each file are there."""
        self._reporter.info("Checking archives.")
        chosen = self._chosen()
        progress = Progress(total=len(chosen))
        for number, archive in enumerate(chosen, start=1):
            self.result.archives += 1
            try:
                self._archive(archive)
            except (Damaged, VersionUnknown) as error:
                self._problem(f"archive {self._repository.name_of(archive)}", error, Part.ARCHIVE, archive)
            progress.original = number
            self._look("check.archives", progress)
        self._reporter.progress("check.archives", progress, finished=True)

    def _chosen(self) -> list[ArchiveId]:
        repository = self._repository
        if self._options.archive is not None:
            return [repository.archive_by_name(self._options.archive).id]
        if self._options.archives == ArchiveFilter():
            return list(repository.state.archives)
        return [info.id for info in list_archives(repository, self._options.archives)]

    def _archive(self, archive: ArchiveId) -> None:
        tree = ArchiveTree(self._repository.chunk_reader(), self._repository.archive_meta(archive))
        name = self._repository.name_of(archive)
        for path, lost in self._lost(tree):
            what = (
                f"{lost} of its chunks are missing or damaged"
                if lost > 1
                else "a chunk is missing or damaged"
            )
            self._problem(f"{name}: {os.fsdecode(path)}", what, Part.FILE, archive)

    def _lost(self, tree: ArchiveTree) -> Iterator[tuple[bytes, int]]:
        for path, entry in tree.walk():
            if entry.is_regular:
                lost = sum(
                    chunk != HOLE and (chunk in self._bad or not self._repository.holds(chunk))
                    for chunk, _ in entry.chunks()
                )
                if lost:
                    yield path, lost
