"""A Borg repository in a folder of this machine, read without a lock and without a trace."""

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice

from strongroom.borg.config import read_config
from strongroom.borg.hashindex import HashIndex
from strongroom.borg.objects import Spot
from strongroom.borg.scratch import Scratch
from strongroom.borg.segments import ADVICE, ATTIC_MAGIC, DELETE, MAGIC, PUT, LogEntry, Segments
from strongroom.errors import ChunkMissing, Damaged, LockTimeout, NotARepository
from strongroom.ids import ChunkId, PackId

_INDEX = re.compile(r"index\.(\d{1,10})")
_BATCH = 50_000  # entries in one write
_LOCK_PAUSE = 0.1  # seconds between two looks at a lock


class FolderObjects:
    """`Objects` of a repository that lies on this machine."""

    def __init__(self, folder: str, scratch: Scratch, lock_wait: float) -> None:
        """`lock_wait` is how many seconds to wait for a Borg that writes.

        Raises `RepositoryMissing`, `NotARepository`, `VersionUnknown`, `LockTimeout`, `Damaged`.
        """
        self._folder = folder
        self._scratch = scratch
        self._config = read_config(folder)
        self.id = self._config.id
        _wait_for_writer(folder, lock_wait)
        self._segments = Segments(folder)
        magic = self._segments.magic()
        if magic == ATTIC_MAGIC:
            raise NotARepository(
                f"{folder} is a repository of Attic. Upgrade a copy of it with `borg upgrade` of Borg 1.x."
            )
        if magic not in (b"", MAGIC):
            raise Damaged(f"The first segment of {folder} does not begin like one. {ADVICE}")
        self._commit = self._segments.last_commit()
        self._index = self._open_index()
        self._scanning = threading.Lock()
        self._scanned = False
        self.damage: list[str] = []  # what a scan could not read
        if self._index is None:
            self._scan()

    def _open_index(self) -> HashIndex | None:
        """Borg's own, if it is of the last transaction: an older one lacks what came since."""
        found = [int(match[1]) for name in os.listdir(self._folder) if (match := _INDEX.fullmatch(name))]
        if found and max(found) > (-1 if self._commit is None else self._commit):
            raise Damaged(
                f"The last transaction of {self._folder}, number {max(found)}, was complete, and its end is "
                f"damaged or gone. {ADVICE}"
            )
        if not found or max(found) != self._commit:
            return None
        try:
            return HashIndex(os.path.join(self._folder, f"index.{self._commit}"))
        except (Damaged, OSError):  # the segments tell the same, only slower
            return None

    def _scan(self) -> None:
        """Work out from the segments where everything is, as Borg does where its index is lost."""
        for number in self._segments.numbers():
            if self._commit is None or number > self._commit:
                break
            entries = self._segments.entries(number)
            try:
                while batch := list(islice(entries, _BATCH)):
                    latest = {one.key: one for one in batch if one.key}
                    self._scratch.put_all(
                        "spots",
                        [
                            (key, number.to_bytes(4, "big") + one.offset.to_bytes(4, "big"))
                            for key, one in sorted(latest.items())
                            if one.tag == PUT
                        ],
                    )
                    self._scratch.delete_all(
                        "spots", [key for key, one in latest.items() if one.tag == DELETE]
                    )
            except Damaged as error:
                self.damage.append(str(error))
        self._scanned = True

    def key(self) -> bytes:
        return self._config.key

    def get(self, chunk: ChunkId) -> bytes:
        spot = self.spot(chunk)
        if spot is None:
            raise ChunkMissing(f"Object {chunk.hex()} is not in this repository. {ADVICE}")
        try:
            return self._read(spot, chunk)
        except Damaged:
            if self._scanned:
                raise
            # The index may be what is damaged, not the segment.
            again = self._scanned_spot(chunk)
            if again is None or again == spot:
                raise
            return self._read(again, chunk)

    def expect(self, chunks: Iterable[ChunkId]) -> None:
        """There is nothing to hurry."""

    def get_many(self, chunks: Iterable[ChunkId]) -> Iterator[bytes]:
        for chunk in chunks:
            yield self.get(chunk)

    def _read(self, spot: Spot, chunk: ChunkId) -> bytes:
        return self._segments.read(int.from_bytes(spot.pack, "big"), spot.offset, chunk)

    def spot(self, chunk: ChunkId) -> Spot | None:
        found = None if self._index is None else self._index.get(chunk)
        if found is None:
            return self._scanned_spot(chunk)
        return _spot(*found)

    def _scanned_spot(self, chunk: ChunkId) -> Spot | None:
        with self._scanning:
            if not self._scanned:
                self._scan()
        stored = self._scratch.get("spots", chunk)
        if stored is None:
            return None
        return _spot(int.from_bytes(stored[:4], "big"), int.from_bytes(stored[4:], "big"))

    def holds(self, chunk: ChunkId) -> bool:
        return self.spot(chunk) is not None

    def verify(self) -> Iterator[str]:
        """Each entry of the log, also those that later ones took the place of."""
        for number in self._segments.numbers():
            if self._commit is None or number > self._commit:
                return
            try:
                for entry in self._segments.entries(number):
                    yield self._verified(number, entry) if entry.tag == PUT else ""
            except Damaged as error:
                yield str(error)

    def _verified(self, number: int, entry: LogEntry) -> str:
        try:
            self._segments.read(number, entry.offset, entry.key)
        except Damaged as error:
            return str(error)
        return ""

    def ids(self) -> Iterator[ChunkId]:
        if self._index is None or self._scanned:
            for key, _ in self._scratch.items("spots"):
                yield ChunkId(key)
            return
        for key, _, _ in self._index.items():
            yield ChunkId(key)

    def count(self) -> int:
        if self._index is None or self._scanned:
            return self._scratch.count("spots")
        return int(self._index.entries)

    def stored_bytes(self) -> int:
        return self._segments.stored_bytes()

    def close(self) -> None:
        self._segments.close()
        if self._index is not None:
            self._index.close()


def _spot(segment: int, offset: int) -> Spot:
    return Spot(PackId(segment.to_bytes(32, "big")), offset)


def _wait_for_writer(folder: str, seconds: float) -> None:
    """Borg's exclusive lock is a folder that its writer makes. Shared ones are no hindrance."""
    lock = os.path.join(folder, "lock.exclusive")
    until = time.monotonic() + seconds
    while os.path.lexists(lock):
        if time.monotonic() >= until:
            raise LockTimeout(
                f"The Borg repository {folder} is locked by a Borg that writes to it. Wait until it has "
                "ended, or use --lock-wait; if none runs any more, remove the lock with `borg break-lock`."
            )
        time.sleep(_LOCK_PAUSE)
