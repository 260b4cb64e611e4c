"""Trees: the serialized entries of one folder, in one chunk or, if it is huge, several.

Specified in docs/format.md, "Trees".
"""

import stat
import zlib
from collections.abc import Iterable, Iterator

import msgspec

from strongroom.archive.entries import Entry
from strongroom.archive.long_files import check_piece, is_long, is_piece, split, without_content
from strongroom.errors import Damaged, StrongroomError, VersionUnknown
from strongroom.ids import ID_SIZE, ChunkId
from strongroom.malformed import MALFORMED

VERSION = 1
MAX_SEGMENT = 16 * 1024 * 1024  # bytes; larger ones are refused on reading
_HEAD = 6  # bytes before its entries
_CUT_FROM = 64 * 1024
_CUT_AT = 1024 * 1024
_CUT_MASK = 0xFF  # one name in 256 may end a segment
MAX_NAME = 1024  # bytes; 255 on all file systems that we know
MAX_TARGET = 65_536
MAX_FILE = (1 << 63) - 1  # bytes; what file offsets can be
MAX_LINK = 32
MAX_XATTR_NAME, MAX_XATTR_VALUE = 255, 16 * 1024 * 1024  # Linux takes 64 KiB, macOS and ZFS more

_KINDS = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK)
_MIN_TIME, _MAX_TIME = -(1 << 63), 1 << 64  # what msgpack can say; ext4 counts to the year 2446
_NO_ID = (1 << 32) - 1

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Entry])
_entry_decoder = msgspec.msgpack.Decoder(Entry)


def encode_tree(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The segments of a folder's tree; `entries` in the order of their names.

    A cut depends on the name beside it, so that one new file changes one segment. A file of very many chunks
    has several to itself. Raises `StrongroomError` for an entry that no reader would take.
    """
    encode = _encoder.encode
    parts: list[bytes] = []
    size = 0
    for entry in entries:
        if is_long(entry):
            if parts:
                yield _segment(parts)
                parts, size = [], 0
            yield from (_segment([encode(piece)]) for piece in split(entry))
            continue
        part = encode(entry)
        parts.append(part)
        size += len(part)
        if size >= _CUT_FROM and (size >= _CUT_AT or not zlib.crc32(entry.name) & _CUT_MASK):
            yield _segment(parts)
            parts, size = [], 0
    if parts:
        yield _segment(parts)


def _segment(parts: list[bytes]) -> bytes:
    if sum(map(len, parts)) > MAX_SEGMENT - _HEAD:
        name = _entry_decoder.decode(parts[-1]).name.decode(errors="backslashreplace")
        raise StrongroomError(
            f"{name}: its extended attributes are more than an archive can hold. Remove some, or exclude it."
        )
    # a msgpack array header (array 32) spares decoding and encoding the entries again
    return b"".join((bytes((VERSION, 0xDD)), len(parts).to_bytes(4, "big"), *parts))


def decode_segment(blob: bytes | memoryview, chunk: ChunkId) -> list[Entry]:
    """The entries of one segment, or a piece of one (`long_files`). Raises `Damaged`, `VersionUnknown`."""
    where = f"Tree {chunk.hex()}"
    if not 2 <= len(blob) <= MAX_SEGMENT:
        raise Damaged(f"{where} has an impossible size.")
    if blob[0] != VERSION:
        raise VersionUnknown(f"{where} has format {blob[0]}. Upgrade strongroom.")
    try:
        entries = _decoder.decode(memoryview(blob)[1:])
    except MALFORMED as error:
        raise Damaged(f"{where} is invalid: {error}.") from error
    before = b""
    for entry in entries:
        if entry.name <= before:
            raise Damaged(f"{where} has names out of order.")
        before = entry.name
        if is_piece(entry):
            check_piece(entry, where)
            check_entry(without_content(entry), where)
        else:
            check_entry(entry, where)
    return entries


def check_entry(entry: Entry, where: str) -> None:
    """Refuse what no honest writer makes, path tricks above all. Raises `Damaged`."""
    name = entry.name
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name or len(name) > MAX_NAME:
        raise Damaged(f"{where} has the name {name[:MAX_NAME]!r}, which no file can have.")
    _check_body(entry, where)


def _check_body(entry: Entry, where: str) -> None:
    if not 0 <= entry.mode < 1 << 16:  # first of all: `stat` knows no other numbers
        raise Damaged(f"{where} has an impossible mode for {entry.name!r}.")
    kind = stat.S_IFMT(entry.mode)
    count, rest = divmod(len(entry.content), ID_SIZE)
    times = (entry.mtime, entry.ctime, entry.atime, entry.birthtime)
    bad = (
        kind not in _KINDS
        or rest
        or not 0 <= entry.size <= MAX_FILE
        # the kernel's -1, "leave it as it is", is nobody's number
        or not (0 <= entry.uid < _NO_ID and 0 <= entry.gid < _NO_ID)
        or any(time is not None and not _MIN_TIME <= time < _MAX_TIME for time in times)
        or (entry.link is not None and not 0 < len(entry.link) <= MAX_LINK)
        or (entry.flags is not None and not 0 <= entry.flags < 1 << 32)
        or (entry.implied and kind != stat.S_IFDIR)
    )
    if kind == stat.S_IFREG:
        bad = bad or not _is_sound_content(entry, count)
    else:
        bad = bad or entry.size or entry.sizes is not None or (count and kind != stat.S_IFDIR)
    if kind == stat.S_IFLNK:
        target = entry.target
        bad = bad or target is None or not 0 < len(target) <= MAX_TARGET or b"\0" in target
    else:
        bad = bad or entry.target is not None
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        bad = bad or entry.rdev is None or not 0 <= entry.rdev < 1 << 64
    else:
        bad = bad or entry.rdev is not None
    if entry.xattrs is not None:
        bad = bad or any(not 0 < len(name) <= MAX_XATTR_NAME or b"\0" in name for name in entry.xattrs)
        bad = bad or any(len(value) > MAX_XATTR_VALUE for value in entry.xattrs.values())
    if bad:
        raise Damaged(f"{where} has an impossible entry for {entry.name!r}.")


def _is_sound_content(entry: Entry, count: int) -> bool:
    if entry.sizes is None:
        return count <= 1 and (count == 0) == (entry.size == 0)
    return (
        len(entry.sizes) == count
        and all(0 < size <= entry.size for size in entry.sizes)
        and sum(entry.sizes) == entry.size
    )


def encode_root(entry: Entry) -> bytes:
    return _encoder.encode(entry)


def decode_root(blob: bytes) -> Entry:
    """The entry that an archive's metadata holds for its topmost folder. Raises `Damaged`."""
    try:
        entry = _entry_decoder.decode(blob)
    except MALFORMED as error:
        raise Damaged(f"The archive's root entry is invalid: {error}.") from error
    _check_body(entry, "The archive")
    if entry.name or not entry.is_dir:
        raise Damaged("The archive's root entry is not a folder's.")
    return entry
