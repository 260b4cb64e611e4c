"""The pipeline from plaintext chunks to stored packs; the one module that owns threads.

The caller's thread hashes and deduplicates; workers compress and encrypt; uploaders hash and
store complete packs, and other objects beside them. All queues are bounded, so memory is too.
An exception in any thread reaches the caller with its traceback, and no thread outlives `close`.
"""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from strongroom.crypto.sealing import DATA, TREE
from strongroom.ids import ID_SIZE, ChunkId
from strongroom.repository import packs
from strongroom.repository.bundles import BundleEncoder
from strongroom.repository.compression import Compression
from strongroom.repository.outgoing import Ways
from strongroom.repository.packs import IndexedPack
from strongroom.repository.repository import Repository, cpu_threads
from strongroom.repository.writing import PackBuffer, PackFiller, Way
from strongroom.store.protocol import Buffer

if TYPE_CHECKING:
    from strongroom.repository.holding import Held

BUNDLE_TARGET = 1024 * 1024  # bytes of plaintext
ALONE = 512 * 1024  # a chunk from this size on has a bundle of its own
MOST_OBJECTS = 64  # other objects that wait to be stored


class Written(msgspec.Struct):
    """What a run has added, in stored bytes."""

    chunks: int = 0
    stored: int = 0
    packs: int = 0


class _Job(msgspec.Struct):
    kind: int
    chunks: list[Buffer]
    ids: bytes
    done: Callable[[], None] | None


class _Object(msgspec.Struct, frozen=True):
    """Anything else that is named by its content."""

    name: str
    blob: bytes


class _OpenBundle:
    __slots__ = ("chunks", "ids", "size")

    def __init__(self) -> None:
        self.chunks: list[Buffer] = []
        self.ids: list[ChunkId] = []
        self.size = 0


class Pipeline:
    """Takes chunks, answers with their ids; a context manager.

    `add`, `finish` and `written` belong to one thread. Leaving the context without `finish`
    drops what is not stored yet; complete packs remain for the next run to adopt.
    """

    def __init__(
        self,
        repository: Repository,
        compression: Compression,
        workers: int | None = None,
        held: "Held | None" = None,
    ) -> None:
        """With `held`, nothing else is taken for stored."""
        self._held = held
        self._repository = repository
        self._index = repository.index
        self._find = repository.index.finder()
        self._chunk_id = repository.chunk_hasher()
        self._open = {DATA: _OpenBundle(), TREE: _OpenBundle()}
        self._recent: set[bytes] = set()  # chunks of this run that the index does not show yet
        self._looked_up = repository.cache.looked_up
        self._journaled: deque[IndexedPack] = deque()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self.written = Written()
        count = workers or cpu_threads()
        self._jobs: queue.Queue[_Job | None] = queue.Queue(maxsize=2 * count + 2)
        # packs are bounded by the memory for their parts, other objects by `put`
        self._uploads: queue.Queue[PackBuffer | _Object | None] = queue.Queue()
        self._objects = threading.BoundedSemaphore(MOST_OBJECTS)
        self._ways = Ways(repository.store, repository.founding)
        self._begun: list[Way] = []
        self._filler = PackFiller(
            repository.session_writer,
            repository.founding.pack_target,
            self._ways.part,
            self._ways.parts,
            self._uploads.put,
        )
        self._workers = [
            threading.Thread(target=self._work, args=(compression,), name=f"seal-{n}") for n in range(count)
        ]
        self._uploaders = [
            threading.Thread(target=self._upload, name=f"upload-{n}") for n in range(repository.store.uploads)
        ]
        for thread in (*self._workers, *self._uploaders):
            thread.start()

    # --- the caller's side ---

    def add(
        self, kind: int, chunk: Buffer, done: Callable[[], None] | None = None, *, anew: bool = False
    ) -> ChunkId:
        """Store a chunk unless it is known; returns its id. `anew`: unless it is on its way.

        A chunk that is a view of a reused buffer must be at least `ALONE` bytes long, or be copied
        by the caller; `done` is called when the bytes are no longer needed.
        """
        chunk_id = self._chunk_id(chunk)
        self._looked_up()
        if chunk_id in self._recent or (not anew and self._is_stored(chunk_id)):
            if done is not None:
                done()
            return chunk_id
        self._recent.add(chunk_id)
        size = len(chunk)
        if size >= ALONE:
            self._submit(_Job(kind, [chunk], chunk_id, done))
            return chunk_id
        bundle = self._open[kind]
        bundle.chunks.append(chunk)
        bundle.ids.append(chunk_id)
        bundle.size += size
        if bundle.size >= BUNDLE_TARGET or len(bundle.ids) >= packs.MAX_CHUNKS:
            self._flush(kind)
        return chunk_id

    def knows(self, joined: bytes) -> bool:
        """Whether all these chunks (ids, concatenated) are stored or on their way."""
        for at in range(0, len(joined), ID_SIZE):
            chunk = joined[at : at + ID_SIZE]
            if chunk not in self._recent and (
                self._find(chunk) is None or not (self._held is None or self._held.holds(chunk))
            ):
                return False
        return True

    def _is_stored(self, chunk: ChunkId) -> bool:
        return self._find(chunk) is not None and (self._held is None or self._held.relies_on(chunk))

    def put(self, name: str, blob: bytes) -> None:
        """Store an object that is named by its content, beside the packs; done after `finish`."""
        self._objects.acquire()
        self._uploads.put(_Object(name, blob))

    def finish(self) -> None:
        """Store everything that was added. Raises what a thread raised."""
        for kind in self._open:
            self._flush(kind)
        self._end_workers()
        self._filler.finish()
        self._end_uploaders()
        self._raise_failure()
        self._absorb()

    def salvage(self) -> None:
        """Store what can still be stored, after something else went wrong."""
        if self._failure is None and self._running():
            with contextlib.suppress(Exception):  # the first error is the one that counts
                self.finish()

    def close(self) -> None:
        """End all threads, whatever state they are in."""
        if self._running():
            self._fail(RuntimeError("the pipeline was closed before it was finished"))
            self._end_workers()
            self._end_uploaders()
        while self._begun:
            self._begun.pop().drop()

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _flush(self, kind: int) -> None:
        bundle = self._open[kind]
        if bundle.ids:
            self._open[kind] = _OpenBundle()
            self._submit(_Job(kind, bundle.chunks, b"".join(bundle.ids), None))

    def _submit(self, job: _Job) -> None:
        self._raise_failure()
        if self._journaled:
            self._absorb()
        self.written.chunks += len(job.chunks)
        self._jobs.put(job)

    def _absorb(self) -> None:
        """Chunks of journaled packs are in the index now: once it shows them, drop them here."""
        arrived = [self._journaled.popleft() for _ in range(len(self._journaled))]
        self._index.refresh()
        self._find = self._index.finder()
        for table in arrived:
            for bundle in table.bundles:
                joined = bundle.chunks
                self._recent.difference_update(
                    [joined[at : at + ID_SIZE] for at in range(0, len(joined), ID_SIZE)]
                )

    def _end_workers(self) -> None:
        for _ in self._workers:
            self._jobs.put(None)
        for thread in self._workers:
            thread.join()

    def _end_uploaders(self) -> None:
        for _ in self._uploaders:
            self._uploads.put(None)
        for thread in self._uploaders:
            thread.join()

    def _running(self) -> bool:
        return any(thread.is_alive() for thread in self._uploaders)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    # --- the threads ---

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
        self._filler.stop()

    def _work(self, compression: Compression) -> None:
        encoder = BundleEncoder(compression)
        while (job := self._jobs.get()) is not None:
            try:
                if self._failure is not None:
                    continue  # drain, so that the caller never blocks on a full queue
                plain = encoder.encode(job.chunks)
                stored = self._filler.add(job.kind, job.ids, plain)
                with self._lock:
                    self.written.stored += stored
            except BaseException as error:  # noqa: BLE001  # it is raised again in the caller's thread
                self._fail(error)
            finally:
                if job.done is not None:
                    job.done()

    def _upload(self) -> None:
        while (item := self._uploads.get()) is not None:
            try:
                if self._failure is not None:
                    continue
                if isinstance(item, _Object):
                    self._repository.put_if_new(item.name, item.blob)
                else:
                    self._store(item)
            except BaseException as error:  # noqa: BLE001  # it is raised again in the caller's thread
                self._fail(error)
            finally:
                if isinstance(item, _Object):
                    self._objects.release()

    def _store(self, pack: PackBuffer) -> None:
        """What there is of the pack."""
        if pack.way is None:
            pack.way = self._ways.begin(self._filler.release)
            self._begun.append(pack.way)
        while (part := self._filler.take(pack)) is not None:
            pack.way.add(part)
        if not pack.over:
            return
        table = pack.way.finish(pack, self._index.intend)
        self._begun.remove(pack.way)
        self._index.add_pending(table)
        self._journaled.append(table)
        with self._lock:
            self.written.packs += 1
