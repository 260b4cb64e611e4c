"""Parity: what is needed beside a damaged pack to have its bytes again. No key is needed.

Specified in docs/format.md, "Parity". A pack is cut into `data` shares of equal length, one behind the
other, from which Reed-Solomon (zfec) makes `extra` shares more. It works on bytes in the same position, so a
*row*, the blocks of 4 KiB in the same position of all shares, is healed by itself: up to `extra` damaged
blocks in each. Neighbours in the pack are in different rows: a long run of damage is spread over many.
A short checksum of each block tells which are damaged. Whether the result is the pack is told by its name:
nothing that a parity object says can make a false one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from types import ModuleType

import msgspec

from strongroom.crypto import hashing
from strongroom.errors import CommandError, Damaged, ObjectExists, ObjectMissing, VersionUnknown
from strongroom.ids import ID_SIZE, PackId
from strongroom.malformed import MALFORMED
from strongroom.repository.packs import MAX_PACK
from strongroom.store.direct import pages
from strongroom.store.protocol import Buffer, Store

VERSION = 1
BLOCK = 4096  # bytes: a sector, or a page of flash
SUM = 8  # bytes of a block's BLAKE3
DEFAULT_PERCENT = 5
MAX_PERCENT = 100
_MAGIC = b"SRPARIT\x01"
_SHARES = 100  # of data, in packs that have as many blocks
_MAX_SHARES = 256  # Reed-Solomon over bytes
_FIXED = len(_MAGIC) + 4 + 16  # magic, length and check of the head
_MAX_HEAD = 16 << 20
_PIECE = 256 * BLOCK  # read at a time
_AT_ONCE = 8 << 20  # bytes of a parity object that is read in one piece, over ssh in one round trip


class Head(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    pack: bytes
    size: int  # of the pack, in bytes
    data: int  # shares that the pack is cut into
    extra: int  # shares in this object
    length: int  # of a share, in bytes
    sums: bytes  # of all blocks: those of share 0, of share 1, and so on, the extra ones last


_head = msgspec.msgpack.Decoder(Head)


def name(pack: PackId) -> str:
    return f"parity/{pack.hex()}"


def encode(pack: PackId, blob: Buffer, percent: int) -> list[bytes]:
    """The parity object of a pack, in parts. Raises `CommandError` where zfec is not installed."""
    view = memoryview(blob)
    blocks = -(-len(view) // BLOCK)
    data = min(_SHARES, blocks)
    extra = max(1, -(-data * percent // 100))
    length = -(-blocks // data) * BLOCK
    shares: list[Buffer] = [*_cut(view, data, length)]
    made: list[bytes] = (
        require_zfec().Encoder(data, data + extra).encode(shares, list(range(data, data + extra)))
    )
    sums = b"".join(_sum(block) for share in [*shares, *made] for block in _blocks(share))
    head = _encode_head(Head(VERSION, pack, len(view), data, extra, length, sums))
    # at both ends: without its head the rest is of no use
    return [head, *made, head, len(head).to_bytes(4, "little")]


def put_beside(store: Store, pack: PackId, parts: Sequence[Buffer], percent: int) -> None:
    """Store the parity of a pack that was just stored; nothing, for 0 percent. Raises the store's errors."""
    if percent:
        with suppress(ObjectExists):
            store.put(name(pack), encode(pack, b"".join(parts), percent))


def percent_of(store: Store, pack: PackId) -> int:
    """How much parity a pack has, of its size; 0 for none. Raises the store's errors."""
    try:
        head, _ = decode_head(store.get(name(pack)), pack)
    except ObjectMissing:
        return 0
    except (Damaged, VersionUnknown):
        return DEFAULT_PERCENT
    # the least that gives as many shares: a small pack has more of it than was asked for
    return max(DEFAULT_PERCENT, (head.extra - 1) * 100 // head.data + 1)


def lacking(unprotected: Mapping[PackId, str]) -> list[str]:
    """What to say of new packs to which no parity could be given; the values say why."""
    if not unprotected:
        return []
    why = next(iter(unprotected.values()))
    return [f"{len(unprotected)} new packs have no parity yet: {why} Run `strongroom protect` afterwards."]


def _cut(view: memoryview, data: int, length: int) -> list[memoryview]:
    """The shares of a pack; what lies behind its end counts as zeros."""
    found = []
    for number in range(data):
        share = view[number * length : (number + 1) * length]
        if len(share) < length:
            share = memoryview(bytes(share).ljust(length, b"\0"))
        found.append(share)
    return found


def _blocks(share: Buffer) -> Iterator[memoryview]:
    view = memoryview(share)
    return (view[at : at + BLOCK] for at in range(0, len(view), BLOCK))


def _sum(block: memoryview) -> bytes:
    return hashing.plain_hash(block)[:SUM]


def _encode_head(head: Head) -> bytes:
    body = msgspec.msgpack.encode(head)
    return _MAGIC + len(body).to_bytes(4, "little") + hashing.plain_hash(body)[:16] + body


def decode_head(blob: bytes, pack: PackId) -> tuple[Head, int]:
    """The head, from whichever end is sound, and its length. Raises `Damaged`, `VersionUnknown`."""
    last = int.from_bytes(blob[-4:], "little")
    for start in (0, len(blob) - 4 - last):
        found = _decode_head(blob, start, pack)
        if found is not None:
            return found
    raise Damaged(f"{name(pack)} is damaged at both ends, or is no parity. Make it anew with `protect`.")


def _decode_head(blob: bytes, start: int, pack: PackId) -> tuple[Head, int] | None:
    fixed = blob[start : start + _FIXED] if start >= 0 else b""
    length = int.from_bytes(fixed[len(_MAGIC) : len(_MAGIC) + 4], "little")
    body = blob[start + _FIXED : start + _FIXED + length]
    if (
        not fixed.startswith(_MAGIC)
        or length > _MAX_HEAD
        or not hashing.same(hashing.plain_hash(body)[:16], fixed[-16:])
    ):
        return None
    try:
        version, *_ = msgspec.msgpack.decode(body, type=list[msgspec.Raw])
        if msgspec.msgpack.decode(version, type=int) != VERSION:
            raise VersionUnknown(f"{name(pack)} has another format than {VERSION}. Upgrade strongroom.")
        head = _head.decode(body)
    except (*MALFORMED, ValueError):
        return None
    blocks = head.length // BLOCK
    if (
        head.pack != pack
        or len(head.pack) != ID_SIZE
        or not 0 < head.size <= MAX_PACK
        or not head.data >= 1
        or not 1 <= head.extra <= _MAX_SHARES - head.data
        or head.length <= 0
        or head.length % BLOCK
        or not (head.length - BLOCK) * head.data < head.size <= head.length * head.data
        or len(head.sums) != SUM * blocks * (head.data + head.extra)
    ):
        return None
    return head, _FIXED + length


def flaw_of(store: Store, pack: PackId, size: int) -> str | None:
    """What is wrong with a parity object of `size` bytes, by its own checksums; None if nothing.

    In pieces: whoever may write to a repository may store objects of a GiB. Raises the store's errors.
    """

    def read(at: int, length: int) -> bytes:
        length = min(length, size - at) if at >= 0 else 0
        if length <= 0:
            return b""
        return store.get(name(pack), at, length) if usual is None else usual[at : at + length]

    usual = store.get(name(pack)) if size <= _AT_ONCE else None
    last = int.from_bytes(read(size - 4, 4), "little")
    heads = [_read_head(read, start, pack) for start in (0, size - 4 - last)]
    found = heads[0] or heads[1]
    if found is None:
        return "It is damaged at both ends, or is no parity."
    head, length = found
    end = length + head.extra * head.length
    made = head.sums[head.data * (head.length // BLOCK) * SUM :]
    sums = (
        _sum(one) for at in range(length, end, _PIECE) for one in _blocks(read(at, min(_PIECE, end - at)))
    )
    sound = sum(one == made[at : at + SUM] for one, at in zip(sums, range(0, len(made), SUM), strict=False))
    if sound < len(made) // SUM:
        return f"{len(made) // SUM - sound} of its {len(made) // SUM} blocks are damaged."
    whole = heads[0] == heads[1] and last == length and size == end + length + 4
    return None if whole else "One of its two heads is damaged."


def _read_head(read: Callable[[int, int], bytes], start: int, pack: PackId) -> tuple[Head, int] | None:
    fixed = read(start, _FIXED)
    length = int.from_bytes(fixed[len(_MAGIC) : len(_MAGIC) + 4], "little")
    try:
        return _decode_head(fixed + read(start + _FIXED, min(length, _MAX_HEAD)), 0, pack)
    except VersionUnknown:
        return None


class Healed:
    """What came out of `heal`: the pack's true bytes, or None, and how many blocks were damaged."""

    def __init__(self, blob: memoryview | None, damaged: int, worst: int, extra: int) -> None:
        self.blob = blob
        self.damaged = damaged  # blocks of the pack
        self.worst = worst  # damaged blocks in the worst row, those of the parity included
        self.extra = extra  # how many there may be


def heal(pack: PackId, left: memoryview, parity: bytes) -> Healed:
    """The pack out of what is `left` of it, which it becomes: a second copy would be another 32 MiB.

    Raises `Damaged`, `VersionUnknown` for the parity's own damage, `CommandError` without zfec.
    """
    head, skip = decode_head(parity, pack)
    view = left if len(left) == head.size else _fitted(left, head.size)
    shares = _cut(view, head.data, head.length)
    rest = memoryview(parity)[skip:]
    for number in range(head.extra):
        share = rest[number * head.length : (number + 1) * head.length]
        if len(share) < head.length:
            share = memoryview(bytes(share).ljust(head.length, b"\0"))
        shares.append(share)
    rows = head.length // BLOCK
    bad: dict[int, list[int]] = {}
    for number, share in enumerate(shares):
        for row, block in enumerate(_blocks(share)):
            at = (number * rows + row) * SUM
            if _sum(block) != head.sums[at : at + SUM]:
                bad.setdefault(row, []).append(number)
    lost = sum(1 for numbers in bad.values() for number in numbers if number < head.data)
    worst = max(map(len, bad.values()), default=0)
    if worst <= head.extra:
        for row, numbers in bad.items():
            _heal_row(head, view, shares, row, numbers)
    sound = hashing.same(hashing.plain_hash(view), pack)
    return Healed(view if sound else None, lost, worst, head.extra)


def _fitted(left: memoryview, size: int) -> memoryview:
    whole = memoryview(pages(size))
    known = min(size, len(left))
    whole[:known] = left[:known]
    return whole


def _heal_row(head: Head, view: memoryview, shares: Sequence[memoryview], row: int, bad: list[int]) -> None:
    """Put the row's damaged blocks right in `view`."""
    start = row * BLOCK
    sound = [number for number in range(len(shares)) if number not in bad][: head.data]
    # zfec wants each block that is there of itself in its own place
    order: list[int | None] = [number if number in sound else None for number in range(head.data)]
    spare = iter([number for number in sound if number >= head.data])
    numbers = [next(spare) if one is None else one for one in order]
    blocks = [bytes(shares[number][start : start + BLOCK]) for number in numbers]
    for number, block in enumerate(
        require_zfec().Decoder(head.data, head.data + head.extra).decode(blocks, numbers)
    ):
        if number in bad:
            at = number * head.length + start
            room = view[at : at + BLOCK]  # the last share may end before its block does
            room[:] = block[: len(room)]


def require_zfec() -> ModuleType:
    """Raises `CommandError` where it is not installed."""
    try:
        zfec = import_module("zfec")
    except ImportError:
        raise CommandError("Parity needs zfec: pip install 'strongroom[parity]'.") from None
    return zfec
