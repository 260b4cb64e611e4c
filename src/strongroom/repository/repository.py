"""An opened repository: what all commands work on."""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING

from strongroom.crypto import hashing, keys
from strongroom.crypto.keys import KeySecrets
from strongroom.crypto.sealing import SessionReader, SessionWriter
from strongroom.errors import (
    ArchiveMissing,
    CacheFull,
    Damaged,
    KeyInvalid,
    ObjectExists,
    ObjectMissing,
    RoleInsufficient,
    StoreFull,
    StrongroomError,
    VersionUnknown,
)
from strongroom.ids import ArchiveId, ChunkId, PackId, RefsId, RepositoryId
from strongroom.reporting import REPOSITORY_DAMAGED, Notice, Reporter, SilentReporter
from strongroom.repository import archives, bulk, log, packs, refs
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.cache import COMPLETE_RUNS, FOLLOWED, Cache
from strongroom.repository.founding import Founding
from strongroom.repository.history import History, SecurityFolder
from strongroom.repository.index import ChunkIndex
from strongroom.repository.keyfiles import FoundKey
from strongroom.repository.log import ArchiveState, Body, FreeingBody, Kind, LogState, Record, Signer
from strongroom.repository.packs import IndexedPack
from strongroom.store.local import LocalStore
from strongroom.store.protocol import Buffer, Range, Store

if TYPE_CHECKING:
    from strongroom.repository.reading import BundleReader, ChunkReader
    from strongroom.repository.rescue import Rescue

_COMMIT_TRIES = 1000
_BATCH = 256  # archive objects in one write to the cache


class Repository:
    """Store, log, index and keys of one repository. A context manager; one thread at a time.

    `secrets` is None when it was opened for its structure alone.
    """

    def __init__(
        self,
        store: Store,
        repository: RepositoryId,
        founding: Founding,
        cache_base: Path,
        security_base: Path,
        *,
        as_replica: bool = False,
    ) -> None:
        self.store = store
        self.id = repository
        self.founding = founding
        self.security = SecurityFolder(security_base, repository)
        self.cache = Cache(cache_base, repository)
        self.index = ChunkIndex(self.cache)
        self.is_replica = as_replica or self.security.is_replica(store.describe())
        self.history = _kind_of_history(copy=self.is_replica)(
            store, self.cache, self.security, self.empty_log
        )
        self._loaded = 0  # freeing records that the index knows of
        self._renewing = Lock()
        self._freed_refs: tuple[int, set[bytes]] = 0, set()  # of so many freeing records
        self.secrets: KeySecrets | None = None
        self.key: FoundKey | None = None
        self.signer: Signer | None = None  # of records; with a key of the repository, that one
        self.reporter: Reporter = SilentReporter()  # told of damage that reading survives
        self._told: set[str] = set()
        self.lock_wait = 1.0  # seconds to wait for those who want to be alone
        self._has_lease = False

    @property
    def state(self) -> LogState:
        return self.history.state

    def read_without_memory(self) -> None:
        """This machine's disk is full: reading goes on with a cache that is lost, and a warning."""
        full = self.history.unremembered
        if full is not None:
            self._detach_cache()
            self._tell_full(full)

    def _tell_full(self, full: CacheFull) -> None:
        what = f"{full} Until then, a repository that goes back to an older state may not be noticed."
        self.reporter.warn(Notice(what, full.msgid))

    def bridge_log(self) -> None:
        """Records of the log are damaged: reading goes on with what the others say, and warnings.

        Raises `LogRolledBack`, `LogBroken` for tampering, and the store's errors.
        """
        from strongroom.repository.bridged import BridgedHistory

        history = BridgedHistory(self.store, self.cache, self.security, self.empty_log)
        history.sync()
        if history.remains.lost:
            # what the cache would conclude from a state with gaps must not outlive this run
            self._detach_cache()
        self.history = history
        for text in history.warnings():
            self.tell_damage(text)

    def _detach_cache(self) -> None:
        self.cache.detach()
        self.index = ChunkIndex(self.cache)

    def empty_log(self) -> LogState:
        """What records add up to before the first one."""
        return LogState(self.id, self.founding.admin_public)

    @property
    def sealed(self) -> bool:
        return self.founding.protection == "sealed"

    def use_key(self, secrets: KeySecrets, key: FoundKey | None) -> None:
        """Raises `KeyInvalid` for a key that would seal to somebody else than the config says."""
        # A fallen client could plant a key of its own in `keys/`: log and role would fit, this would not.
        if (
            not hashing.same(secrets.sealing_public, bytes.fromhex(self.founding.sealing_key))
            or secrets.protection != self.founding.protection
        ):
            raise KeyInvalid(
                f"The key {secrets.name!r} does not fit the config of {self.store.describe()}: it would "
                "encrypt for somebody else. Do not use it; remove it, and use your exported copy."
            )
        self.secrets = self.signer = secrets
        self.key = key

    def require_key(self) -> KeySecrets:
        if self.secrets is None:
            raise RoleInsufficient("This needs a key, and the repository was opened without one.")
        return self.secrets

    def require_signer(self) -> Signer:
        if self.signer is None:
            raise RoleInsufficient("This needs a key, and the repository was opened without one.")
        return self.signer

    @property
    def can_open(self) -> bool:
        return self.secrets is not None and self.secrets.can_open

    @property
    def only_asks(self) -> bool:
        """Whether deletions by the key in use are requests, for an administrator to accept."""
        return self.secrets is not None and self.secrets.role == "backup"

    # --- reading ---

    def load_index(self) -> None:
        """Bring the chunk index up to date with the log.

        What an index object cannot tell any more is taken from the packs themselves, with a warning.
        """
        try:
            self._load(self.index)
        except CacheFull as error:
            self.history.forgo_memory(error)
            self.read_without_memory()
            self._load(self.index)
        self._loaded = len(self.state.freeings)

    def _renewed_index(self, freeings: int) -> tuple[ChunkIndex, int] | None:
        """An index of its own for whoever reads, if more was freed than by so many records; by how many.

        Any thread.
        """
        with self._renewing:
            self.history.sync()
            if len(self.state.freeings) == freeings:
                return None
            renewed = ChunkIndex(self.cache)
            self._load(renewed)
            return renewed, len(self.state.freeings)

    def forget_freed(self) -> None:
        """Let the cache know what was freed: much less work than to load all of the index."""
        self._follow_freeings(self.index)

    def _load(self, index: ChunkIndex) -> None:
        index.recover()
        index.distrust(self.state.distrusted_packs(), self.state.distrusted_indexes())
        self._follow_freeings(index)
        unreadable = index.load(self.store, self.state.indexes)
        for one in unreadable:
            self.tell_damage(
                f"{packs.index_name(one.id)} cannot be read; the packs themselves are asked for what it "
                f"said. `strongroom check --repair` makes it anew. ({one.why})"
            )
        # No record vouches for the latter: a reader, who compares each chunk with its id, may take them.
        untold = [*(self.state.packs if unreadable else ()), *self.history.unnamed_packs()]
        wanted = index.without_table(untold)
        lost: dict[PackId, str] = {}
        index.take_in(packs.each_table(self.store, wanted, lost), many=len(wanted) >= bulk.LEAST)
        for pack, why in lost.items():
            self.tell_damage(f"What is in {packs.name(pack)} is not available: {why}")

    def _follow_freeings(self, index: ChunkIndex) -> None:
        """What was freed since the cache last heard of it is forgotten there."""
        with self.cache.reading("meta") as txn:
            followed = int(self.cache.noted(txn, FOLLOWED) or b"0")
        fresh = self.state.freeings[followed:]
        if not fresh:
            return
        for record in fresh:
            assert isinstance(record.body, FreeingBody), "only those are kept there"
            for pack in log.split_ids(record.body.packs):
                index.forget_pack(PackId(pack), freed=True)
            with self.cache.writing() as txn:
                for name, joined in (("refs", record.body.refs), ("archives", record.body.archives)):
                    for one in log.split_ids(joined):
                        txn.delete(one, db=self.cache.dbs[name])
        with self.cache.writing() as txn:
            self.cache.note(txn, FOLLOWED, b"%d" % len(self.state.freeings))
            txn.delete(COMPLETE_RUNS)  # what earlier runs stored may be gone: it is looked up again
        index.refresh()

    def is_freed_refs(self, block: RefsId) -> bool:
        """Whether a block of that name was freed: it may be removed at any time, and never comes back."""
        if self._freed_refs[0] != len(self.state.freeings):
            self._freed_refs = len(self.state.freeings), self.state.freed_refs()
        return block in self._freed_refs[1]

    def tell_damage(self, text: str) -> None:
        """A warning, once however often it is met."""
        if text not in self._told:
            self._told.add(text)
            self.reporter.warn(Notice(text, *REPOSITORY_DAMAGED))

    def session_reader(self) -> SessionReader:
        secrets = self.require_key()
        return SessionReader(self.id, keys.sealing_pair(secrets) if self.sealed else None, not self.sealed)

    def bundle_reader(self, opened: Callable[[int], None] = lambda _: None) -> "BundleReader":
        from strongroom.repository.reading import BundleReader

        return BundleReader(self.store, self.session_reader(), self.chunk_hasher(), self._rescued, opened)

    def forked_reader(self) -> "BundleReader | None":
        """For a forked process: what is far is fetched for it. None if it cannot have one."""
        from strongroom.repository.reading import forked_reader

        return forked_reader(self.store, self.session_reader(), self.chunk_hasher())

    @cached_property
    def _rescue(self) -> "Rescue":
        from strongroom.repository.fallback import FallbackStore
        from strongroom.repository.rescue import Rescue

        store = self.store
        if isinstance(store, FallbackStore):
            return Rescue(store.first, lambda: store.second, self.tell_damage)
        return Rescue(store, None, self.tell_damage)

    def _rescued(self, pack: PackId) -> Buffer | None:
        return self._rescue.pack(pack)

    def chunk_reader(self) -> "ChunkReader":
        """It keeps up with `compact`, whoever else reads too."""
        from strongroom.repository.reading import ChunkReader

        known = self._loaded

        def renew() -> ChunkIndex | None:
            nonlocal known
            found = self._renewed_index(known)
            if found is None:
                return None
            renewed, known = found
            return renewed

        return ChunkReader(self.index, self.bundle_reader(), renew)

    def chunk_hasher(self) -> Callable[[bytes | bytearray | memoryview], ChunkId]:
        return hashing.chunk_hasher(self.require_key().id_key)

    def archive_meta(self, archive: ArchiveId) -> ArchiveMeta:
        """Raises `RoleInsufficient` with a backup key, `Damaged`."""
        return self._open_meta(archive, self.session_reader())

    def _open_meta(self, archive: ArchiveId, reader: SessionReader) -> ArchiveMeta:
        meta = archives.open_meta(self.archive_blob(archive), archive, reader)
        known = self.state.archives.get(archive)
        # The log orders names by their tags: another name inside could pass for an archive that it is not.
        if known is None or hashing.name_tag(self.require_key().id_key, meta.name) != known.name_tag:
            raise Damaged(f"{archives.name(archive)} has another name inside than its log record says.")
        return meta

    def archive_blob(self, archive: ArchiveId) -> bytes:
        """The archive object, from the cache if it was fetched before."""
        with self.cache.reading("archives") as txn:
            known = txn.get(archive)
        if known is not None and hashing.same(hashing.plain_hash(known), archive):
            return bytes(known)
        blob = self.store.get(archives.name(archive))
        archives.decode(blob, archive)
        self.cache.keep_copies("archives", [(archive, blob)])
        return blob

    def archive_metas(self, states: list[ArchiveState]) -> list[ArchiveMeta | StrongroomError]:
        """Of several archives, fetched together; an archive that cannot be read gives its error.

        Raises the store's errors, `ObjectMissing` excepted.
        """
        self.fetch_archives([one.id for one in states])
        reader = self.session_reader()
        found: list[ArchiveMeta | StrongroomError] = []
        for one in states:
            try:
                found.append(self._open_meta(one.id, reader))
            except (Damaged, VersionUnknown, ObjectMissing) as error:
                found.append(error)
        return found

    def fetch_archives(self, wanted: Iterable[ArchiveId]) -> None:
        """Into the cache, up to the first that is damaged: from there on they are read one by one."""
        with self.cache.reading("archives") as txn:
            missing = [one for one in wanted if txn.get(one) is None]
        fetched = self.store.get_many(Range(archives.name(one)) for one in missing)
        with contextlib.suppress(Damaged, VersionUnknown, ObjectMissing):
            for at in range(0, len(missing), _BATCH):
                batch = missing[at : at + _BATCH]
                blobs = list(zip(batch, fetched, strict=False))
                for archive, blob in blobs:
                    archives.decode(blob, archive)
                self.cache.keep_copies("archives", blobs)

    def archive_by_name(self, name: str) -> ArchiveState:
        """Raises `ArchiveMissing`. Works with every key: names are compared by their tags."""
        found = self.state.by_tag(hashing.name_tag(self.require_key().id_key, name))
        if found is None:
            raise ArchiveMissing(f"Archive {name} does not exist in {self.store.describe()}.")
        return found

    def knows_refs(self, block: RefsId) -> bool:
        """Whether this machine has seen the block safely stored: it needs no second upload."""
        with self.cache.reading("refs") as txn:
            return txn.get(block) is not None and not self.is_freed_refs(block)

    def remember_refs(self, blocks: list[RefsId]) -> None:
        with self.cache.writing("refs") as txn:
            for block in blocks:
                txn.put(block, b"")

    def refs_root(self, archive: ArchiveId) -> RefsId:
        """The root of what the archive uses. Raises `Damaged`, `ObjectMissing`."""
        return archives.decode(self.archive_blob(archive), archive)[0]

    def refs_block(self, block: RefsId) -> bytes:
        return self.store.get(refs.name(block))

    # --- writing ---

    def session_writer(self) -> SessionWriter:
        secrets = self.require_key()
        return SessionWriter(self.id, keys.sealing_pair(secrets) if self.sealed else None)

    def adopt_pending(self) -> int:
        """Keep what an interrupted run has stored, forget what is not there after all.

        Returns the stored bytes of what is kept.
        """
        for table in list(self.index.intents()):
            if self._is_unnamed(table) and self._is_stored(table):
                self.index.add_pending(table)
            else:
                self.index.forget_intent(table)
        kept = 0
        for table in list(self.index.pending()):
            if PackId(table.pack) not in self.state.freed_packs and self._is_stored(table):
                kept += table.size
            else:
                self.index.forget_pack(PackId(table.pack), freed=False)
        return kept

    def _is_unnamed(self, table: IndexedPack) -> bool:
        pack = PackId(table.pack)
        return pack not in self.state.packs and pack not in self.state.freed_packs

    def _is_stored(self, table: IndexedPack) -> bool:
        # by listing: a write-only client may not read packs
        name = packs.name(PackId(table.pack))
        folder = name.rpartition("/")[0] + "/"
        return any(one.name == name and one.size == table.size for one in self.store.list(folder))

    @contextlib.contextmanager
    def writing(self, purpose: str) -> Iterator[None]:
        """Around work that takes a while: others see that it goes on. Raises `LockTimeout`."""
        from strongroom.repository import leases

        with leases.shared_lease(self.store, purpose, self.lock_wait):
            self._has_lease = True
            try:
                yield
            finally:
                self._has_lease = False

    def commit(self, kind: Kind, make_body: Callable[[LogState], Body]) -> Record:
        """Append a record to the log; `make_body` is asked anew each time another writer was faster.

        Raises `RoleInsufficient`, `LockTimeout`, what `make_body` raises, and the store's errors.
        """
        signer = self.require_signer()
        self.history.check_may_append()
        if not self._has_lease:
            from strongroom.repository import leases

            leases.respect_exclusive(self.store, self.lock_wait)
        for _ in range(_COMMIT_TRIES):
            self.state.check_may_sign(kind, signer.key_id())
            body = make_body(self.state)
            blob = log.sign(self.state, kind, body, signer, time.time_ns())
            try:
                stored = self.store.append_record(log.name(self.state.head.seq + 1), blob)
            except ObjectExists:
                self.history.sync()
                continue
            record = self.history.appended(stored)
            if self.history.unremembered is not None:
                self._tell_full(self.history.unremembered)
            return record
        raise ObjectExists(
            f"{self.store.describe()} is too busy: another writer was always faster. Try again."
        )

    @contextlib.contextmanager
    def deleting(self, reporter: Reporter) -> Iterator[None]:
        """Around a record that asks for deletions: it finds room on a full disk, and that is told."""
        # A server sees by itself what a record is; on this machine our own memory of it may need room, too.
        with self.store.spending() if isinstance(self.store, LocalStore) else contextlib.nullcontext():
            yield
        self.tell_of_reserve(reporter)

    def tell_of_reserve(self, reporter: Reporter) -> None:
        """Warn when what is kept for a full disk is in use."""
        left, wanted = self.store.reserve()
        if left < wanted:
            reporter.warn(
                Notice(
                    f"The disk of {self.store.describe()} is full: of the {wanted} bytes that are kept on it "
                    "for deletions some are in use. Free some space; `strongroom compact` frees what was "
                    "deleted.",
                    StoreFull.msgid,
                    StoreFull.code,
                )
            )

    def put_if_new(self, name: str, blob: bytes) -> None:
        """Store a content-named object; finding it there is as good."""
        try:
            self.store.put(name, [blob])
        except ObjectExists:
            return

    def close(self) -> None:
        self.index.refresh()
        self.cache.close()
        self.store.close()

    def __enter__(self) -> "Repository":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raises `CacheDamaged` in place of what the database says of its file."""
        self.close()
        if self.cache.is_to_blame(error):
            raise self.cache.damaged() from error


def _kind_of_history(*, copy: bool) -> type[History]:
    if not copy:
        return History
    from strongroom.repository.lagging import LaggingHistory

    return LaggingHistory


def cpu_threads() -> int:
    """How many threads may compress and encrypt: the cores that this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
