"""The last step of whoever makes an archive: index objects, the archive object, the record.

What a run deduplicated against may be freed while it runs, or a key revoked that wrote it. The log tells:
if such a record came since, all that the archive rests on is looked up again before its own is written.
See docs/decisions/0010-what-is-freed-never-comes-back.md.
"""

from strongroom.archive.pipeline import Pipeline
from strongroom.crypto import hashing
from strongroom.errors import ArchiveExists, ArchiveMissing, Damaged, ObjectMissing
from strongroom.ids import ID_SIZE, ArchiveId, IndexId, NameTag, PackId, RefsId
from strongroom.repository import archives, packs, refs
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.holding import Held
from strongroom.repository.liveness import fresh_blocks
from strongroom.repository.log import ArchiveBody, Kind, LogState
from strongroom.repository.packs import IndexedPack
from strongroom.repository.refs import RefsWriter
from strongroom.repository.repository import Repository


class RefsStore:
    """Stores refs blocks, those that are known to be there excepted."""

    def __init__(self, repository: Repository, pipeline: Pipeline, held: Held | None = None) -> None:
        """`held`: what may be relied on, for input that cannot be read twice."""
        self._repository = repository
        self._pipeline = pipeline
        self._held = held
        self.stored: list[RefsId] = []

    def writer(self) -> RefsWriter:
        """Of a list whose blocks are stored here, and are never freed before its archive is."""
        return RefsWriter(self.put, self._must_not_be)

    def _must_not_be(self, block: RefsId) -> bool:
        return self._repository.is_freed_refs(block) or (
            self._held is not None and self._held.is_doomed(block)
        )

    def put(self, block: RefsId, blob: bytes) -> None:
        if not self._repository.knows_refs(block):
            self._pipeline.put(refs.name(block), blob)
            self.stored.append(block)


class _Overtaken(Exception):
    """Something was freed or distrusted since the run began."""


def ground(state: LogState) -> tuple[int, int]:
    """Counts what takes away what an archive could rest on: records that free, keys that are distrusted."""
    return len(state.freeings), sum(key.distrusted_since is not None for key in state.keys.values())


def commit_archive(
    repository: Repository,
    meta: ArchiveMeta,
    root: RefsId,
    uses: int,
    new_chunks: int,
    *,
    rests_on: tuple[int, int],
    kind: Kind = "archive",
    replaces: ArchiveId | None = None,
) -> ArchiveBody | None:
    """Publish the pending packs and the archive; `replaces` is deleted by the same record, of this `kind`.

    None: something that it uses was freed or distrusted since; load the index again, store what is gone,
    come back.
    `root` lists the `uses` chunks; `rests_on` is the `ground` from before the index was loaded
    that they were looked up in. Raises `ArchiveExists`, `ArchiveMissing` if the replaced one is gone, and
    the store's errors.
    """
    tag = hashing.name_tag(repository.require_key().id_key, meta.name)
    while True:
        try:
            return _commit(repository, meta, tag, root, uses, new_chunks, rests_on, kind, replaces)
        except _Overtaken:
            rests_on = ground(repository.state)
            repository.load_index()
            if not _is_there(repository, root):
                return None


def refuse_taken_name(state: LogState, tag: NameTag, name: str) -> None:
    """Raises `ArchiveExists`, and `CommandError` for a name that no archive can have."""
    archives.check_name(name)
    if state.by_tag(tag) is not None:
        raise ArchiveExists(f"Archive {name} already exists. Choose another name.")


def _is_living(state: LogState, archive: ArchiveId) -> bool:
    known = state.archives.get(archive)
    return known is not None and known.deleted is None


def _is_there(repository: Repository, root: RefsId) -> bool:
    """Whether every block of the refs and every chunk is stored, and not freed by the log as we know it."""
    blocks: set[bytes] = set()
    known = repository.index.finder()
    try:
        for level, joined in fresh_blocks(repository.store, root, blocks):
            if level == 0 and any(
                known(joined[at : at + ID_SIZE]) is None for at in range(0, len(joined), ID_SIZE)
            ):
                return False
    except (Damaged, ObjectMissing):
        return False
    return not any(repository.is_freed_refs(RefsId(block)) for block in blocks)


def _publish_indexes(repository: Repository) -> tuple[list[IndexedPack], list[IndexId]]:
    """Store index objects for all packs that no record names yet."""
    tables = [one for one in repository.index.pending() if one.pack not in repository.state.packs]
    return tables, [_put_index(repository, group) for group in packs.index_groups(tables)]


def _put_index(repository: Repository, group: list[IndexedPack]) -> IndexId:
    index, blob = packs.encode_index(group)
    repository.put_if_new(packs.index_name(index), blob)
    return index


def _commit(
    repository: Repository,
    meta: ArchiveMeta,
    tag: NameTag,
    root: RefsId,
    uses: int,
    new_chunks: int,
    rests_on: tuple[int, int],
    kind: Kind,
    replaces: ArchiveId | None,
) -> ArchiveBody:
    tables, indexes = _publish_indexes(repository)
    archive, blob = archives.encode(meta, root, repository.session_writer())
    repository.put_if_new(archives.name(archive), blob)

    def body(state: LogState) -> ArchiveBody:
        if replaces is not None and not _is_living(state, replaces):
            raise ArchiveMissing(f"Archive {meta.name} was deleted meanwhile. Nothing was changed.")
        if state.names.get(tag) != replaces or replaces is None:
            refuse_taken_name(state, tag, meta.name)
        if ground(state) != rests_on:
            raise _Overtaken
        fresh = [table for table in tables if table.pack not in state.packs]
        return ArchiveBody(
            archive,
            tag,
            b"".join(table.pack for table in fresh),
            b"".join(indexes) if fresh else b"",
            sum(table.size for table in fresh),
            new_chunks,
            uses,
            replaces,
        )

    record = repository.commit(kind, body)
    repository.index.settle([PackId(table.pack) for table in tables], indexes)
    assert isinstance(record.body, ArchiveBody), "it is ours"
    return record.body
