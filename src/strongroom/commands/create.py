"""Create an archive: walk, store, commit."""

import contextlib
import os
import time
from collections.abc import Callable

import msgspec

from strongroom.archive import chunking, trees
from strongroom.archive.build import TreeBuilder
from strongroom.archive.capture import Capturer
from strongroom.archive.chunking import ChunkedReader
from strongroom.archive.folder_cache import FolderCache
from strongroom.archive.options import ArchiveOptions, ScanOptions
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.pipeline import Pipeline, Written
from strongroom.archive.platform.owners import Owners
from strongroom.archive.scouting import Scout
from strongroom.archive.sources import SourceNode, Sources, plant, plant_stream
from strongroom.archive.streams import listed_paths
from strongroom.archive.walk import Walker
from strongroom.commands.committing import RefsStore, commit_archive, ground, refuse_taken_name
from strongroom.commands.infos import archive_info
from strongroom.commands.results import ArchiveInfo
from strongroom.crypto import hashing
from strongroom.errors import Cancelled, StrongroomError
from strongroom.ids import ArchiveId, RefsId
from strongroom.reporting import Progress, Reporter
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.compression import Compression
from strongroom.repository.repository import Repository


class CreateResult(msgspec.Struct, frozen=True):
    info: ArchiveInfo


def create_archive(
    repository: Repository,
    archive: ArchiveOptions,
    sources: Sources,
    matcher: PatternMatcher,
    compression: Compression,
    options: ScanOptions,
    reporter: Reporter,
    scout: Scout | None = None,
) -> CreateResult:
    """Raises `ArchiveExists`, `Cancelled`, `CommandError`, and the store's errors.

    Whatever ends the run early, the packs that it has stored are taken up by the next one.
    """

    def store() -> Stored:
        return _store_all(repository, sources, matcher, compression, options, reporter, scout)

    return make_archive(repository, archive, store, reporter, repeatable=sources.stream is None)


def make_archive(
    repository: Repository,
    archive: ArchiveOptions,
    store: Callable[[], "Stored"],
    reporter: Reporter,
    *,
    repeatable: bool,
) -> CreateResult:
    """An archive of what `store` stores; asked once more, if it is `repeatable`, should some of it be freed
    meanwhile.

    Raises `ArchiveExists`, what `store` raises, and the store's errors.
    """
    secrets = repository.require_key()
    start = time.time_ns()
    tag = hashing.name_tag(secrets.id_key, archive.name)
    refuse_taken_name(repository.state, tag, archive.name)
    repository.load_index()
    repository.history.check_may_append()  # before hours of work
    adopted = repository.adopt_pending()
    if adopted:
        reporter.info(f"Taking up {adopted} bytes that an interrupted run has stored.")
    while True:
        rests_on = ground(repository.state)
        repository.load_index()
        stored = store()
        dated = int(archive.timestamp.timestamp() * 1e9) if archive.timestamp else start
        meta = ArchiveMeta(
            name=archive.name,
            start=dated,
            end=dated + time.time_ns() - start,  # as long as it took, whatever date it bears
            root=stored.root,
            hostname=os.uname().nodename,
            username=Owners().user(os.geteuid()) or str(os.geteuid()),
            comment=archive.comment,
            command_line=archive.command_line,
            cwd=os.getcwd(),
            files=stored.progress.files,
            original=stored.progress.original,
            deduplicated=stored.written.stored,
            chunker=[chunking.MINIMUM, chunking.AVERAGE, chunking.MAXIMUM],
        )
        body = commit_archive(
            repository, meta, stored.refs, stored.uses, stored.written.chunks, rests_on=rests_on
        )
        if body is not None:
            state = repository.state.archives[ArchiveId(body.archive)]
            return CreateResult(archive_info(repository, state, meta))
        if not repeatable:
            raise StrongroomError(_ONCE)
        reporter.info(
            "Something that this archive uses was freed or distrusted meanwhile: it is stored anew."
        )


class Stored(msgspec.Struct, frozen=True):
    """What a walk has stored: the root folder's entry, and the chunks that it all uses."""

    root: bytes
    refs: RefsId
    uses: int
    progress: Progress
    written: Written


_ONCE = (
    "Something that this archive uses was freed or distrusted meanwhile, and what came by a pipe "
    "cannot be read again. Run the command once more."
)


def _store_all(
    repository: Repository,
    sources: Sources,
    matcher: PatternMatcher,
    compression: Compression,
    options: ScanOptions,
    reporter: Reporter,
    scout: Scout | None,
) -> Stored:
    secrets = repository.require_key()
    progress = Progress()
    held = None
    if sources.stream is not None:
        from strongroom.repository.holding import Held

        held = Held(repository.store, repository.state, repository.index)
    with repository.writing("create"), Pipeline(repository, compression, held=held) as pipeline:
        folders = FolderCache(repository.cache, secrets.id_key)
        refs_store = RefsStore(repository, pipeline, held)
        refs_writer = refs_store.writer()

        def read_bytes(count: int) -> None:
            if reporter.stop.requested:  # a single file may take hours
                raise Cancelled("Stopped as asked. What is stored already stays for the next run.")
            progress.original += count
            progress.new = pipeline.written.stored
            reporter.progress("create", progress)

        capturer = Capturer(
            ChunkedReader(pipeline, secrets.chunker_seed),
            options.attributes,
            Owners(),
            options.files_cache,
            hashing.path_tagger(secrets.id_key),
            pipeline.knows,
            read_bytes,
        )
        builder = TreeBuilder(pipeline, capturer, folders, refs_writer, options, reporter, progress)
        walker = Walker(builder, matcher, options, never_entered(repository), reporter, scout)
        try:
            top = walker.walk(plan_sources(sources))
            root = builder.root_entry(top)
            root_refs = refs_writer.finish()
            pipeline.finish()
            repository.remember_refs(refs_store.stored)
            folders.complete()
        except Exception:
            pipeline.salvage()
            raise
        finally:
            folders.close()
    reporter.progress("create", progress, finished=True)
    return Stored(trees.encode_root(root), root_refs, refs_writer.count, progress, pipeline.written)


def plan_sources(sources: Sources) -> SourceNode:
    """Raises `CommandError` when a command that lists paths fails."""
    if sources.listed is not None:
        return plant(list(listed_paths(sources.listed)), recurse=False)
    root = plant([path for path in sources.paths if path != b"-"])
    if sources.stream is not None and (sources.stream.command or b"-" in sources.paths):
        plant_stream(root, sources.stream)
    return root


def never_entered(repository: Repository) -> set[tuple[int, int]]:
    """The cache and a local repository: backing them up would never end."""
    return inodes_of([os.fspath(repository.cache.path), repository.store.describe()])


def inodes_of(paths: list[str]) -> set[tuple[int, int]]:
    """As (device, inode), of those that exist."""
    found = set()
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            found.add((status.st_dev, status.st_ino))
    return found
