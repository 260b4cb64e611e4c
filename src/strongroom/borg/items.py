"""An item of a Borg archive as an entry of our trees.

Borg 1.4 documentation, internals, "Items". What no honest Borg writes is refused.
"""

import stat
from typing import Any

import msgspec

from strongroom.archive import trees
from strongroom.archive.entries import Entry
from strongroom.archive.platform import flags
from strongroom.crypto import hashing
from strongroom.errors import Damaged
from strongroom.ids import ID_SIZE

_MAX_CHUNKS = 5_000_000  # of one file: 20 MiB of Borg's metadata
_LINK_SIZE = 8


class Content(msgspec.Struct, frozen=True):
    """What of an item is in chunks."""

    ids: bytes  # concatenated
    sizes: list[int]
    stored: list[int]  # bytes that each takes in the repository


NOTHING = Content(b"", [], [])


def parts_of(item: dict[bytes, Any]) -> list[bytes]:
    """The components of an item's path; none for the root. Raises `Damaged`."""
    return split_path(item.get(b"path"))


def split_path(path: object) -> list[bytes]:
    if not isinstance(path, bytes) or not path:
        raise Damaged("An item has no path.")
    if path == b".":
        return []
    parts = path.split(b"/")
    for part in parts:
        if part in (b"", b".", b"..") or b"\0" in part or len(part) > trees.MAX_NAME // 4:
            raise Damaged(f"An item has the path {path[:200]!r}, which no file can have.")
    return parts


def link_of(path: bytes) -> bytes:
    """The group of a hard link, by the path of its first name."""
    return hashing.plain_hash(path)[:_LINK_SIZE]


def hard_link_source(item: dict[bytes, Any]) -> bytes | None:
    """The path of the first name, if the item is a further name of it."""
    source, mode = item.get(b"source"), item.get(b"mode")
    if source is None or not isinstance(mode, int) or stat.S_ISLNK(mode):
        return None
    if not isinstance(source, bytes):
        raise Damaged("An item has an impossible source.")
    return source


def content_of(item: dict[bytes, Any], name: bytes = b"chunks") -> Content:
    """Raises `Damaged`."""
    chunks = item.get(name)
    if chunks is None:
        return NOTHING
    if not isinstance(chunks, list) or len(chunks) > _MAX_CHUNKS:
        raise Damaged("An item has an impossible list of chunks.")
    ids, sizes, stored = [], [], []
    for one in chunks:
        if not isinstance(one, list) or len(one) < 2:
            raise Damaged("An item has an impossible chunk.")
        chunk, size, taken = one[0], one[1], one[2] if len(one) > 2 else 0
        if (
            not isinstance(chunk, bytes)
            or len(chunk) != ID_SIZE
            or not _is_count(size)
            or not _is_count(taken)
        ):
            raise Damaged("An item has an impossible chunk.")
        if size:
            ids.append(chunk)
            sizes.append(size)
            stored.append(taken)
    return Content(b"".join(ids), sizes, stored)


def entry_of(item: dict[bytes, Any], name: bytes, content: Content) -> Entry:
    """Raises `Damaged`."""
    mode = _number(item, b"mode", 0)
    kind = stat.S_IFMT(mode)
    is_file, is_link = kind == stat.S_IFREG, kind == stat.S_IFLNK
    size = sum(content.sizes) if is_file else 0
    mtime = _time(item, b"mtime")
    if mtime is None:
        raise Damaged("An item has no time.")
    entry = Entry(
        name=name,
        mode=mode,
        uid=_number(item, b"uid", 0),
        gid=_number(item, b"gid", 0),
        user=_text(item.get(b"user")),
        group=_text(item.get(b"group")),
        mtime=mtime,
        size=size,
        content=content.ids if is_file else b"",
        sizes=content.sizes if is_file and len(content.sizes) > 1 else None,
        target=item.get(b"source") if is_link else None,
        rdev=_number(item, b"rdev", 0) if kind in (stat.S_IFCHR, stat.S_IFBLK) else None,
        ctime=_time(item, b"ctime"),
        atime=_time(item, b"atime"),
        birthtime=_time(item, b"birthtime"),
        xattrs=_xattrs(item.get(b"xattrs")),
        acl_access=_acl(item, b"acl_access"),
        acl_default=_acl(item, b"acl_default"),
        flags=_flags(item),
    )
    if name:
        trees.check_entry(entry, "An item")
    return entry


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 32


def _number(item: dict[bytes, Any], name: bytes, default: int) -> int:
    value = item.get(name)
    if value is None:
        return default
    if not isinstance(value, int):
        raise Damaged(f"An item has an impossible {name.decode()}.")
    return value


def _time(item: dict[bytes, Any], name: bytes) -> int | None:
    value = item.get(name)
    if isinstance(value, bytes) and len(value) <= 16:  # what does not fit into msgpack's own numbers
        value = int.from_bytes(value, "little", signed=True)
    if value is not None and not isinstance(value, int):
        raise Damaged(f"An item has an impossible {name.decode()}.")
    return value


def _text(value: object) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) and value else None


def _xattrs(value: object) -> dict[bytes, bytes] | None:
    if value is None or value == {}:
        return None
    if not isinstance(value, dict):
        raise Damaged("An item has impossible attributes.")
    found = {}
    for name, content in value.items():
        if content is not None and not isinstance(content, bytes):
            raise Damaged("An item has impossible attributes.")
        found[name] = content or b""  # an empty value is stored as none
    return found


def _acl(item: dict[bytes, Any], name: bytes) -> bytes | None:
    value = item.get(name)
    if value is None:
        return None
    if not isinstance(value, bytes):
        raise Damaged(f"An item has an impossible {name.decode()}.")
    return value or None


def _flags(item: dict[bytes, Any]) -> int | None:
    return flags.from_bsd(_number(item, b"bsdflags", 0)) or None
