"""How a folder looks: what its listing shows of all that is in it, in one digest."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

import msgspec

from strongroom.archive.options import ScanOptions
from strongroom.crypto import hashing

if TYPE_CHECKING:
    from strongroom.archive.crowd import Child
    from strongroom.archive.frames import Subfolder

_ROWS = 8192  # of a folder's listing that are encoded at once
_encode = msgspec.msgpack.Encoder().encode


class Looks(msgspec.Struct, frozen=True, array_like=True):
    """Equal for two looks between which nothing in the folder changed, its subfolders' insides excepted."""

    digest: bytes
    owners: tuple[tuple[int, int], ...]
    """(uid, gid) of all that is inside: their names may change by themselves."""


class Looker:
    """Tells how folders look to a backup with these options."""

    def __init__(self, options: ScanOptions) -> None:
        self._inode = options.files_cache.inode
        self._with_atime = options.attributes.atime
        # what changes a tree without any change of the file system
        choices = options.attributes, options.read_special, options.exclude_nodump
        self._fingerprint = hashing.plain_hash(repr(choices).encode())

    def look(self, files: Iterable["Child"], folders: Iterable["Subfolder"]) -> Looks:
        owners: set[tuple[int, int]] = set()
        rows = chain((self._fingerprint,), self._files(files, owners), self._folders(folders, owners))
        batches = iter(lambda: list(islice(rows, _ROWS)), [])
        return Looks(hashing.hash_in_pieces(map(_encode, batches))[:16], tuple(sorted(owners)))

    def _files(self, files: Iterable["Child"], owners: set[tuple[int, int]]) -> Iterator[object]:
        inode, with_atime = self._inode, self._with_atime
        for name, status in files:
            linked = status.st_nlink > 1
            owner = uid, gid = status.st_uid, status.st_gid
            owners.add(owner)
            yield (
                name,
                status.st_mode,
                uid,
                gid,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
                status.st_ino if inode or linked else 0,
                status.st_dev if linked else 0,
                status.st_atime_ns if with_atime else 0,
            )

    def _folders(self, folders: Iterable["Subfolder"], owners: set[tuple[int, int]]) -> Iterator[object]:
        for folder in folders:
            own = folder.status
            if own is None:
                yield folder.name
                continue
            owners.add((own.st_uid, own.st_gid))
            yield (
                folder.name,
                own.st_mode,
                own.st_uid,
                own.st_gid,
                own.st_mtime_ns,
                own.st_ctime_ns,
                own.st_atime_ns if self._with_atime else 0,
            )
