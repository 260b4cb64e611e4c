"""What client and server say to each other over one pair of pipes: frames and messages.

Each side sends its magic, then frames; its first frame is HELLO. A frame is kind (1 byte), request id
(4 bytes, big-endian), payload length (4 bytes, big-endian), payload. Payloads are msgpack, those of DATA
plain bytes. The client numbers its requests from 1, upwards; the server answers each with exactly one
final REPLY, in any order. A REPLY to request 0 is the server's farewell.

- PUT and APPEND are followed by DATA frames of the announced size in all. The server takes them off the
  pipe one at a time and writes them to the disk as they come: a slow disk holds the client back through
  the pipe, and nothing piles up. If it refuses early it skips what is still on its way.
- GET is answered by DATA frames, all but the last of `MAX_DATA` bytes, then REPLY. The client bounds what
  it asks for at once.
- LIST is answered by a Page; while `more` is set, NEXT asks for another.
- CANCEL ends a request early; DATA for it does not follow any more.
"""

import struct
from collections.abc import Mapping
from typing import Annotated, BinaryIO, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from strongroom import errors
from strongroom.errors import ConnectionBroken, ConnectionLost, StrongroomError
from strongroom.malformed import MALFORMED

# They differ, lest a program that echoes pass for a server.
FROM_CLIENT_MAGIC: Final = b"strongroom client\n"
FROM_SERVER_MAGIC: Final = b"strongroom server\n"
VERSION: Final = 1
LOWEST_VERSION: Final = 1

HELLO, REQUEST, DATA, NEXT, CANCEL, REPLY = range(1, 7)

MAX_DATA: Final = 256 * 1024  # bytes of one DATA frame
MAX_OBJECT: Final = 1 << 30  # bytes
MAX_OFFSET: Final = 2**62
MAX_IN_FLIGHT: Final = 128  # requests of one connection
MAX_UPLOADS: Final = 16  # of them PUT and APPEND
PAGE: Final = 4096  # entries of a listing
MAX_ID: Final = 2**32 - 1
_MAX_TEXT: Final = 2000  # characters of an error message

# What each side accepts, bytes a frame: checked before a payload is read.
FROM_CLIENT: Final[Mapping[int, int]] = {HELLO: 1024, REQUEST: 8192, DATA: MAX_DATA, NEXT: 0, CANCEL: 0}
FROM_SERVER: Final[Mapping[int, int]] = {HELLO: 1024, DATA: MAX_DATA, REPLY: 2 << 20}

_HEADER = struct.Struct(">BII")
HEADER_SIZE: Final = _HEADER.size

Name = Annotated[str, Meta(max_length=200)]
Bytes = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Size = Annotated[int, Meta(ge=0, le=MAX_OBJECT)]


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """Later versions may append fields: readers pass over what they do not know."""

    lowest: int
    highest: int
    program: Annotated[str, Meta(max_length=100)]
    in_flight: Annotated[int, Meta(ge=1, le=10_000)]
    uploads: Annotated[int, Meta(ge=1, le=10_000)]
    # Of a server: the public key by which its owner would thin out and compact, for `init` to admit.
    server_key: Annotated[bytes, Meta(max_length=32)] = b""
    # Of a server: its clock, ns since 1970 UTC. Of a client, and of servers that do not tell: 0.
    now: Bytes = 0


class _Message(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    pass


class Open(_Message, frozen=True, tag=1):
    """Which repository: absolute, relative to the login folder, or `~/…`. Comes first, once."""

    path: Annotated[bytes, Meta(min_length=1, max_length=4096)]
    create: bool
    make_parents: bool
    reserve: Bytes | None = None  # to be kept in a new repository for a full disk; None: the server's choice
    remains: bool = False  # what an interrupted `delete` left of one is meant, to be removed


class Get(_Message, frozen=True, tag=2):
    name: Name
    offset: Annotated[int, Meta(ge=0, le=MAX_OFFSET)]
    length: Annotated[int, Meta(ge=0, le=MAX_OBJECT)] | None


class Put(_Message, frozen=True, tag=3):
    name: Name
    size: Size


class Mend(_Message, frozen=True, tag=8):
    """A PUT that takes the place of an object which the server finds damaged.

    Of a log record it brings the record alone: the server stamps it.
    """

    name: Name
    size: Size


class Append(_Message, frozen=True, tag=4):
    """A log record. `many`: an array of several, to be judged together; `name` is the first one's."""

    name: Name
    size: Size
    many: bool = False


class List(_Message, frozen=True, tag=5):
    prefix: Name


class Delete(_Message, frozen=True, tag=6):
    name: Name


class Reserve(_Message, frozen=True, tag=7):
    """What is kept for a full disk: may this session use it (None: as before)? The reply is `Reserved`."""

    spend: bool | None


class Room(_Message, frozen=True, tag=9):
    """What fits in now, by disk and quota? The reply is `Space`."""


Request = Open | Get | Put | Mend | Append | List | Delete | Reserve | Room


class Done(_Message, frozen=True, tag=1):
    pass


class Stamped(_Message, frozen=True, tag=2):
    """APPEND succeeded; the stored object is the record with this stamp."""

    stamp: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Page(_Message, frozen=True, tag=3):
    """Names and sizes; not the final reply while `more` is set."""

    entries: Annotated[list[tuple[Name, Annotated[int, Meta(ge=0)]]], Meta(max_length=PAGE)]
    more: bool


class Failed(_Message, frozen=True, tag=4):
    kind: Annotated[str, Meta(max_length=100)]
    text: Annotated[str, Meta(max_length=_MAX_TEXT)]


class Reserved(_Message, frozen=True, tag=5):
    left: Bytes
    wanted: Bytes


class Space(_Message, frozen=True, tag=6):
    room: Bytes


Reply = Done | Stamped | Page | Failed | Reserved | Space

_encode = msgspec.msgpack.Encoder().encode
_T = TypeVar("_T")
_hello = msgspec.msgpack.Decoder(Hello)
_request: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_reply: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)

# The errors that may cross the wire, by name; anything else arrives as StoreFailed.
_ERRORS: Final[Mapping[str, type[StrongroomError]]] = {
    kind.__name__: kind
    for kind in (
        errors.ObjectMissing,
        errors.ObjectExists,
        errors.StoreRefused,
        errors.PlaceRefused,
        errors.StoreFull,
        errors.QuotaExceeded,
        errors.StoreFailed,
        errors.ConnectionBroken,
        errors.PathNotAllowed,
        errors.RepositoryMissing,
        errors.RepositoryExists,
        errors.NotARepository,
        errors.ParentPathMissing,
        errors.PathOccupied,
        errors.VersionUnknown,
        errors.Damaged,
        errors.LogBroken,
    )
}


class Frame(NamedTuple):
    kind: int
    request: int
    payload: bytes


def header(kind: int, request: int, length: int) -> bytes:
    return _HEADER.pack(kind, request, length)


def frame(kind: int, request: int, payload: bytes = b"") -> bytes:
    return _HEADER.pack(kind, request, len(payload)) + payload


def message(kind: int, request: int, content: msgspec.Struct) -> bytes:
    """The frame of a Hello, a request or a reply."""
    return frame(kind, request, _encode(content))


def read_frame(stream: BinaryIO, limits: Mapping[int, int]) -> Frame | None:
    """The next frame of a blocking, buffered stream; None where it ends between frames.

    Raises `ConnectionBroken` on a kind or length that `limits` does not have, before reading the
    payload, and `ConnectionLost` where the stream ends inside a frame.
    """
    head = stream.read(HEADER_SIZE)
    if not head:
        return None
    if len(head) < HEADER_SIZE:
        raise ConnectionLost("the connection ended in the middle of a frame")
    kind, request, length = _HEADER.unpack(head)
    limit = limits.get(kind)
    if limit is None or length > limit:
        raise ConnectionBroken(f"a frame of kind {kind} and {length} bytes is not part of the protocol")
    payload = stream.read(length) if length else b""
    if len(payload) < length:
        raise ConnectionLost("the connection ended in the middle of a frame")
    return Frame(kind, request, payload)


def read_hello(payload: bytes) -> Hello:
    hello = _decoded(_hello, payload)
    if len(hello.server_key) not in (0, 32):
        raise ConnectionBroken("a message is not part of the protocol: a key of a wrong length")
    return hello


def read_request(payload: bytes) -> Request:
    return _decoded(_request, payload)


def read_reply(payload: bytes) -> Reply:
    return _decoded(_reply, payload)


def _decoded(decoder: msgspec.msgpack.Decoder[_T], payload: bytes) -> _T:
    try:
        return decoder.decode(payload)
    except MALFORMED as error:
        raise ConnectionBroken(f"a message is not part of the protocol: {error}") from None


def agree(theirs: Hello, who: str) -> int:
    """The highest version that both know. Raises `ConnectionBroken` if there is none."""
    version = min(theirs.highest, VERSION)
    if version < max(theirs.lowest, LOWEST_VERSION):
        older = who if theirs.highest < LOWEST_VERSION else "this side"
        raise ConnectionBroken(
            f"{who} runs {printable(theirs.program)} with protocol {theirs.lowest} to {theirs.highest}, "
            f"this side has {LOWEST_VERSION} to {VERSION}: upgrade {older}"
        )
    return version


def failure(error: StrongroomError) -> Failed:
    """An error as it crosses the wire."""
    name = next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS), "StoreFailed")
    return Failed(name, printable(str(error))[:_MAX_TEXT])


def to_error(failed: Failed) -> StrongroomError:
    return _ERRORS.get(failed.kind, errors.StoreFailed)(printable(failed.text))


def printable(text: str) -> str:
    """`text` without what could steer a terminal or begin a second line of a log."""
    return "".join(c if c.isprintable() else "?" for c in text)
