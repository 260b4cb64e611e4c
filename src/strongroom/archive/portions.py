"""What passes between a restore and the processes that help it: small files of a few bundles.

Both ends are the same program, on the same machine. A message is its length and its bytes; the descriptors
of the folders come with the length.
"""

import socket
from collections.abc import Iterable, Iterator

import msgspec

from strongroom.archive.entries import Entry
from strongroom.archive.targets import FileTarget, Folder
from strongroom.archive.window import BundleJob, Use
from strongroom.crypto.sealing import SealedSession
from strongroom.ids import PackId
from strongroom.repository.packs import BundleEntry

_MOST_FILES = 256
_MOST_FOLDERS = 64  # the system passes on 253 descriptors at once (`SCM_MAX_FD`)
_MOST_BYTES = 4 << 20  # after them it takes no more bundles
_LENGTH = 4


class Share(msgspec.Struct, array_like=True):
    """What a portion needs of a bundle."""

    pack: PackId
    pack_size: int
    bundle: BundleEntry
    uses: list[tuple[int, int]]  # position of the chunk in the bundle, number of the file that it makes
    given: "Given | None" = None  # else it is to be fetched


class Given(msgspec.Struct, array_like=True):
    """A bundle as it is stored, and what it is opened with."""

    sessions: list[SealedSession]  # of its pack
    stored: bytes


class Portion(msgspec.Struct, array_like=True):
    """Files of one chunk each, and empty ones, which are in no share."""

    folders: list[bytes]  # paths in the archive
    files: list[tuple[int, Entry]]  # number of its folder
    shares: list[Share]


class Outcome(msgspec.Struct, array_like=True):
    """How a portion went. Files that are `left` are for the other one to restore, from the beginning."""

    left: list[int]
    made: list[tuple[int, tuple[int, int], int]]  # of large files: number, identity, ctime in ns
    shortfalls: dict[str, tuple[int, bytes]]


class Part:
    """A portion, as the one who gives it away knows it."""

    def __init__(self) -> None:
        self.portion = Portion([], [], [])
        self.descriptors: list[int] = []  # of its folders
        self.targets: list[FileTarget] = []
        self.jobs: list[BundleJob] = []
        self.outcome: Outcome | None = None
        self.bytes = 0  # of its bundles, as stored
        self._numbers: dict[int, int] = {}  # of the folders, by descriptor

    def has_room_for(self, *targets: FileTarget) -> bool:
        if len(self.targets) + len(targets) > _MOST_FILES:
            return False
        return len(self._numbers.keys() | {one.folder.fd for one in targets}) <= _MOST_FOLDERS

    def add(self, target: FileTarget, job: BundleJob | None = None, use: Use | None = None) -> None:
        """A file; without a use of a bundle it is empty."""
        if job is not None and use is not None:
            if not self.jobs or self.jobs[-1].bundle is not job.bundle:
                self.jobs.append(msgspec.structs.replace(job, uses=[]))
                self.bytes += job.bundle.length
                self.portion.shares.append(Share(job.pack, job.pack_size, job.bundle, []))
            self.jobs[-1].uses.append(use)
            self.portion.shares[-1].uses.append((use.position, len(self.targets)))
        self.portion.files.append((self._number(target.folder), target.entry))
        self.targets.append(target)

    def _number(self, folder: Folder) -> int:
        number = self._numbers.setdefault(folder.fd, len(self.descriptors))
        if number == len(self.descriptors):
            self.descriptors.append(folder.fd)
            self.portion.folders.append(folder.path)
        return number

    def left(self) -> list[FileTarget]:
        """The files that are not restored."""
        return self.targets if self.outcome is None else [self.targets[one] for one in self.outcome.left]


def divided(jobs: Iterable[BundleJob], empty: Iterable[FileTarget]) -> Iterator[Part]:
    """Each bundle in as few parts as possible, and for the rest in the order that is given."""
    part = Part()
    for job in jobs:
        whole = part.bytes < _MOST_BYTES and part.has_room_for(*(use.target for use in job.uses))
        if part.targets and not whole:
            yield part
            part = Part()
        for use in job.uses:
            if not part.has_room_for(use.target):
                yield part
                part = Part()
            part.add(use.target, job, use)
    for target in empty:
        if not part.has_room_for(target):
            yield part
            part = Part()
        part.add(target)
    if part.targets:
        yield part


def framed(message: Portion | Outcome) -> bytes:
    packed = msgspec.msgpack.encode(message)
    return len(packed).to_bytes(_LENGTH, "little") + packed


def receive(end: socket.socket) -> tuple[bytearray, list[int]]:
    """A message, and the descriptors that came with it, which are the caller's to close. Raises OSError."""
    length, descriptors, _, _ = socket.recv_fds(end, _LENGTH, _MOST_FOLDERS)
    if len(length) < _LENGTH:
        raise ConnectionResetError
    packed = bytearray(int.from_bytes(length, "little"))
    left = memoryview(packed)
    while left:
        got = end.recv_into(left)
        if not got:
            raise ConnectionResetError
        left = left[got:]
    return packed, descriptors
