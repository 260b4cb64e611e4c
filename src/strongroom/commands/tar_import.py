"""An archive made of a tar archive."""

from collections.abc import Callable
from typing import BinaryIO

from strongroom.archive import trees
from strongroom.archive.chunking import ChunkedReader
from strongroom.archive.options import ArchiveOptions
from strongroom.archive.pipeline import Pipeline
from strongroom.archive.tar_building import TarBuilder
from strongroom.archive.tar_reading import TarReader
from strongroom.commands.committing import RefsStore
from strongroom.commands.create import CreateResult, Stored, make_archive
from strongroom.errors import Cancelled
from strongroom.reporting import Progress, Reporter
from strongroom.repository.compression import Compression
from strongroom.repository.holding import Held
from strongroom.repository.repository import Repository

_READ = 1024 * 1024


def import_tar(
    repository: Repository,
    archive: ArchiveOptions,
    stream: BinaryIO,
    compression: Compression,
    reporter: Reporter,
    *,
    ignore_zeros: bool,
    finished: Callable[[], None],
) -> CreateResult:
    """`finished` is called when all of the stream is read: what it raises keeps the archive from being made.

    Raises `ArchiveExists`, `Cancelled`, `CommandError` for a tar archive that breaks off, and the store's
    errors.
    """

    def store() -> Stored:
        return _store(repository, stream, compression, reporter, finished, ignore_zeros=ignore_zeros)

    return make_archive(repository, archive, store, reporter, repeatable=False)


def _store(
    repository: Repository,
    stream: BinaryIO,
    compression: Compression,
    reporter: Reporter,
    finished: Callable[[], None],
    *,
    ignore_zeros: bool,
) -> Stored:
    progress = Progress()
    held = Held(repository.store, repository.state, repository.index)
    with repository.writing("import-tar"), Pipeline(repository, compression, held=held) as pipeline:
        refs_store = RefsStore(repository, pipeline, held)
        refs_writer = refs_store.writer()

        def read_bytes(count: int) -> None:
            if reporter.stop.requested:
                raise Cancelled("Stopped as asked: nothing was archived.")
            progress.original += count
            progress.new = pipeline.written.stored
            reporter.progress("import-tar", progress)

        reader = ChunkedReader(pipeline, repository.require_key().chunker_seed)
        builder = TarBuilder(pipeline, reader, refs_writer, reporter, progress, read_bytes)
        try:
            builder.take(TarReader(stream, ignore_zeros=ignore_zeros))
            while stream.read(_READ):  # padding: who writes it must not find the pipe closed
                continue
            finished()
            root = builder.store()
            root_refs = refs_writer.finish()
            pipeline.finish()
            repository.remember_refs(refs_store.stored)
        except Exception:
            pipeline.salvage()
            raise
    reporter.progress("import-tar", progress, finished=True)
    return Stored(trees.encode_root(root), root_refs, refs_writer.count, progress, pipeline.written)
