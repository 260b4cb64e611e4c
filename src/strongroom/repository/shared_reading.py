"""Chunks for many threads at once: one cache of opened bundles, and reading ahead into it.

What `reading.ChunkReader` is for one thread's run, this is for a program that stays: a mount, a
server. It may outlive the index that it began with: where a pack is gone or damaged, the log is
read on and the chunk looked up again, once.
"""

import contextlib
import queue
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType

from strongroom.errors import Damaged, PackDamaged, StrongroomError
from strongroom.ids import ID_SIZE, ChunkId, PackId
from strongroom.repository.index import Place
from strongroom.repository.reading import REQUESTS, BundleReader
from strongroom.repository.repository import Repository
from strongroom.repository.room import Passage

CACHE_BYTES = 48 * 1024 * 1024  # of opened bundles
_PLACES = 20_000  # look-ups that are remembered
_VIEW = 200  # bytes that a view of a chunk takes itself: a bundle of tiny files is mostly views
_NEAR = 4  # bundles read ahead at a time of a store that is not far
_AHEAD = 16  # bundles that may wait to be read ahead
_PASSAGES = 4  # bundles opened at a time in memory that is used again
_SYNC_EVERY = 10.0  # seconds: a damaged chunk must not make each read ask the server for news

_NO_SIGNALS = (signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1})

_Key = tuple[PackId, int]


class _Opened:
    """A bundle's chunks, each compared with its id when it is first used."""

    __slots__ = ("chunks", "size", "sound")

    def __init__(self, chunks: list[memoryview], *, sound: bool) -> None:
        self.chunks = chunks
        self.sound = bytearray([sound]) * len(chunks)
        self.size = sum(map(len, chunks)) + _VIEW * len(chunks)


class SharedChunks:
    """Single chunks by id, from any thread. A context manager; leaving it ends the threads.

    The repository's index must be loaded, and nobody else may use it meanwhile, but under `exclusive`.
    """

    def __init__(self, repository: Repository, cache_bytes: int = CACHE_BYTES) -> None:
        self._repository = repository
        self._reader: BundleReader = repository.bundle_reader()
        self._limit = cache_bytes
        self._held = 0
        self._lock = threading.Lock()  # guards the cache
        self._cache: OrderedDict[_Key, Future[_Opened]] = OrderedDict()
        self._passages: queue.SimpleQueue[Passage] = queue.SimpleQueue()
        for _ in range(_PASSAGES):
            self._passages.put(Passage())
        self._places: dict[ChunkId, Place] = {}
        self.exclusive = threading.RLock()
        """Held while the repository itself is used, which is for one thread at a time."""
        self._asked = -_SYNC_EVERY  # when there was no news
        self._renewals = 0
        self._head = repository.state.head  # that the index knows of
        self._ordered: set[_Key] = set()
        self._waiting = threading.BoundedSemaphore(_AHEAD)
        # signals are for the thread that waits for them
        threads = REQUESTS if self._reader.is_far else _NEAR
        self._pool = ThreadPoolExecutor(threads, "ahead", signal.pthread_sigmask, _NO_SIGNALS)

    def __enter__(self) -> "SharedChunks":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def read(self, chunk: ChunkId) -> memoryview:
        """Raises `ChunkMissing`, `PackDamaged`, `RoleInsufficient`, and the store's errors."""
        renewals = self._renewals
        try:
            return self._at(self._find(chunk))
        except Damaged:
            found = self._elsewhere(chunk)
            if found is not None:
                return found
            if not self._renew(renewals):
                raise
        return self._at(self._find(chunk))

    def ahead(self, chunks: Iterable[ChunkId]) -> None:
        """Open the bundles of chunks that will be read soon; what fails is told by the read itself."""
        for chunk in chunks:
            self.opens(chunk)

    def opens(self, chunk: ChunkId) -> bool:
        """Whether the bundle of a chunk that will be read soon is opened now, by this call.

        It is not if it was opened or ordered before, if too many wait, or if there is none, which the read
        itself will tell.
        """
        try:
            place = self._find(chunk)
        except StrongroomError:
            return False
        key = place.pack, place.bundle.offset
        if key in self._cache or key in self._ordered or not self._waiting.acquire(blocking=False):
            return False
        self._ordered.add(key)
        try:
            self._pool.submit(self._open_quietly, place, key)
        except RuntimeError:  # the end has begun
            self._waiting.release()
            return False
        return True

    def _open_quietly(self, place: Place, key: _Key) -> None:
        try:
            self._opened(place)
        except StrongroomError:
            return  # whoever needs the chunk meets the same error, and tells
        finally:
            self._ordered.discard(key)
            self._waiting.release()

    # --- where ---

    def _find(self, chunk: ChunkId) -> Place:
        place = self._places.get(chunk)
        if place is None:
            with self.exclusive:
                try:
                    place = self._repository.index.find(chunk)
                finally:
                    # a transaction that stays open would keep the cache from using its pages again
                    self._repository.index.refresh()
            if len(self._places) >= _PLACES:
                self._places.clear()
            self._places[chunk] = place
        return place

    def _elsewhere(self, chunk: ChunkId) -> memoryview | None:
        """From a second pack that holds it, if there is a sound one; later reads go there at once."""
        with self.exclusive:
            places = self._repository.index.others(chunk)
            self._repository.index.refresh()
        for place in places:
            with contextlib.suppress(PackDamaged):
                found = self._at(place)
                self._places[chunk] = place
                return found
        return None

    def _renew(self, renewals: int) -> bool:
        """Take in what others did to the repository, if nobody has since there were so many renewals.

        False if there was no news a moment ago.
        """
        with self.exclusive:
            if self._renewals != renewals:
                return True
            now = time.monotonic()
            if now - self._asked < _SYNC_EVERY:
                return False
            self._repository.history.sync()
            if self._repository.state.head == self._head:
                self._asked = now
            self._head = self._repository.state.head
            self._repository.load_index()
            self._places.clear()
            self._renewals += 1
        return True

    # --- what ---

    def _at(self, place: Place) -> memoryview:
        opened = self._opened(place)
        position = place.position
        if not opened.sound[position]:
            found = opened.chunks[position]
            opened.chunks[position] = self._reader.true_chunk(
                place.pack, place.pack_size, place.bundle, position, found
            )
            opened.sound[position] = 1
        return opened.chunks[position]

    def _opened(self, place: Place) -> _Opened:
        """From the cache, from another thread that is opening it, or from the store."""
        key = (place.pack, place.bundle.offset)
        with self._lock:
            future = self._cache.get(key)
            if future is not None:
                self._cache.move_to_end(key)
            else:
                mine = self._cache[key] = Future()
        if future is not None:
            return future.result()
        try:
            # A chunk that is alone is compared here, by whoever reads ahead: nobody waits for it then.
            alone = len(place.bundle.chunks) == ID_SIZE
            opened = _Opened(self._open(place, verify=alone), sound=alone)
        except BaseException as error:
            with self._lock:
                del self._cache[key]
            mine.set_exception(error)
            raise
        mine.set_result(opened)
        with self._lock:
            self._held += opened.size
            if self._held > self._limit:
                self._evict(key)
        return opened

    def _open(self, place: Place, *, verify: bool) -> list[memoryview]:
        open_bundle = partial(
            self._reader.open_bundle, place.pack, place.pack_size, place.bundle, verify=verify
        )
        try:
            passage = self._passages.get_nowait()
        except queue.Empty:  # many readers at once
            return open_bundle()
        try:
            return passage.kept(open_bundle(room=passage))
        finally:
            self._passages.put(passage)

    def _evict(self, newest: _Key) -> None:
        for key in list(self._cache):
            if self._held <= self._limit:
                return
            future = self._cache[key]
            if key != newest and future.done():
                del self._cache[key]
                self._held -= future.result().size
