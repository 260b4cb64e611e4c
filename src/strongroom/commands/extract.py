"""Restore an archive's files."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from strongroom.archive.changes import Concerns
from strongroom.archive.direct import DirectWriter
from strongroom.archive.options import RestoreOptions
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.platform.owners import Owners
from strongroom.archive.reading import ArchiveTree
from strongroom.archive.restore import Restorer
from strongroom.archive.resuming import Inspector
from strongroom.archive.unpack import Unpacker
from strongroom.commands.diff import Difference
from strongroom.commands.listing import tell_unmatched
from strongroom.reporting import Progress, Reporter
from strongroom.repository.repository import Repository, cpu_threads

if TYPE_CHECKING:
    from strongroom.archive.crew import Crew


class ExtractResult(msgspec.Struct, frozen=True):
    files: int
    original: int  # bytes of content


def extract_archive(
    repository: Repository,
    name: str,
    matcher: PatternMatcher,
    options: RestoreOptions,
    destination: Path,
    reporter: Reporter,
) -> ExtractResult:
    """Restore into `destination`. What cannot be restored is a warning, and the rest goes on.

    Raises `ArchiveMissing`, `Cancelled`, `StoreFull`, `RoleInsufficient`, and the store's errors.
    """
    meta = repository.archive_meta(repository.archive_by_name(name).id)
    repository.load_index()
    tree = ArchiveTree(repository.chunk_reader(), meta)
    whole = matcher.is_trivial and not options.strip_components
    progress = Progress(total=meta.original if whole else None)
    resume = options.resume and not options.dry_run
    inspector = Inspector(repository.chunk_hasher(), Owners()) if resume else None
    restorer = Restorer(tree, repository.index, matcher, options, reporter, progress, inspector)
    # What finds holes among the zeros, or writes nothing at all, has no use for it.
    plain = not (options.sparse or options.dry_run)

    def hire() -> "Crew | None":
        from strongroom.archive.crew import Crew

        reader = repository.forked_reader()
        if reader is None or options.dry_run or cpu_threads() == 1:  # one core is better used by one process
            return None
        return Crew(reader, options, cpu_threads(), restorer.fell_short, reporter.info)

    with (
        DirectWriter() if plain else contextlib.nullcontext() as direct,
        Unpacker(
            repository.bundle_reader(),
            repository.chunk_reader(),
            cpu_threads(),
            restorer.write,
            restorer.finish,
            progress,
            direct,
            hire,
        ) as unpacker,
    ):
        restorer.run(os.fspath(destination), unpacker)
    reporter.progress("extract", progress, finished=True)
    tell_unmatched(matcher, reporter)
    return ExtractResult(progress.files, progress.original)


def verify_extracted(
    repository: Repository,
    name: str,
    matcher: PatternMatcher,
    options: RestoreOptions,
    destination: Path,
    reporter: Reporter,
) -> Iterator[Difference]:
    """Read back what was extracted; what is not as in the archive. What else lies there does not count.

    Raises what `compare_archive` raises.
    """
    from strongroom.commands.compare import CompareOptions, compare_archive

    compared = CompareOptions(
        Concerns(numeric_ids=options.attributes.numeric_ids, ctime=False),
        content=True,
        attributes=options.attributes,
    )
    found = compare_archive(repository, name, os.fsencode(destination), matcher, compared, reporter)
    return (one for one in found if one.pair.old is not None)
