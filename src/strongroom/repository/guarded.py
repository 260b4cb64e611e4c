"""Values of the cache with a checksum over them and their key: the database has none of its own.

A bit that flipped on this machine's disk must cost time, not a backup that names what is not there.
"""

import zlib

SIZE = 4  # bytes of CRC-32: it finds every burst of up to 32 bits


def guard(key: bytes, value: bytes) -> bytes:
    return value + _sum(key, value)


def unguard(key: bytes, stored: bytes) -> bytes | None:
    """The value, None if it is not what was written under this key."""
    value = stored[:-SIZE]
    return value if len(stored) >= SIZE and stored[-SIZE:] == _sum(key, value) else None


def _sum(key: bytes, value: bytes) -> bytes:
    return zlib.crc32(value, zlib.crc32(key)).to_bytes(SIZE, "little")
