"""The plaintext of a bundle: header, compressed lengths and chunks, padding.

Specified in docs/format.md, "Bundles".
"""

import struct
from collections.abc import Sequence
from functools import lru_cache

from strongroom.errors import Damaged, VersionUnknown
from strongroom.repository.compression import MAX_RAW, NONE, Compression, Compressor, decompress, padding
from strongroom.repository.packs import MAX_CHUNKS
from strongroom.repository.room import Room
from strongroom.store.protocol import Buffer

VERSION = 1
HEADER = struct.Struct("<BBBBIII")  # version, algorithm, level, 0, chunks, raw length, body length
MAX_PLAIN = 80 * 1024 * 1024  # what padding by `obfuscate` may inflate it to


@lru_cache(maxsize=64)
def _lengths(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")


class BundleEncoder:
    """Makes bundle plaintexts in one reused buffer; one for each thread."""

    def __init__(self, compression: Compression) -> None:
        self._compression = compression
        self._compressor = Compressor(compression)
        self._buffer = bytearray(2 * 1024 * 1024)

    def encode(self, chunks: Sequence[Buffer]) -> memoryview:
        """The plaintext, valid until the next call."""
        raw = _joined(chunks)
        algorithm, level, body = self._compressor.compress(raw)
        used = HEADER.size + len(body)
        total = used + padding(self._compression, used)
        if total > len(self._buffer):
            self._buffer = bytearray(total)
        buffer = self._buffer
        HEADER.pack_into(buffer, 0, VERSION, algorithm, level, 0, len(chunks), len(raw), len(body))
        buffer[HEADER.size : used] = body
        buffer[used:total] = bytes(total - used)
        return memoryview(buffer)[:total]

    def algorithm_for(self, chunks: Sequence[Buffer]) -> int:
        """The stored id of the algorithm that these would be compressed by."""
        return self._compressor.compress(_joined(chunks))[0]


def _joined(chunks: Sequence[Buffer]) -> bytes:
    return b"".join((_lengths(len(chunks)).pack(*map(len, chunks)), *chunks))


def algorithm_of(plain: bytes | memoryview) -> int:
    """The stored algorithm id of a bundle that decodes."""
    return int(HEADER.unpack_from(plain)[1])


def decode(plain: bytes | memoryview, expected: int, room: Room | None = None) -> list[memoryview]:
    """The `expected` chunks of a bundle, decompressed into the `room`. Raises `Damaged`, `VersionUnknown`."""
    view = memoryview(plain)
    if len(view) < HEADER.size or len(view) > MAX_PLAIN:
        raise Damaged(f"A bundle of {len(view)} bytes is no bundle.")
    version, algorithm, _, zero, count, raw_length, body_length = HEADER.unpack_from(view)
    if version != VERSION:
        raise VersionUnknown(f"A bundle has format {version}. Upgrade strongroom.")
    end = HEADER.size + body_length
    if zero or end > len(view) or count != expected or not 1 <= count <= MAX_CHUNKS or raw_length > MAX_RAW:
        raise Damaged("A bundle's header does not fit what is known of it.")
    body = view[HEADER.size : end]
    if algorithm == NONE:
        if raw_length != body_length:
            raise Damaged("A bundle's header contradicts itself.")
        raw = body
    else:
        raw = memoryview(decompress(algorithm, body, raw_length, room.raw(raw_length) if room else None))
    if len(raw) < 4 * count:
        raise Damaged("A bundle is too short for its table of lengths.")
    lengths = _lengths(count).unpack_from(raw)
    if 4 * count + sum(lengths) != len(raw):
        raise Damaged("A bundle's lengths do not add up.")
    at = 4 * count
    chunks = []
    for length in lengths:
        chunks.append(raw[at : at + length])
        at += length
    return chunks
