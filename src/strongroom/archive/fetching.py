"""Stored bundles from far away: several are under way at once, so that the distance costs little."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

from strongroom.archive.window import BundleJob
from strongroom.crypto.sealing import SealedSession
from strongroom.repository.reading import REQUESTS, BundleReader
from strongroom.store.protocol import Buffer

_HELD = 16  # bundles that are here or on their way, and not opened yet


class Fetcher:
    """For one thread that orders, and others that take; to be closed in the end."""

    def __init__(self, reader: BundleReader) -> None:
        self._reader = reader
        self._room = threading.Semaphore(_HELD)
        self._closing = False
        self._pool = ThreadPoolExecutor(REQUESTS, thread_name_prefix="fetch")

    def order(self, job: BundleJob) -> "Fetched":
        """Bundles come about in the order in which they are ordered. Each must be taken."""
        return Fetched(self._pool.submit(self._fetch, job), self._room)

    def sessions(self, job: BundleJob) -> list[SealedSession]:
        """Of its pack. Raises `PackDamaged`, and the store's errors."""
        return self._reader.sessions_of(job.pack, job.pack_size)

    def _fetch(self, job: BundleJob) -> Buffer:
        self._room.acquire()
        return b"" if self._closing else self._reader.fetch(job.pack, job.bundle)

    def close(self) -> None:
        self._closing = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._room.release(REQUESTS)
        self._pool.shutdown(wait=True)


class Fetched:
    """A bundle that was ordered. For one use."""

    def __init__(self, future: Future[Buffer], room: threading.Semaphore) -> None:
        self._future = future
        self._room = room

    def take(self) -> Buffer:
        """Raises the store's errors."""
        return self._future.result()

    def release(self) -> None:
        """Nobody holds it any more."""
        self._room.release()
