"""The envelope that a store puts around a log record: when it arrived, by the store's own clock.

Object: msgpack `[1, record: bin, stamp: int nanoseconds since 1970 UTC, check: bin(8)]`, where check is
the first 8 bytes of BLAKE3 over the encodings of the first three, one after the other. The check finds
rot; it proves nothing against whoever holds the store: the record inside carries its own signature.
"""

import msgspec
from blake3 import blake3

from strongroom.errors import Damaged, VersionUnknown
from strongroom.malformed import MALFORMED

VERSION = 1
MAX_RECORD = 16 << 20  # bytes of a record; it names a run's new packs, 32 bytes each: half a million of them
MAX_STAMP = 2**63 - 1
_CHECK = 8
_TAIL = _CHECK + 2  # bin8 header (c4 08) and the check
_STAMP = 9  # bytes of a stamp of today: a header (cf), then 64 bits


class _Envelope(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    record: bytes
    stamp: int
    check: bytes


_encode = msgspec.msgpack.encode
_decode_envelope = msgspec.msgpack.Decoder(_Envelope).decode


def stamp(record: bytes, now_ns: int) -> bytes:
    """The object to store for `record`, received at `now_ns`. Raises ValueError outside the bounds."""
    if not 0 < len(record) <= MAX_RECORD:
        raise ValueError(f"a log record of {len(record)} bytes; allowed are 1 to {MAX_RECORD}")
    if not 0 <= now_ns <= MAX_STAMP:
        raise ValueError(f"a stamp of {now_ns} ns is out of range")
    body = _encode(VERSION) + _encode(record) + _encode(now_ns)
    return b"\x94" + body + _encode(blake3(body).digest(length=_CHECK))


def unstamp(obj: bytes) -> tuple[bytes, int]:
    """`(record, stamp in ns)` of a stored object. Raises `Damaged` or `VersionUnknown`."""
    try:
        envelope = _decode_envelope(obj)
    except MALFORMED:
        _refuse_future(obj)
        raise Damaged("its envelope cannot be read") from None
    if envelope.version != VERSION:
        _refuse_future(obj)
    if (
        envelope.check != blake3(obj[1:-_TAIL]).digest(length=_CHECK)
        or not 0 < len(envelope.record) <= MAX_RECORD
        or not 0 <= envelope.stamp <= MAX_STAMP
        or stamp(envelope.record, envelope.stamp) != obj
    ):
        raise Damaged("its checksum does not match")
    return envelope.record, envelope.stamp


def as_it_was(record: bytes, damaged: bytes) -> bytes | None:
    """The object that `damaged` was, if its stamp and check are left and say that `record` was in it.

    None if they do not, or are damaged too.
    """
    stamped = damaged[-_TAIL - _STAMP : -_TAIL]
    if len(stamped) < _STAMP or stamped[:1] != b"\xcf" or not 0 < len(record) <= MAX_RECORD:
        return None
    now = int.from_bytes(stamped[1:], "big")
    if now > MAX_STAMP:
        return None
    was = stamp(record, now)
    return was if was[-_TAIL:] == damaged[-_TAIL:] else None


def _refuse_future(obj: bytes) -> None:
    try:
        value = msgspec.msgpack.decode(obj)
    except MALFORMED:
        return
    if isinstance(value, list) and value and type(value[0]) is int and value[0] > VERSION:
        raise VersionUnknown(
            f"a log object has envelope version {value[0]}, known is {VERSION}: use a newer strongroom"
        )
