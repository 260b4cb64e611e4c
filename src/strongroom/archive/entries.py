"""The entry of a tree: one file, folder, link or node, with all its metadata.

Specified in docs/format.md, "Trees".
"""

import stat

import msgspec

from strongroom.ids import ID_SIZE, ChunkId

HOLE = ChunkId(bytes(ID_SIZE))
"""Stands in a content list for zeros that are stored nowhere (a sparse file's hole)."""


class Entry(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """Names and attributes are the file system's own bytes; times are ns since the epoch."""

    name: bytes  # one path component; empty only for the root of a tree
    mode: int  # st_mode, the file type included
    uid: int
    gid: int
    user: str | None
    group: str | None
    mtime: int
    size: int  # of a regular file: bytes of content
    content: bytes  # chunk ids, concatenated: a file's content, or a folder's tree segments
    sizes: list[int] | None = None  # of each content chunk, if there are several or there is a hole
    target: bytes | None = None  # of a symlink
    rdev: int | None = None  # of a device node: st_rdev
    link: bytes | None = None  # the same for all names of one inode within an archive
    ctime: int | None = None
    atime: int | None = None
    birthtime: int | None = None
    xattrs: dict[bytes, bytes] | None = None
    acl_access: bytes | None = None  # POSIX.1e short text form with numeric ids appended
    acl_default: bytes | None = None
    flags: int | None = None  # FS_IOC_GETFLAGS, masked to what can be restored
    implied: bool = False  # a folder that only leads to what was backed up: no metadata of its own

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_regular(self) -> bool:
        return stat.S_ISREG(self.mode)

    def chunks(self) -> list[tuple[ChunkId, int]]:
        """Content as (chunk id, size in bytes) pairs, in order."""
        if self.sizes is None and len(self.content) <= ID_SIZE:  # most files
            return [(ChunkId(self.content), self.size)] if self.content else []
        ids = [ChunkId(self.content[at : at + ID_SIZE]) for at in range(0, len(self.content), ID_SIZE)]
        sizes = self.sizes if self.sizes is not None else [self.size] * len(ids)
        return list(zip(ids, sizes, strict=True))


def without_holes(joined: bytes) -> bytes:
    """Of concatenated chunk ids those that are stored."""
    ids = [joined[at : at + ID_SIZE] for at in range(0, len(joined), ID_SIZE)]
    return b"".join([one for one in ids if one != HOLE])
