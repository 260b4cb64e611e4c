"""From stored bundles to file content: each bundle of a window is fetched and opened once."""

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import msgspec

from strongroom.archive.direct import DirectWriter
from strongroom.archive.fetching import Fetched, Fetcher
from strongroom.archive.targets import FileTarget
from strongroom.archive.window import BundleJob, Use, Window, chunks_of
from strongroom.errors import Damaged
from strongroom.ids import ID_SIZE, ChunkId
from strongroom.reporting import Progress
from strongroom.repository.reading import BundleReader
from strongroom.repository.room import Room, Space
from strongroom.store.direct import BLOCK
from strongroom.store.protocol import Buffer

if TYPE_CHECKING:
    from strongroom.archive.crew import Crew
    from strongroom.archive.portions import Part

_FEW = 128  # files that are restored before a crew would be at work


class Elsewhere(Protocol):
    def read_elsewhere(self, chunk: ChunkId) -> memoryview | None: ...


class Running(msgspec.Struct):
    """A window under way."""

    futures: list[Future[None]] = []
    parts: "list[Part]" = []


class Unpacker:
    """Runs windows on worker threads. A context manager; leaving it ends the threads."""

    def __init__(
        self,
        reader: BundleReader,
        elsewhere: Elsewhere,
        threads: int,
        write: Callable[[FileTarget, int, memoryview], None],
        finish: Callable[[FileTarget], None],
        progress: Progress,
        direct: DirectWriter | None = None,
        hire: "Callable[[], Crew | None] | None" = None,
    ) -> None:
        """`elsewhere` is for chunks that are damaged where they are first looked for; `write` puts bytes at
        an offset, `finish` completes a file; both run in any thread. What is large goes to `direct`, and
        what is small, if there is much of it, to the crew that `hire` may give."""
        self._reader = reader
        self._elsewhere = elsewhere
        self._rescuing = threading.Lock()
        self._write = write
        self._finish = finish
        self._progress = progress
        self._direct = direct
        self._hire = hire
        self._fetcher = Fetcher(reader) if reader.is_far else None
        self._crew: Crew | None = None
        self._rooms = threading.local()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="open")

    def __enter__(self) -> "Unpacker":
        return self

    def __exit__(self, *_: object) -> None:
        if self._fetcher is not None:
            self._fetcher.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._crew is not None:
            self._crew.dismiss()

    @property
    def overlaps(self) -> bool:
        """Whether it gains by a window that is started before the last one has ended."""
        return self._crew is not None or self._fetcher is not None

    def start(self, window: Window, *, more: bool = False) -> Running:
        """`more`: others follow."""
        if self._hire is not None and (more or len(window.targets) > _FEW):
            self._crew, self._hire = self._hire(), None
        jobs, empty = window.jobs(), [target for target in window.targets if not target.left]
        parts: list[Part] = []
        if self._crew is not None:
            parts, jobs, empty = self._crew.take(jobs, empty, self._fetcher)
        for target in empty:
            self._finish(target)
        self._reader.expect(chunks_of(jobs))
        futures = [self._submit(job) for job in jobs]
        return Running(futures + [self._pool.submit(self._seek, *one) for one in window.missing], parts)

    def wait(self, running: Running) -> None:
        """Raises what a thread raised."""
        for part in running.parts:
            self._take_back(part)
        for future in running.futures:
            future.result()
        if self._direct is not None:
            self._direct.wait()

    def _take_back(self, part: "Part") -> None:
        """What the crew has not restored is restored here."""
        assert self._crew is not None
        self._crew.wait(part)
        left = {id(target) for target in part.left()}
        self.count(sum(target.entry.size for target in part.targets if id(target) not in left))
        if not left:
            return
        for job in part.jobs:
            uses = [use for use in job.uses if id(use.target) in left]
            if uses:
                self._pool.submit(self.run, msgspec.structs.replace(job, uses=uses)).result()
        for target in part.targets:
            if id(target) in left and not target.entry.content:
                self._finish(target)

    def _submit(self, job: BundleJob) -> Future[None]:
        if self._fetcher is None:
            return self._pool.submit(self.run, job)
        return self._pool.submit(self._run_fetched, job, self._fetcher.order(job))

    def _run_fetched(self, job: BundleJob, fetched: Fetched) -> None:
        try:
            self.run(job, fetched.take)
        finally:
            fetched.release()

    def run(self, job: BundleJob, fetched: Callable[[], Buffer] | None = None) -> None:
        """Unpack a bundle, in this thread; `fetched` gives its stored bytes."""
        room = self._room()
        room.phase = job.uses[0].offset % BLOCK
        try:
            chunks = self._reader.open_bundle(
                job.pack, job.pack_size, job.bundle, verify=False, room=room, fetched=fetched
            )
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

    def _sound(self, job: BundleJob, position: int, chunk: memoryview) -> memoryview | None:
        try:
            return self._reader.true_chunk(job.pack, job.pack_size, job.bundle, position, chunk)
        except Damaged:
            return None

    def _deliver(self, use: Use, chunk: memoryview, room: Room | None = None) -> None:
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
        self, direct: DirectWriter, spare: Space, use: Use, chunk: memoryview, room: Room | None
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

    def _lose(self, job: BundleJob) -> None:
        for use in job.uses:
            self._lose_one(job, use)

    def _lose_one(self, job: BundleJob, use: Use) -> None:
        self._seek(ChunkId(job.bundle.chunks[use.position * ID_SIZE : (use.position + 1) * ID_SIZE]), use)

    def _seek(self, chunk: ChunkId, use: Use) -> None:
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
