"""Make an archive anew: without some of its files, with another comment or time.

The new archive and the deletion of the old one, or the replacement of its data, are one record: whatever
interrupts the run, one of the two is there. The old one stays in the repository like any deleted archive,
until `compact` frees it.
"""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from strongroom.archive import trees
from strongroom.archive.entries import Entry
from strongroom.archive.options import ScanOptions
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.pipeline import Pipeline, Written
from strongroom.archive.reading import ArchiveTree
from strongroom.archive.rewrite import Sink, TreeRewriter
from strongroom.commands.committing import RefsStore, commit_archive, ground, refuse_taken_name
from strongroom.commands.infos import archive_info
from strongroom.commands.recompress import Recompression, Recompressor
from strongroom.commands.results import ArchiveInfo
from strongroom.crypto import hashing
from strongroom.crypto.sealing import TREE
from strongroom.errors import StrongroomError
from strongroom.ids import ArchiveId, RefsId
from strongroom.reporting import Progress, Reporter
from strongroom.repository import archives
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.compression import Compression
from strongroom.repository.log import ArchiveState, Kind
from strongroom.repository.refs import RefsWriter
from strongroom.repository.repository import Repository


class RecreateOptions(msgspec.Struct, frozen=True):
    """None leaves a thing as it is. `scan` counts for --exclude-caches and --exclude-if-present alone."""

    comment: str | None = None
    timestamp: datetime | None = None
    target: str | None = None  # the name of the new archive; the old one stays then
    scan: ScanOptions = msgspec.field(default_factory=ScanOptions)
    recompression: Recompression | None = None
    dry_run: bool = False


def recreate_archive(
    repository: Repository,
    name: str,
    matcher: PatternMatcher,
    compression: Compression,
    options: RecreateOptions,
    reporter: Reporter,
) -> ArchiveInfo | None:
    """Returns the new archive; None if there was nothing to do, and in a dry run.

    Raises `ArchiveMissing`, `ArchiveExists`, `RoleInsufficient`, `Cancelled`, `Damaged`, and the
    store's errors.
    """
    found = repository.archive_by_name(name)
    meta = repository.archive_meta(found.id)
    repository.load_index()
    if options.target is not None:
        tag = hashing.name_tag(repository.require_key().id_key, options.target)
        refuse_taken_name(repository.state, tag, options.target)
    if options.recompression is not None and not options.dry_run:
        repository.adopt_pending()  # what a killed run has stored already is not stored anew
    work = _Work(repository, found, meta, matcher, options, reporter)
    if options.dry_run:
        work.rewriter(Sink()).run()
        return None
    return work.run(compression)


class _Work(msgspec.Struct):
    repository: Repository
    found: ArchiveState
    meta: ArchiveMeta
    matcher: PatternMatcher
    options: RecreateOptions
    reporter: Reporter
    progress: Progress = msgspec.field(default_factory=Progress)

    @property
    def _looks_inside(self) -> bool:
        scan = self.options.scan
        chooses = not self.matcher.is_trivial or scan.exclude_caches or bool(scan.exclude_if_present)
        return chooses or self.reporter.wants_files

    def rewriter(self, sink: Sink) -> TreeRewriter:
        chunks = self.repository.chunk_reader()
        return TreeRewriter(
            ArchiveTree(chunks, self.meta),
            chunks,
            self.matcher,
            self.options.scan,
            sink,
            self.reporter,
            self.progress,
            dry_run=self.options.dry_run,
        )

    def run(self, compression: Compression) -> ArchiveInfo | None:
        while True:
            rests_on = ground(self.repository.state)
            self.repository.load_index()
            made = self._store(compression)
            if made is None:
                return None
            meta = made.meta
            body = commit_archive(
                self.repository,
                meta,
                made.refs,
                made.uses,
                made.chunks,
                rests_on=rests_on,
                kind=self._kind(made),
                replaces=None if self.options.target is not None else self.found.id,
            )
            if body is not None:
                state = self.repository.state.archives[ArchiveId(body.archive)]
                return archive_info(self.repository, state, meta)
            self.progress = Progress()

    def _kind(self, made: "_Made") -> Kind:
        if self.options.target is None:
            return "recreate"
        return "recompress" if made.recompressed else "archive"

    def _store(self, compression: Compression) -> "_Made | None":
        """None if nothing changes."""
        repository = self.repository
        with repository.writing("recreate"):
            with Pipeline(repository, compression) as pipeline:
                refs_store = RefsStore(repository, pipeline)
                refs_writer = refs_store.writer()
                root, root_refs, uses = self._content(pipeline, refs_writer)
                _finish(pipeline)
                repository.remember_refs(refs_store.stored)
            written = pipeline.written
            anew = self._recompress(compression, root_refs)
        meta = self._new_meta(root)
        if anew is None and msgspec.structs.replace(meta, deduplicated=self.meta.deduplicated) == self.meta:
            return None
        stored, chunks = written.stored, written.chunks
        if anew is not None:
            stored, chunks = stored + anew.stored, chunks + anew.chunks
        if root is not None or anew is not None:
            meta = msgspec.structs.replace(meta, deduplicated=stored)
        return _Made(meta, root_refs, uses, chunks, recompressed=anew is not None)

    def _recompress(self, compression: Compression, refs: RefsId) -> Written | None:
        """None if all is compressed as asked for."""
        if self.options.recompression is None:
            return None
        done = Progress()

        def read(count: int) -> None:
            done.original += count
            done.new = pipeline.written.stored
            self.reporter.progress("recreate", done)

        with Pipeline(self.repository, compression) as pipeline:
            work = Recompressor(self.repository, compression, self.options.recompression, self.reporter)
            try:
                work.run(pipeline, refs, read)
                pipeline.finish()
            except Exception:
                pipeline.salvage()
                raise
        self.reporter.progress("recreate", done, finished=True)
        return pipeline.written if work.changed else None

    def _content(self, pipeline: Pipeline, refs_writer: RefsWriter) -> tuple[Entry | None, RefsId, int]:
        """The new root, None if it is the old one; the refs of it, and how many they are."""
        old, _, _ = archives.decode(self.repository.archive_blob(self.found.id), self.found.id)
        unchanged = None, old, self.found.body.chunks
        if not self._looks_inside:
            return unchanged
        rewriter = self.rewriter(_Storing(pipeline, refs_writer))
        root = rewriter.run()
        self.reporter.progress("recreate", self.progress, finished=True)
        if not rewriter.changed:
            return unchanged
        return root, refs_writer.finish(), refs_writer.count

    def _new_meta(self, root: Entry | None) -> ArchiveMeta:
        """What is not asked for stays as it was, to the byte."""
        meta, options = self.meta, self.options
        if root is not None:
            meta = msgspec.structs.replace(
                meta, root=trees.encode_root(root), files=self.progress.files, original=self.progress.original
            )
        if options.comment is not None:
            meta = msgspec.structs.replace(meta, comment=options.comment)
        if options.timestamp is not None:
            start = int(options.timestamp.timestamp() * 1e9)
            meta = msgspec.structs.replace(meta, start=start, end=start + meta.end - meta.start)
        if options.target is not None:
            meta = msgspec.structs.replace(meta, name=options.target)
        return meta


class _Made(msgspec.Struct, frozen=True):
    """What is to be committed: `uses` is the length of the refs, `chunks` how many are stored anew."""

    meta: ArchiveMeta
    refs: RefsId
    uses: int
    chunks: int
    recompressed: bool


def _finish(pipeline: Pipeline) -> None:
    try:
        pipeline.finish()
    except StrongroomError:
        pipeline.salvage()
        raise


class _Storing(Sink):
    def __init__(self, pipeline: Pipeline, refs: RefsWriter) -> None:
        self._pipeline = pipeline
        self._refs = refs

    def tree(self, segments: Iterator[bytes]) -> bytes:
        return b"".join([self._pipeline.add(TREE, segment) for segment in segments])

    def uses(self, joined: bytes) -> None:
        self._refs.add_all(joined)
