"""The item by which Borg 2 describes a file in a tar archive: MessagePack, in the header BORG.item.meta.

Compared with what Borg 2.0.0b21 writes and reads. Times are MessagePack timestamps, flags as in chflags(2).
"""

import base64
import os
import struct
from typing import Any

import msgspec

from strongroom.archive.entries import Entry
from strongroom.archive.platform.flags import from_bsd, to_bsd
from strongroom.malformed import MALFORMED

BORG_ITEM = "BORG.item.meta"

_TIMESTAMP = -1  # MessagePack's extension type
_Ext = msgspec.msgpack.Ext
_Time = int | _Ext


class BorgItem(msgspec.Struct):
    """What of it a tar header has no other place for, or says less exactly."""

    mtime: _Time | None = None
    atime: _Time | None = None
    ctime: _Time | None = None
    birthtime: _Time | None = None
    xattrs: dict[bytes, bytes | None] | None = None
    acl_access: bytes | None = None
    acl_default: bytes | None = None
    bsdflags: int | None = None

    @property
    def flags(self) -> int:
        return from_bsd(self.bsdflags or 0)

    def times(self) -> dict[str, int]:
        """Those that it has, in nanoseconds. Raises `ValueError`."""
        found = {name: getattr(self, name) for name in ("mtime", "atime", "ctime", "birthtime")}
        return {name: _nanoseconds(time) for name, time in found.items() if time is not None}


_decoder = msgspec.msgpack.Decoder(BorgItem)


def decode_item(text: str) -> BorgItem:
    """Raises `ValueError`."""
    try:
        return _decoder.decode(base64.b64decode(text, validate=True))
    except MALFORMED as error:
        raise ValueError(str(error)) from error


def encode_item(path: bytes, entry: Entry) -> bytes:
    """Texts may be no valid UTF-8, as there."""
    item: dict[str, Any] = {
        "path": _text(path),
        "mode": entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
    }
    for key, text in (("user", entry.user), ("group", entry.group)):
        if text is not None:
            item[key] = _text(os.fsencode(text))
    if entry.target is not None:
        item["target"] = _text(entry.target)
    if entry.is_regular:
        item["size"] = entry.size
    more = {
        "mtime": _timestamp(entry.mtime),
        "atime": _timestamp(entry.atime),
        "ctime": _timestamp(entry.ctime),
        "birthtime": _timestamp(entry.birthtime),
        "rdev": entry.rdev,
        "xattrs": entry.xattrs,
        "acl_access": entry.acl_access,
        "acl_default": entry.acl_default,
        "bsdflags": None if entry.flags is None else to_bsd(entry.flags),
        "hlid": entry.link,
    }
    item |= {key: value for key, value in more.items() if value is not None}
    return base64.b64encode(msgspec.msgpack.encode(item))


def _text(data: bytes) -> msgspec.Raw:
    """A MessagePack string of these very bytes (str 32)."""
    return msgspec.Raw(b"\xdb" + len(data).to_bytes(4, "big") + data)


def _timestamp(time: int | None) -> "_Ext | None":
    """Of nanoseconds, in the shortest of MessagePack's three forms."""
    if time is None:
        return None
    seconds, rest = divmod(time, 1_000_000_000)
    if not 0 <= seconds < 1 << 34:
        return _Ext(_TIMESTAMP, struct.pack(">Iq", rest, seconds))
    if rest or seconds >= 1 << 32:
        return _Ext(_TIMESTAMP, struct.pack(">Q", rest << 34 | seconds))
    return _Ext(_TIMESTAMP, struct.pack(">I", seconds))


def _nanoseconds(time: _Time) -> int:
    if isinstance(time, int):  # what strongroom wrote at first
        return time
    data = bytes(time.data)
    if time.code != _TIMESTAMP or len(data) not in (4, 8, 12):
        raise ValueError("a time is none")
    if len(data) == 12:
        rest, seconds = struct.unpack(">Iq", data)
    else:
        number = int.from_bytes(data, "big")
        rest, seconds = (0, number) if len(data) == 4 else (number >> 34, number & (1 << 34) - 1)
    if rest >= 1_000_000_000:
        raise ValueError("a time is none")
    return int(seconds * 1_000_000_000 + rest)
