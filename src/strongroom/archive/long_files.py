"""The entry of a file with very many chunks: cut into pieces, each alone in a segment of its folder's tree.

A file of half a terabyte has an entry of 16 MiB, and so has a sparse one of some 2 GB with enough holes; no
segment may be larger. Specified in docs/format.md, "Trees".
"""

import struct
from collections.abc import Iterator

import msgspec

from strongroom.archive.entries import Entry
from strongroom.crypto import hashing
from strongroom.errors import Damaged
from strongroom.ids import ID_SIZE

CHUNKS = 50_000  # of a piece: some 2 MB
_MARK = struct.Struct(">II32s")  # number of the piece, of how many, hash of the whole list
_encode = msgspec.msgpack.Encoder().encode


def is_long(entry: Entry) -> bool:
    return len(entry.content) > CHUNKS * ID_SIZE and entry.is_regular


def split(entry: Entry) -> Iterator[Entry]:
    """The pieces of an entry that `is_long`. They are marked where a link has its target."""
    sizes = entry.sizes or []
    digest = hashing.plain_hash(entry.content, _encode(sizes))
    count = -(-len(sizes) // CHUNKS)
    for number in range(count):
        first, last = number * CHUNKS, (number + 1) * CHUNKS
        yield msgspec.structs.replace(
            entry,
            content=entry.content[first * ID_SIZE : last * ID_SIZE],
            sizes=sizes[first:last],
            target=_MARK.pack(number, count, digest),
        )


def is_piece(entry: Entry) -> bool:
    return entry.target is not None and entry.is_regular


def follows(entry: Entry) -> bool:
    """Whether it is a piece, and not the first one."""
    return is_piece(entry) and _mark(entry)[0] > 0


def check_piece(entry: Entry, where: str) -> None:
    """What can be told of it alone. Raises `Damaged`."""
    sizes = entry.sizes or []
    if (
        len(entry.target or b"") != _MARK.size
        or not sizes
        or len(entry.content) != len(sizes) * ID_SIZE
        or not all(0 < size <= entry.size for size in sizes)
        or not _mark(entry)[0] < _mark(entry)[1]
    ):
        raise Damaged(f"{where} has an impossible piece of {entry.name!r}.")


def without_content(piece: Entry) -> Entry:
    """What all pieces of a file have in common, but for its size."""
    return msgspec.structs.replace(piece, size=0, content=b"", sizes=None, target=None)


class Pieces:
    """Joins those of one folder, or of several versions of one."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, list[Entry]] = {}

    def add(self, entry: Entry) -> Entry | None:
        """The entry as it was before it was split, once its last piece is there. Raises `Damaged`."""
        if not is_piece(entry):
            return entry
        number, count, digest = _mark(entry)
        looks = _encode((digest, count, entry.size, without_content(entry)))
        before = self._waiting.setdefault(looks, [])
        if number != len(before):
            raise self._damaged(entry)
        before.append(entry)
        if len(before) < count:
            return None
        del self._waiting[looks]
        content = b"".join([one.content for one in before])
        sizes = [size for one in before for size in one.sizes or ()]
        if sum(sizes) != entry.size or not hashing.same(hashing.plain_hash(content, _encode(sizes)), digest):
            raise self._damaged(entry)
        return msgspec.structs.replace(entry, content=content, sizes=sizes, target=None)

    @property
    def waiting(self) -> bool:
        """Whether pieces of a file are still to come."""
        return bool(self._waiting)

    def end(self) -> None:
        """Raises `Damaged` if something is missing."""
        for pieces in self._waiting.values():
            raise self._damaged(pieces[0])

    def _damaged(self, entry: Entry) -> Damaged:
        return Damaged(f"A folder does not have all pieces of {entry.name!r}, or not in their order.")


def _mark(entry: Entry) -> tuple[int, int, bytes]:
    number, count, digest = _MARK.unpack(entry.target or b"")
    return number, count, digest
