"""Entries as members of a tar archive.

Formats: `GNU` (GNU tar's own: what classic tar cannot say, long names and large numbers aside, is left
out), `PAX` (POSIX.1-2001 extended headers: everything that an entry has), `BORG` (PAX, and the item as
Borg 2 exports it, in BORG.item.meta). Keys of extended headers beyond POSIX: SCHILY.xattr.*,
SCHILY.acl.access and SCHILY.acl.default (star, GNU tar, bsdtar), LIBARCHIVE.creationtime (bsdtar),
GNU.sparse.* (GNU tar's format 1.0), STRONGROOM.flags (file flags in decimal).
"""

import os
import stat
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from strongroom.archive.borg_item import BORG_ITEM, encode_item
from strongroom.archive.entries import HOLE, Entry
from strongroom.archive.pieces import Out

TarFormat = Literal["GNU", "PAX", "BORG"]

XATTR = b"SCHILY.xattr."
"""And the attribute's name, in which `%` and `=` are `%25` and `%3D`, as GNU tar has it."""

BLOCK = 512
_RECORD = 20 * BLOCK  # archives are filled up to a multiple of this
_GATHER = 256 * 1024  # bytes; with each write the interpreter's lock changes hands
_TYPES = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}
_LINK = b"1"
_EXTENDED = Entry(b"", stat.S_IFREG | 0o644, 0, 0, None, None, 0, 0, b"")
_MOST_MAP = 1_000_000  # stretches of data in a sparse member; more are written as they read


class TarWriter:
    """Writes members one after the other. `content` of `add` must be as long as the entry says."""

    def __init__(self, out: Out, form: TarFormat) -> None:
        self._out = out
        self._form = form
        self._written = 0
        self._gathered: list[bytes | memoryview] = []
        self._size = 0  # of what was gathered

    def add(self, path: bytes, entry: Entry, content: Iterable[memoryview] = ()) -> None:
        """`content`: of a regular file, from its beginning to its end. Raises what it raises, and OSError."""
        extents = _data(entry) if self._form != "GNU" else None
        if extents is None:
            self._header(path, entry, entry.size)
            for piece in content:
                self._write(piece)
            self._pad(entry.size)
            return
        table = b"\n".join(b"%d" % number for number in _table(extents, entry.size)) + b"\n"
        table += bytes(-len(table) % BLOCK)
        size = len(table) + sum(length for _, length in extents)
        self._header(path, entry, size, sparse=True)
        self._write(table)
        self._data_alone(extents, content)
        self._pad(size)

    def add_link(self, path: bytes, entry: Entry, first: bytes) -> None:
        """A further name of what was added as `first`."""
        self._header(path, entry, 0, first=first)

    def finish(self) -> None:
        self._write(bytes(2 * BLOCK))
        self._write(bytes(-self._written % _RECORD))
        self._flush()

    # --- headers ---

    def _header(
        self, path: bytes, entry: Entry, size: int, *, first: bytes | None = None, sparse: bool = False
    ) -> None:
        name = path + b"/" if entry.is_dir else path
        target = first if first is not None else entry.target or b""
        kind = _LINK if first is not None else _TYPES[stat.S_IFMT(entry.mode)]
        if self._form == "GNU":
            if len(target) > 100:
                self._long_name(b"K", target)
            if len(name) > 100:
                self._long_name(b"L", name)
            self._write(_block(name, entry, size, kind, target, gnu=True))
            return
        header = _block(name, entry, size, kind, target, gnu=False)
        records = _records(name, entry, size, target)
        if sparse:
            records |= {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0"}
            records |= {b"GNU.sparse.name": name, b"GNU.sparse.realsize": b"%d" % entry.size}
            records.pop(b"path", None)
        if self._form == "BORG":
            records[b"BORG.item.version"] = b"1"
            records[BORG_ITEM.encode()] = encode_item(path, entry)
        if records:
            body = b"".join(_record(key, value) for key, value in records.items())
            about = _block(
                b"PaxHeaders/" + name[-80:].strip(b"/"), _EXTENDED, len(body), b"x", b"", gnu=False
            )
            header = b"".join((about, body, bytes(-len(body) % BLOCK), header))
        self._write(header)

    def _long_name(self, kind: bytes, text: bytes) -> None:
        holder = Entry(b"", 0, 0, 0, None, None, 0, 0, b"")
        self._write(_block(b"././@LongLink", holder, len(text) + 1, kind, b"", gnu=True))
        self._write(text + b"\0")
        self._pad(len(text) + 1)

    # --- content ---

    def _data_alone(self, extents: list[tuple[int, int]], content: Iterable[memoryview]) -> None:
        """Of what is read, the stretches that are data."""
        at, number = 0, 0
        for piece in content:
            end = at + len(piece)
            while number < len(extents) and extents[number][0] < end:
                start, length = extents[number]
                if start + length > at:
                    self._write(piece[max(0, start - at) : start + length - at])
                if start + length > end:
                    break
                number += 1
            at = end

    def _write(self, data: bytes | memoryview) -> None:
        self._written += len(data)
        if len(data) >= _GATHER:
            self._flush()
            self._out.write(data)
        elif len(data):
            self._gathered.append(data)
            self._size += len(data)
            if self._size >= _GATHER:
                self._flush()

    def _flush(self) -> None:
        if self._gathered:
            self._out.write(b"".join(self._gathered))
            self._gathered.clear()
            self._size = 0

    def _pad(self, size: int) -> None:
        self._write(bytes(-size % BLOCK))


def _data(entry: Entry) -> list[tuple[int, int]] | None:
    """The stretches of a sparse file that are no hole, as (offset, length); None for others."""
    if not entry.is_regular or entry.sizes is None:
        return None
    found: list[tuple[int, int]] = []
    at, holes = 0, False
    for chunk, size in entry.chunks():
        if chunk == HOLE:
            holes = True
        elif found and sum(found[-1]) == at:
            found[-1] = found[-1][0], found[-1][1] + size
        else:
            found.append((at, size))
        at += size
    return found if holes and len(found) < _MOST_MAP else None


def _table(extents: list[tuple[int, int]], size: int) -> list[int]:
    shown = extents if extents and sum(extents[-1]) == size else [*extents, (size, 0)]
    return [len(shown), *(number for extent in shown for number in extent)]


def _block(name: bytes, entry: Entry, size: int, kind: bytes, target: bytes, *, gnu: bool) -> bytes:
    """The 512 bytes in front of each member (POSIX.1-1988 ustar, or GNU tar's variant of it)."""
    device = entry.rdev is not None
    major = os.major(entry.rdev) if entry.rdev is not None else 0
    minor = os.minor(entry.rdev) if entry.rdev is not None else 0
    block: bytes = b"".join((
        name[:100].ljust(100, b"\0"),
        _number(stat.S_IMODE(entry.mode), 8, gnu=gnu),
        _number(entry.uid, 8, gnu=gnu),
        _number(entry.gid, 8, gnu=gnu),
        _number(size, 12, gnu=gnu),
        _number(entry.mtime // 1_000_000_000, 12, gnu=gnu),
        b" " * 8,
        kind,
        target[:100].ljust(100, b"\0"),
        b"ustar  \0" if gnu else b"ustar\x0000",
        _owner(entry.user),
        _owner(entry.group),
        _number(major, 8, gnu=gnu) if device else bytes(8),
        _number(minor, 8, gnu=gnu) if device else bytes(8),
    )).ljust(BLOCK, b"\0")  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _number(value: int, width: int, *, gnu: bool) -> bytes:
    """Octal; what does not fit is base 256 for GNU tar, and elsewhere in an extended header."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    if not gnu:
        return b"%0*o\0" % (width - 1, 0)
    if value >= 0:
        return b"\x80" + value.to_bytes(width - 1, "big")
    return value.to_bytes(width, "big", signed=True)


def _owner(name: str | None) -> bytes:
    return _encoded(name)[:31].ljust(32, b"\0")


@lru_cache(maxsize=256)
def _encoded(owner: str | None) -> bytes:
    return os.fsencode(owner or "")


# --- extended headers ---


def _records(name: bytes, entry: Entry, size: int, target: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    owners = (b"uname", _encoded(entry.user)), (b"gname", _encoded(entry.group))
    if not all(map(_is_text, (name, target, *(owner for _, owner in owners)))):
        found[b"hdrcharset"] = b"BINARY"  # else POSIX says UTF-8, and bsdtar complains
    if len(name) > 100 or not name.isascii():
        found[b"path"] = name
    if len(target) > 100 or not target.isascii():
        found[b"linkpath"] = target
    for key, value, width in ((b"uid", entry.uid, 8), (b"gid", entry.gid, 8), (b"size", size, 12)):
        if value >= 8 ** (width - 1):
            found[key] = b"%d" % value
    found |= {key: owner for key, owner in owners if len(owner) > 31 or not owner.isascii()}
    if entry.mtime % 1_000_000_000 or not 0 <= entry.mtime // 1_000_000_000 < 8**11:
        found[b"mtime"] = seconds(entry.mtime)
    for key, time in (
        (b"atime", entry.atime),
        (b"ctime", entry.ctime),
        (b"LIBARCHIVE.creationtime", entry.birthtime),
    ):
        if time is not None:
            found[key] = seconds(time)
    for attribute, content in (entry.xattrs or {}).items():
        found[XATTR + attribute.replace(b"%", b"%25").replace(b"=", b"%3D")] = content
    if entry.acl_access is not None:
        found[b"SCHILY.acl.access"] = entry.acl_access
    if entry.acl_default is not None:
        found[b"SCHILY.acl.default"] = entry.acl_default
    if entry.flags:
        found[b"STRONGROOM.flags"] = b"%d" % entry.flags
    return found


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def seconds(time: int) -> bytes:
    """Nanoseconds as a decimal number of seconds, without a loss."""
    whole, rest = divmod(abs(time), 1_000_000_000)
    sign = b"-" if time < 0 else b""
    return sign + (b"%d.%09d" % (whole, rest) if rest else b"%d" % whole)


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE`, where the length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while length != len(rest) + len(b"%d" % length):
        length = len(rest) + len(b"%d" % length)
    return b"%d" % length + rest
