"""msgpack as Borg 1.x writes it: its text is raw bytes, which need not be UTF-8.

Hence not msgspec, which takes the format's `str` type for what it should be. The format:
https://github.com/msgpack/msgpack/blob/master/spec.md; what stands for text and what for bytes is one
and the same here, as in the specification's "old" form.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from strongroom.errors import Damaged

MAX_DEPTH = 16  # Borg's own structures take 5

_U16, _U32, _U64 = struct.Struct(">H"), struct.Struct(">I"), struct.Struct(">Q")
_I8, _I16, _I32, _I64 = struct.Struct(">b"), struct.Struct(">h"), struct.Struct(">i"), struct.Struct(">q")
_F32, _F64 = struct.Struct(">f"), struct.Struct(">d")
_NUMBERS = {
    0xCA: _F32, 0xCB: _F64, 0xCC: struct.Struct(">B"), 0xCD: _U16, 0xCE: _U32, 0xCF: _U64,
    0xD0: _I8, 0xD1: _I16, 0xD2: _I32, 0xD3: _I64,
}  # fmt: skip
_RAWS = {0xC4: struct.Struct(">B"), 0xC5: _U16, 0xC6: _U32, 0xD9: struct.Struct(">B"), 0xDA: _U16, 0xDB: _U32}
_LISTS = {0xDC: _U16, 0xDD: _U32}
_MAPS = {0xDE: _U16, 0xDF: _U32}
_SINGLES = {0xC0: None, 0xC2: False, 0xC3: True}


class _TooShort(Exception):
    """The bytes end within a value."""

    def __init__(self, needed: int = 0) -> None:
        super().__init__()
        self.needed = needed  # bytes without which another try is in vain


def pack(value: object) -> bytes:
    """What a Borg 1.x takes: it refuses the format's `bin` type, which came later."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return b"\xd3" + _I64.pack(value)
        case str():
            return pack(value.encode("utf-8", "surrogateescape"))
        case bytes():
            return _head(0xA0, 32, 0xDA, len(value)) + value
        case dict():
            parts = [pack(one) for pair in value.items() for one in pair]
            return b"".join([_head(0x80, 16, 0xDE, len(value)), *parts])
        case list() | tuple():
            return b"".join([_head(0x90, 16, 0xDC, len(value)), *map(pack, value)])
    raise TypeError(f"no msgpack for a {type(value).__name__}")


def _head(short: int, below: int, long: int, count: int) -> bytes:
    return bytes([short + count]) if count < below else bytes([long]) + _U16.pack(count)


def unpack(blob: bytes, what: str) -> Any:
    """The one value that the bytes are. Raises `Damaged` naming `what` they should be."""
    try:
        value, end = _value(blob, 0, 0)
    except _TooShort:
        raise Damaged(f"{what} is cut off.") from None
    except ValueError as error:
        raise Damaged(f"{what} is invalid: {error}.") from None
    if end != len(blob):
        raise Damaged(f"{what} has bytes behind its end.")
    return value


class Unpacker:
    """Values one behind the other, wherever their stream is cut."""

    def __init__(self, what: str, limit: int, rest: bytes = b"") -> None:
        """None may take more than `limit` bytes; `rest` is the beginning of the first one."""
        self._what = what
        self._limit = limit
        self._waiting = [rest]  # joined when there is enough: a large value comes in many parts
        self._size = len(rest)
        self._needed = 0

    @property
    def rest(self) -> bytes:
        """The beginning of a value that has not ended."""
        return b"".join(self._waiting)

    def feed(
        self, part: bytes, skip: Callable[[bytes, int], int] = lambda _, at: at
    ) -> Iterator[tuple[Any, bytes]]:
        """The values that end now, each with its bytes; `skip` is asked before each where the next one begins
        that is to be looked into. Raises `Damaged`."""
        self._waiting.append(part)
        self._size += len(part)
        if self._size > self._limit + len(part):
            raise Damaged(f"{self._what} has a value of more than {self._limit} bytes.")
        if self._size < self._needed:
            return
        data, at, self._needed = b"".join(self._waiting), 0, 0
        try:
            while (at := skip(data, at)) < len(data):
                begin = at
                value, at = _value(data, at, 0)
                yield value, data[begin:at]
        except _TooShort as short:
            self._needed = short.needed - at
        except ValueError as error:
            raise Damaged(f"{self._what} is invalid: {error}.") from None
        self._waiting, self._size = [data[at:]], len(data) - at


def unpack_stream(parts: Iterable[bytes], what: str, limit: int) -> Iterator[Any]:
    """The same for all parts together. Raises `Damaged` and what `parts` raises."""
    unpacker = Unpacker(what, limit)
    for part in parts:
        for value, _ in unpacker.feed(part):
            yield value
    if unpacker.rest:
        raise Damaged(f"{what} is cut off.")


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """The value at an offset, and where the next one begins. Raises `_TooShort`, ValueError."""
    if at >= len(data):
        raise _TooShort
    first = data[at]
    at += 1
    if first < 0x80:
        return first, at
    if first >= 0xE0:
        return first - 0x100, at
    if 0xA0 <= first < 0xC0:
        return _raw(data, at, first & 0x1F)
    if first < 0x90:
        return _map(data, at, first & 0x0F, depth)
    if first < 0xA0:
        return _list(data, at, first & 0x0F, depth)
    number = _NUMBERS.get(first)
    if number is not None:
        return _number(number, data, at), at + number.size
    if first in _SINGLES:
        return _SINGLES[first], at
    for lengths, read in ((_RAWS, _raw), (_LISTS, None), (_MAPS, None)):
        size = lengths.get(first)
        if size is not None:
            length = _number(size, data, at)
            at += size.size
            if read is not None:
                return read(data, at, length)
            return (_list if lengths is _LISTS else _map)(data, at, length, depth)
    raise ValueError(f"a byte {first:#04x} begins no value that is known")


def _number(form: struct.Struct, data: bytes, at: int) -> Any:
    if at + form.size > len(data):
        raise _TooShort
    return form.unpack_from(data, at)[0]


def _raw(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    end = at + length
    if end > len(data):
        raise _TooShort(end)
    return data[at:end], end


def _list(data: bytes, at: int, count: int, depth: int) -> tuple[list[Any], int]:
    if depth >= MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if count > len(data) - at:  # each takes a byte at least
        raise _TooShort
    found = []
    for _ in range(count):
        value, at = _value(data, at, depth + 1)
        found.append(value)
    return found, at


def _map(data: bytes, at: int, count: int, depth: int) -> tuple[dict[Any, Any], int]:
    if depth >= MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if 2 * count > len(data) - at:
        raise _TooShort
    found = {}
    for _ in range(count):
        key, at = _value(data, at, depth + 1)
        if not isinstance(key, bytes):
            raise ValueError("a map has a key that is no text")
        found[key], at = _value(data, at, depth + 1)
    return found, at
