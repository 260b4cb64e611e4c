"""Create an archive: walk, store, commit."""

import contextlib
import os
import socket
import time
from dataclasses import dataclass

from strongroom.archive import chunking, trees
from strongroom.archive.build import TreeBuilder
from strongroom.archive.capture import Capturer
from strongroom.archive.chunking import ChunkedReader
from strongroom.archive.folder_cache import FolderCache
from strongroom.archive.options import ArchiveOptions, ScanOptions
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.pipeline import Pipeline
from strongroom.archive.platform.owners import Owners
from strongroom.archive.sources import SourceNode, Sources, plant, plant_stream
from strongroom.archive.streams import listed_paths
from strongroom.archive.walk import Walker
from strongroom.commands.infos import archive_info
from strongroom.commands.results import ArchiveInfo
from strongroom.crypto import hashing
from strongroom.errors import ArchiveExists, ArchiveMissing, Cancelled
from strongroom.ids import ArchiveId, IndexId, NameTag, PackId, RefsId
from strongroom.reporting import Progress, Reporter
from strongroom.repository import archives, packs, refs
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.compression import Compression
from strongroom.repository.log import ArchiveBody, LogState
from strongroom.repository.packs import IndexedPack
from strongroom.repository.refs import RefsWriter
from strongroom.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class CreateResult:
    info: ArchiveInfo


def create_archive(
    repository: Repository,
    archive: ArchiveOptions,
    sources: Sources,
    matcher: PatternMatcher,
    compression: Compression,
    options: ScanOptions,
    reporter: Reporter,
) -> CreateResult:
    """Raises `ArchiveExists`, `Cancelled`, `CommandError`, and the store's errors.

    Whatever ends the run early, the packs that it has stored are taken up by the next one.
    """
    secrets = repository.require_key()
    start = time.time_ns()
    tag = hashing.name_tag(secrets.id_key, archive.name)
    refuse_taken_name(repository.state, tag, archive.name)
    repository.load_index()
    adopted = repository.adopt_pending()
    if adopted:
        reporter.info(f"Taking up {adopted} bytes that an interrupted run has stored.")
    progress = Progress()
    with repository.writing("create"), Pipeline(repository, compression) as pipeline:
        folders = FolderCache(repository.cache, secrets.id_key)
        refs_store = RefsStore(repository, pipeline)
        refs_writer = RefsWriter(refs_store.put)

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
        walker = Walker(builder, matcher, options, never_entered(repository), reporter)
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
    tables, indexes = publish_indexes(repository)
    meta = ArchiveMeta(
        name=archive.name,
        start=int(archive.timestamp.timestamp() * 1e9) if archive.timestamp else start,
        end=time.time_ns(),
        root=trees.encode_root(root),
        hostname=socket.gethostname(),
        username=Owners().user(os.geteuid()) or str(os.geteuid()),
        comment=archive.comment,
        command_line=archive.command_line,
        cwd=os.getcwd(),
        files=progress.files,
        original=progress.original,
        deduplicated=pipeline.written.stored,
        chunker=[chunking.MINIMUM, chunking.AVERAGE, chunking.MAXIMUM],
    )
    body = commit_archive(
        repository, meta, tag, root_refs, refs_writer.count, tables, indexes, pipeline.written.chunks
    )
    return CreateResult(archive_info(repository, repository.state.archives[ArchiveId(body.archive)], meta))


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


def _is_living(state: LogState, archive: ArchiveId) -> bool:
    known = state.archives.get(archive)
    return known is not None and known.deleted is None


def refuse_taken_name(state: LogState, tag: NameTag, name: str) -> None:
    if state.by_tag(tag) is not None:
        raise ArchiveExists(f"Archive {name} already exists. Choose another name.")


class RefsStore:
    """Stores refs blocks, those that are known to be there excepted."""

    def __init__(self, repository: Repository, pipeline: Pipeline) -> None:
        self._repository = repository
        self._pipeline = pipeline
        self.stored: list[RefsId] = []

    def put(self, block: RefsId, blob: bytes) -> None:
        if not self._repository.knows_refs(block):
            self._pipeline.put(refs.name(block), blob)
            self.stored.append(block)


def publish_indexes(repository: Repository) -> tuple[list[IndexedPack], list[IndexId]]:
    """Store index objects for all packs that no record names yet."""
    tables = [one for one in repository.index.pending() if one.pack not in repository.state.packs]
    return tables, [_put_index(repository, group) for group in packs.index_groups(tables)]


def _put_index(repository: Repository, group: list[IndexedPack]) -> IndexId:
    index, blob = packs.encode_index(group)
    repository.put_if_new(packs.index_name(index), blob)
    return index


def commit_archive(
    repository: Repository,
    meta: ArchiveMeta,
    tag: NameTag,
    root_refs: RefsId,
    uses: int,
    tables: list[IndexedPack],
    indexes: list[IndexId],
    new_chunks: int,
    replaces: ArchiveId | None = None,
) -> ArchiveBody:
    """Store the archive object and append its record; `replaces` is deleted by the same record.

    Raises `ArchiveExists`, `ArchiveMissing` if the replaced one is gone, and the store's errors.
    """
    archive, blob = archives.encode(meta, root_refs, repository.session_writer())
    repository.put_if_new(archives.name(archive), blob)
    made: list[ArchiveBody] = []

    def body(state: LogState) -> ArchiveBody:
        if replaces is not None and not _is_living(state, replaces):
            raise ArchiveMissing(f"Archive {meta.name} was deleted meanwhile. Nothing was changed.")
        if state.names.get(tag) != replaces or replaces is None:
            refuse_taken_name(state, tag, meta.name)
        fresh = [table for table in tables if table.pack not in state.packs]
        made.append(
            ArchiveBody(
                archive,
                tag,
                b"".join(table.pack for table in fresh),
                b"".join(indexes) if fresh else b"",
                sum(table.size for table in fresh),
                new_chunks,
                uses,
                replaces,
            )
        )
        return made[-1]

    repository.commit("archive" if replaces is None else "recreate", body)
    repository.index.settle([PackId(table.pack) for table in tables], indexes)
    return made[-1]
