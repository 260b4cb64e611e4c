"""Which restored file has the content of another one, so that both can share their blocks.

Whoever may write to the one could change what the other gets, between the two: so they share only
where nobody but their common owner may write to either.
"""

import os

import msgspec

from strongroom.archive.entries import Entry
from strongroom.archive.platform import cloning
from strongroom.archive.targets import FileTarget, Folder, Raced, reopen_below
from strongroom.crypto import hashing

FROM = 64 * 1024
"""Bytes of the smallest file that is cloned: a block or two are not worth the calls. Chosen, not measured."""

_MOST = 100_000  # contents that are remembered
_OTHERS_WRITE = 0o022
_encode = msgspec.msgpack.Encoder().encode


class _Place(msgspec.Struct):
    path: bytes  # in the destination
    identity: tuple[int, int]
    ctime: int  # ns, when it was complete


class Duplicates:
    """For one thread and one destination, whose file system can clone."""

    def __init__(self) -> None:
        self._places: dict[bytes, _Place | None] = {}  # None: it is under way

    def is_duplicate(self, entry: Entry) -> bool:
        """Of a file that is restored already, or under way; else this one is remembered as the first."""
        key = _key(entry)
        if key is None:
            return False
        if key in self._places:
            return True
        if len(self._places) < _MOST:
            self._places[key] = None
        return False

    def note(self, target: FileTarget, path: bytes) -> None:
        """A file is complete, and lies at `path` in the destination."""
        if target.entry.size < FROM or target.error is not None or target.damaged:
            return
        key = _key(target.entry)
        if key in self._places and self._places[key] is None and target.identity is not None:
            self._places[key] = _Place(path, target.identity, target.ctime)

    def clone(self, destination: Folder, target: FileTarget) -> bool:
        """Whether the target has its content now. What cannot be cloned is to be restored as any other."""
        key = _key(target.entry)
        place = self._places.get(key) if key is not None else None
        if place is None:
            return False
        try:
            source = reopen_below(destination, place.path, place.identity)
            try:
                cloning.clone(source, target.open())
                status = os.fstat(source)
                if (status.st_ctime_ns, status.st_size) != (place.ctime, target.entry.size):
                    raise Raced(None, "the file was changed while others were restored")
            finally:
                os.close(source)
        except OSError:
            if target.fd >= 0:
                os.ftruncate(target.fd, 0)
            return False
        return True


def _key(entry: Entry) -> bytes | None:
    """The same of files that may share; None of those that may not."""
    if entry.size < FROM or entry.link is not None or entry.acl_access is not None:
        return None
    if entry.mode & _OTHERS_WRITE:
        return None
    same = entry.content, entry.sizes, entry.size, entry.mode, entry.uid, entry.gid, entry.user, entry.group
    return hashing.plain_hash(_encode(same))[:16]
