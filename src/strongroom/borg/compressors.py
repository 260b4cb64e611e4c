"""What Borg's compressors made, decompressed. Two bytes in front tell which one it was.

Borg 1.4 documentation, internals, "Compression"; `obfuscate` is described in "borg help compression".
Sizes are bounded: no chunk of Borg's is longer than `MAX_PLAIN`.
"""

import lzma
import zlib

import lz4.block
import zstandard

from strongroom.errors import Damaged

MAX_PLAIN = 20_971_479  # bytes: Borg's MAX_DATA_SIZE, which its largest chunk (2^23) is well below
_MAX_PADDED = 2  # headers: `obfuscate` around any other, and never twice

_NONE, _LZ4, _LZMA, _ZSTD, _OBFUSCATE = b"\0\0", b"\1\0", b"\2\0", b"\3\0", b"\4\0"


def decompress(stored: bytes) -> bytes:
    """Raises `Damaged`. Any thread may call this."""
    data = memoryview(stored)
    for _ in range(_MAX_PADDED):
        kind, body = bytes(data[:2]), data[2:]
        if kind == _OBFUSCATE:
            size = int.from_bytes(body[:4], "big")
            if size > len(body) - 4:
                raise Damaged("Padded data is shorter than it says.")
            data = body[4 : 4 + size]
            continue
        try:
            return _decompress(kind, body, data)
        except (
            lz4.block.LZ4BlockError,
            zstandard.ZstdError,
            zlib.error,
            lzma.LZMAError,
            ValueError,
        ) as error:
            raise Damaged(f"Data cannot be decompressed: {error}.") from error
    raise Damaged("Data is padded twice.")


def _decompress(kind: bytes, body: memoryview, whole: memoryview) -> bytes:
    if kind == _NONE:
        return bytes(body)
    if kind == _LZ4:
        return _from_lz4(body)
    if kind == _ZSTD:
        return _from_zstd(body)
    if kind == _LZMA:
        return _bounded(lzma.LZMADecompressor(memlimit=1 << 28), body)
    if len(kind) == 2 and kind[0] & 0x0F == 8 and int.from_bytes(kind, "big") % 31 == 0:  # RFC 1950, 2.2
        return _bounded(zlib.decompressobj(), whole)
    raise ValueError(f"no compressor of Borg 1.x is marked by the bytes {kind.hex()}")


def _from_lz4(body: memoryview) -> bytes:
    # An LZ4 block does not tell its size; one byte cannot stand for more than 255.
    size = min(max(len(body) * 4, 1 << 16), MAX_PLAIN)
    while True:
        try:
            return bytes(lz4.block.decompress(body, uncompressed_size=size))
        except lz4.block.LZ4BlockError:
            if size >= MAX_PLAIN or size > 255 * len(body) + 64:
                raise
            size = min(size * 4, MAX_PLAIN)


def _from_zstd(body: memoryview) -> bytes:
    frame = zstandard.get_frame_parameters(body)
    if not 0 <= frame.content_size <= MAX_PLAIN or frame.window_size > max(2 * MAX_PLAIN, 1 << 27):
        raise ValueError(f"it claims {frame.content_size} bytes of content")
    return zstandard.ZstdDecompressor().decompress(body, max_output_size=MAX_PLAIN)


def _bounded(stream: "lzma.LZMADecompressor | zlib._Decompress", body: memoryview) -> bytes:
    plain = stream.decompress(body, MAX_PLAIN + 1)
    if len(plain) > MAX_PLAIN or not stream.eof:
        raise ValueError("it does not end where it should")
    return plain
