"""Bring archives over from another repository, with other keys: read, cut and sealed anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import lmdb
import msgspec

from strongroom.archive import chunking, trees
from strongroom.archive.chunking import ChunkedReader
from strongroom.archive.pipeline import Pipeline
from strongroom.archive.reading import ArchiveTree
from strongroom.archive.transplanting import Transplanter
from strongroom.commands.committing import RefsStore, commit_archive, ground
from strongroom.commands.infos import archive_info
from strongroom.commands.listing import ArchiveFilter, list_archives
from strongroom.commands.opening import NOT_TO_BE_HAD, open_store
from strongroom.commands.results import ArchiveInfo
from strongroom.crypto import hashing
from strongroom.errors import (
    Cancelled,
    CommandError,
    Damaged,
    ObjectMissing,
    RepositoryMissing,
    StrongroomError,
    VersionUnknown,
)
from strongroom.ids import ArchiveId, RefsId
from strongroom.reporting import REPOSITORY_DAMAGED, Notice, Progress, Reporter
from strongroom.repository import archives, founding
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.compression import Compression
from strongroom.repository.repository import Repository

_MEMORY = 1 << 40  # bytes that the map of what was carried may take on the disk
_BATCH = 20_000  # entries of it that a power failure may take away


class TransferResult(msgspec.Struct):
    carried: list[ArchiveInfo] = []
    there: list[ArchiveInfo] = []  # a run before has brought them over
    failed: list[ArchiveInfo] = []  # damaged, or their name is another archive's


def refuse_itself(target: Repository, location: str, fallback: str | None) -> None:
    """Raises `CommandError` if that is the same repository, `RepositoryMissing`, and the store's errors."""
    try:
        _refuse_itself(target, location)
    except NOT_TO_BE_HAD:
        if fallback is None:
            raise
        _refuse_itself(target, fallback)


def _refuse_itself(target: Repository, location: str) -> None:
    store = open_store(location)
    try:
        identity, _ = founding.decode(store.get(founding.NAME, 0, founding.MAX_SIZE), location)
    except ObjectMissing:
        raise RepositoryMissing(f"Repository {location} does not exist.") from None
    finally:
        store.close()
    if identity == target.id:
        raise CommandError(
            f"{location} is this repository, or a copy of it: `strongroom replicate` copies those."
        )


def transfer_archives(
    source: Repository,
    target: Repository,
    wanted: ArchiveFilter,
    compression: Compression,
    reporter: Reporter,
    *,
    dry_run: bool = False,
) -> TransferResult:
    """Oldest first; what is there already is left alone, so a run that was stopped is run again.

    An archive that is damaged, or whose name another one has, is a warning, and the rest goes on.
    Raises `CommandError`, `RoleInsufficient`, `Cancelled`, and the stores' errors.
    """
    source.load_index()
    target.load_index()
    adopted = target.adopt_pending()
    if adopted:
        reporter.info(f"Taking up {adopted} bytes that an interrupted run has stored.")
    result = TransferResult()
    with _memory(target.cache.path / f"carried-{source.id.hex()[:16]}") as memory:
        for info in list_archives(source, wanted):
            if reporter.stop.requested:
                raise Cancelled("Stopped as asked. Run it again to go on.")
            try:
                _judge(source, target, info, compression, reporter, memory, result, dry_run=dry_run)
            except (Damaged, ObjectMissing) as error:
                result.failed.append(info)
                name = info.name or info.id.hex()
                reporter.warn(Notice(f"Archive {name} is not brought over: {error}", *REPOSITORY_DAMAGED))
    for text in _unvouched(source):
        reporter.warn(Notice(text, *REPOSITORY_DAMAGED))
    return result


def _unvouched(source: Repository) -> Iterator[str]:
    """A sentence for each archive whose record is lost: without it, anybody may have put it there."""
    for one in source.history.unnamed_archives():
        try:
            meta = archives.open_meta(source.archive_blob(one), one, source.session_reader())
        except (Damaged, ObjectMissing, VersionUnknown) as error:
            what = f"{archives.name(one)} ({error})"
        else:
            what = f"Archive {meta.name} of {datetime.fromtimestamp(meta.start // 10**9):%Y-%m-%d %H:%M:%S}"
        yield f"{what} is not brought over: the record that said who made it is lost, or was never written."


def _judge(
    source: Repository,
    target: Repository,
    info: ArchiveInfo,
    compression: Compression,
    reporter: Reporter,
    memory: "_Memory",
    result: TransferResult,
    *,
    dry_run: bool,
) -> None:
    (meta,) = source.archive_metas(
        [source.state.archives[info.id]]
    )  # its files are for those that are carried
    if not isinstance(meta, ArchiveMeta):
        raise meta
    known = target.state.by_tag(hashing.name_tag(target.require_key().id_key, meta.name))
    if known is not None:
        if not target.can_open or _is_same(target.archive_meta(known.id), meta):
            result.there.append(info)
            return
        raise Damaged(f"the target has another archive of that name. Rename one of them: {meta.name}")
    if not dry_run:
        reporter.info(f"Bringing over {meta.name}.")
        whole = source.archive_meta(info.id)
        result.carried.append(_carry(source, target, whole, compression, reporter, memory))
    else:
        result.carried.append(info)


def _is_same(there: ArchiveMeta, here: ArchiveMeta) -> bool:
    """Whether it was made of this one: content is cut differently, all else is kept."""
    known = here.files or there.files  # before Borg 1.2 they were not counted
    return (there.start, there.end, there.hostname, there.username, there.comment, there.files) == (
        here.start,
        here.end,
        here.hostname,
        here.username,
        here.comment,
        known,
    )


def _carry(
    source: Repository,
    target: Repository,
    meta: ArchiveMeta,
    compression: Compression,
    reporter: Reporter,
    memory: "_Memory",
) -> ArchiveInfo:
    while True:
        rests_on = ground(target.state)
        target.load_index()
        fresh, root, uses, chunks = _store(source, target, meta, compression, reporter, memory)
        body = commit_archive(target, fresh, root, uses, chunks, rests_on=rests_on)
        if body is not None:
            return archive_info(target, target.state.archives[ArchiveId(body.archive)], fresh)
        reporter.info(
            "Something that this archive uses was freed or distrusted meanwhile: it is stored anew."
        )


def _store(
    source: Repository,
    target: Repository,
    meta: ArchiveMeta,
    compression: Compression,
    reporter: Reporter,
    memory: "_Memory",
) -> tuple[ArchiveMeta, RefsId, int, int]:
    """Its metadata over there, the root of its refs, how many they are, and how many chunks are new."""
    progress = Progress(total=meta.original)
    with target.writing("transfer"), Pipeline(target, compression) as pipeline:

        def look(count: int) -> None:
            if reporter.stop.requested:
                raise Cancelled("Stopped as asked. What is stored already stays: run it again to go on.")
            progress.original += count
            progress.new = pipeline.written.stored
            reporter.progress("transfer", progress)

        refs_store = RefsStore(target, pipeline)
        refs_writer = refs_store.writer()
        chunks = source.chunk_reader()
        reader = ChunkedReader(pipeline, target.require_key().chunker_seed)
        tree = ArchiveTree(chunks, meta)
        transplanter = Transplanter(tree, chunks, pipeline, reader, memory, refs_writer, progress, look)
        source.bundle_reader().expect(transplanter.ahead())
        try:
            root = transplanter.run()
            root_refs = refs_writer.finish()
            pipeline.finish()
        except StrongroomError:
            pipeline.salvage()
            raise
        target.remember_refs(refs_store.stored)
    reporter.progress("transfer", progress, finished=True)
    fresh = msgspec.structs.replace(
        meta,
        root=trees.encode_root(root),
        deduplicated=pipeline.written.stored,
        chunker=[chunking.MINIMUM, chunking.AVERAGE, chunking.MAXIMUM],
    )
    return fresh, root_refs, refs_writer.count, pipeline.written.chunks


class _Memory:
    """Of what was carried, on the disk: a repository may hold more files than fit into memory."""

    def __init__(self, env: lmdb.Environment) -> None:
        self._env = env
        self._txn = env.begin(write=True)
        self._put = 0

    def get(self, key: bytes) -> bytes | None:
        found = self._txn.get(key)
        return None if found is None else bytes(found)

    def put(self, key: bytes, value: bytes) -> None:
        self._txn.put(key, value)
        self._put += 1
        if self._put % _BATCH == 0:
            self._txn.commit()
            self._txn = self._env.begin(write=True)

    def close(self) -> None:
        self._txn.commit()


@contextmanager
def _memory(path: Path) -> Iterator[_Memory]:
    # Losing it costs time alone: nothing in it is believed without its chunks being in the index.
    env = lmdb.open(str(path), map_size=_MEMORY, mode=0o600)
    try:
        memory = _Memory(env)
        try:
            yield memory
        finally:
            memory.close()
    finally:
        env.close()
