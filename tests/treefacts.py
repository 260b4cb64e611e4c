"""What can be known of a tree of files, attribute by attribute, and how two trees differ."""

import fcntl
import hashlib
import os
import stat
import struct
from collections import Counter
from pathlib import Path
from typing import Any

_BLOCK = 65536
_GETFLAGS = 0x80086601
FLAGS = 0x10 | 0x20 | 0x40 | 0x4  # immutable, append-only, nodump, compress

Facts = dict[bytes, dict[str, Any]]


def facts(top: Path | bytes, *, sockets: bool = False) -> Facts:
    """Attributes by path relative to `top`, which is `b"."`; depth and path length do not matter.

    An attribute that an object cannot have is not there; one that it does not have is None.
    """
    found: Facts = {}
    inodes: dict[tuple[int, int], list[bytes]] = {}
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    # one descriptor at a time: a deep tree has more levels than a process may open
    found[b"."] = _of(fd, os.fstat(fd), None)
    stack: list[tuple[bytes, list[bytes]]] = [(b"", _inside(fd))]
    try:
        while stack:
            path, names = stack[-1]
            if not names:
                stack.pop()
                if stack:
                    above = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
                    os.close(fd)
                    fd = above
                continue
            name = names.pop()
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISSOCK(status.st_mode) and not sockets:
                continue
            inner = path + name
            if stat.S_ISDIR(status.st_mode):
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = below
                found[inner] = _of(fd, status, None)
                stack.append((inner + b"/", _inside(fd)))
                continue
            found[inner] = _of(fd, status, name)
            inodes.setdefault((status.st_dev, status.st_ino), []).append(inner)
    finally:
        os.close(fd)
    for names in inodes.values():
        for one in names:
            found[one]["links"] = names
    return found


def _inside(fd: int) -> list[bytes]:
    """Names, the last one first."""
    return sorted(map(os.fsencode, os.listdir(fd)), reverse=True)


def _of(fd: int, status: os.stat_result, name: bytes | None) -> dict[str, Any]:
    kind = stat.S_IFMT(status.st_mode)
    got: dict[str, Any] = {
        "type": kind,
        "mode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
        "mtime": status.st_mtime_ns,
        "ctime": status.st_ctime_ns,
    }
    here = b"/proc/self/fd/%d" % fd
    place = here if name is None else here + b"/" + name
    follow = name is None
    for attribute in os.listxattr(place, follow_symlinks=follow):
        got[f"xattr {attribute}"] = os.getxattr(place, attribute, follow_symlinks=follow)
    if kind == stat.S_IFLNK:
        got["target"] = os.readlink(name or b"", dir_fd=fd)
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        got["device"] = status.st_rdev
    elif kind == stat.S_IFREG:
        got["size"] = status.st_size
        opened = os.open(name or b"", os.O_RDONLY | os.O_NOATIME | os.O_NOFOLLOW, dir_fd=fd)
        try:
            got["flags"] = _flags(opened)
            got["data"], got["content"] = _content(opened, status.st_size)
        finally:
            os.close(opened)
    elif kind == stat.S_IFDIR:
        got["flags"] = _flags(fd)
    return got


def _flags(fd: int) -> int | None:
    raw = bytearray(8)
    try:
        fcntl.ioctl(fd, _GETFLAGS, raw)
    except OSError:
        return None
    return int(struct.unpack_from("=I", raw)[0]) & FLAGS


def _content(fd: int, size: int) -> tuple[list[tuple[int, int]], str]:
    """Where there is data, and a hash of it that holes and stored zeros do not tell apart."""
    extents = []
    digest = hashlib.blake2b()
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(fd, start, os.SEEK_HOLE)
        if extents and extents[-1][1] == start:
            extents[-1] = extents[-1][0], at
        else:
            extents.append((start, at))
        while start < at:
            block = os.pread(fd, min(_BLOCK - start % _BLOCK, at - start), start)
            if block.strip(b"\0"):
                digest.update(b"%d %d " % (start, len(block)) + block)
            start += len(block)
    return extents, digest.hexdigest()


def differences(
    one: Facts, other: Facts, *, ignore: frozenset[str] = frozenset(), ctime: bool = False
) -> list[str]:
    """Empty if they are the same; else a line for each attribute of each path.

    The time of an inode's last change cannot be set: only what shows files may be asked for it.
    """
    ignore |= frozenset() if ctime else {"ctime"}
    found = []
    for path in sorted(one.keys() | other.keys()):
        if path not in one or path not in other:
            found.append(f"{path!r} is only in the {'first' if path in one else 'second'}")
            continue
        for name in sorted(one[path].keys() | other[path].keys()):
            before, after = one[path].get(name), other[path].get(name)
            if before != after and name not in ignore:
                found.append(f"{path[-80:]!r}: {name}: {before!r} became {after!r}"[:400])
    return found


def compared(tree: Facts) -> Counter[str]:
    """How often each attribute was looked at: so that a test cannot pass by comparing nothing."""
    count: Counter[str] = Counter()
    for one in tree.values():
        for name, value in one.items():
            if name == "flags" and not value:
                continue
            if name == "links" and len(value) < 2:
                continue
            if (
                name == "data"
                and (not value or value == [(0, value[-1][1])])
                and one["size"] <= (value[-1][1] if value else 0)
            ):
                continue  # no hole
            count[name.split(" ")[0]] += 1
    return count
