"""From stored bundles to file content: each bundle of a window is fetched and opened once."""

import functools
import threading
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from strongroom.archive.direct import DirectWriter
from strongroom.archive.entries import HOLE
from strongroom.archive.targets import FileTarget
from strongroom.errors import Damaged
from strongroom.ids import ID_SIZE, ChunkId, PackId
from strongroom.reporting import Progress
from strongroom.repository.index import ChunkIndex
from strongroom.repository.packs import BundleEntry
from strongroom.repository.reading import BundleReader, ChunkReader
from strongroom.repository.room import Room, Space
from strongroom.store.direct import BLOCK

WINDOW_FILES = 2048
WINDOW_BYTES = 256 * 1024 * 1024
WINDOW_OPEN = 512  # files of several chunks: each holds a descriptor


class _Use(msgspec.Struct):
    position: int  # of the chunk in its bundle
    target: FileTarget
    offset: int  # in the file
    size: int  # that the file's entry gives the chunk


class _BundleJob(msgspec.Struct):
    pack: PackId
    pack_size: int
    bundle: BundleEntry
    uses: list[_Use] = []


class Window:
    """Files that are restored together."""

    def __init__(self) -> None:
        self.targets: list[FileTarget] = []
        self._jobs: dict[tuple[PackId, int], _BundleJob] = {}
        self.missing: list[tuple[ChunkId, _Use]] = []  # in no pack, as far as the index tells
        self._bytes = 0
        self._several = 0

    @property
    def full(self) -> bool:
        return (
            len(self.targets) >= WINDOW_FILES or self._bytes >= WINDOW_BYTES or self._several >= WINDOW_OPEN
        )

    def add(self, target: FileTarget, index: ChunkIndex, there: AbstractSet[int] = frozenset()) -> None:
        """Plan the chunks of a file, but for the positions that are `there` already."""
        self.targets.append(target)
        chunks = target.entry.chunks()
        self._several += len(chunks) > 1 or bool(there)
        offset = 0
        for position, (chunk, size) in enumerate(chunks):
            if chunk == HOLE or position in there:
                target.left -= 1
            else:
                self._plan(target, chunk, offset, size, index)
            offset += size
        self._bytes += target.entry.size

    def _plan(self, target: FileTarget, chunk: ChunkId, offset: int, size: int, index: ChunkIndex) -> None:
        place = index.get(chunk)
        if place is None:
            self.missing.append((chunk, _Use(0, target, offset, size)))
            return
        key = (place.pack, place.bundle.offset)
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _BundleJob(place.pack, place.pack_size, place.bundle)
        job.uses.append(_Use(place.position, target, offset, size))

    def jobs(self) -> list[_BundleJob]:
        """In the order in which they lie in the packs."""
        return [self._jobs[key] for key in sorted(self._jobs)]


def _chunks_of(jobs: list[_BundleJob]) -> Iterator[ChunkId]:
    for job in jobs:
        for use in job.uses:
            yield ChunkId(job.bundle.chunks[use.position * ID_SIZE : (use.position + 1) * ID_SIZE])


class Unpacker:
    """Runs windows on worker threads. A context manager; leaving it ends the threads."""

    def __init__(
        self,
        reader: BundleReader,
        elsewhere: ChunkReader,
        threads: int,
        write: Callable[[FileTarget, int, memoryview], None],
        finish: Callable[[FileTarget], None],
        progress: Progress,
        direct: DirectWriter | None = None,
    ) -> None:
        """`elsewhere` is for chunks that are damaged where they are first looked for; `write` puts bytes at
        an offset, `finish` completes a file; both run in any thread. What is large goes to `direct`."""
        self._reader = reader
        self._elsewhere = elsewhere
        self._rescuing = threading.Lock()
        self._write = write
        self._finish = finish
        self._progress = progress
        self._direct = direct
        self._rooms = threading.local()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="open")

    def __enter__(self) -> "Unpacker":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def start(self, window: Window) -> list[Future[None]]:
        for target in window.targets:
            if not target.left:
                self._finish(target)
        jobs = window.jobs()
        self._reader.expect(_chunks_of(jobs))
        running = [self._pool.submit(self._run, job) for job in jobs]
        return running + [self._pool.submit(self._seek, *one) for one in window.missing]

    def wait(self, running: list[Future[None]]) -> None:
        """Raises what a thread raised."""
        for future in running:
            future.result()
        if self._direct is not None:
            self._direct.wait()

    def _run(self, job: _BundleJob) -> None:
        room = self._room()
        room.phase = job.uses[0].offset % BLOCK
        try:
            chunks = self._reader.open_bundle(job.pack, job.pack_size, job.bundle, verify=False, room=room)
        except Damaged:
            self._lose(job)
            return
        sound: dict[int, memoryview | None] = {}
        alone = len(chunks) == len(job.uses) == 1
        for use in job.uses:
            if use.position not in sound:
                sound[use.position] = self._sound(job, use.position, chunks[use.position])
            chunk = sound[use.position]
            if chunk is not None and len(chunk) == use.size:
                self._deliver(use, chunk, room if alone and chunk is chunks[0] else None)
            else:
                self._lose_one(job, use)

    def _room(self) -> Room:
        """This thread's."""
        room = getattr(self._rooms, "room", None)
        if room is None:
            room = self._rooms.room = Room()
        return room

    def _sound(self, job: _BundleJob, position: int, chunk: memoryview) -> memoryview | None:
        try:
            return self._reader.true_chunk(job.pack, job.pack_size, job.bundle, position, chunk)
        except Damaged:
            return None

    def _deliver(self, use: _Use, chunk: memoryview, room: Room | None = None) -> None:
        """In a `room` the chunk is alone, and needed for nothing else."""
        target = use.target
        if target.error is None:
            try:
                direct = self._direct
                if direct is not None and direct.takes(target, len(chunk)):
                    spare = direct.spare()
                    if spare is not None:
                        self._hand_over(direct, spare, use, chunk, room)
                        return
                self._write(target, use.offset, chunk)
            except OSError as error:
                target.error = error
        self._done(target, len(chunk))

    def _hand_over(
        self, direct: DirectWriter, spare: Space, use: _Use, chunk: memoryview, room: Room | None
    ) -> None:
        """The memory that the chunk lies in, if possible; else a copy."""
        space = room.replace(chunk, spare) if room is not None else None
        if space is None:
            space, start = spare, use.offset % BLOCK
            space.view[start : start + len(chunk)] = chunk
            chunk = space.view[start : start + len(chunk)]
        done = functools.partial(self._done, use.target, len(chunk))
        direct.write(space, use.target, use.offset, chunk, done)

    def count(self, size: int) -> None:
        """Bytes that are where they belong."""
        with self._lock:
            self._progress.original += size

    def _lose(self, job: _BundleJob) -> None:
        for use in job.uses:
            self._lose_one(job, use)

    def _lose_one(self, job: _BundleJob, use: _Use) -> None:
        self._seek(ChunkId(job.bundle.chunks[use.position * ID_SIZE : (use.position + 1) * ID_SIZE]), use)

    def _seek(self, chunk: ChunkId, use: _Use) -> None:
        with self._rescuing:
            found = self._elsewhere.read_elsewhere(chunk)
        if found is not None and len(found) == use.size:
            self._deliver(use, found)
            return
        with self._lock:
            use.target.damaged.append((use.offset, use.size))
        self._done(use.target, 0)

    def _done(self, target: FileTarget, size: int) -> None:
        """With a chunk, of which so many bytes are where they belong."""
        with self._lock:
            self._progress.original += size
            target.left -= 1
            last = not target.left
        if last:
            self._finish(target)
