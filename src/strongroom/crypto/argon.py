"""Argon2id (RFC 9106), in huge pages where the system has them.

With the 16,384 small ones that 64 MiB are else, the kernel takes a quarter of all the time to provide them.
"""

import mmap
from collections.abc import Callable
from typing import Any

from _argon2_cffi_bindings import ffi, lib

from strongroom.crypto.keyformat import Kdf

Derive = Callable[[Kdf, str], bytes]
"""From a passphrase to the key that wraps the secrets. Raises `MemoryError`."""

_SIZE = 32
_HUGE = 2 << 20
_ID = 2  # Argon2id, as the library numbers the three
_spaces: dict[int, mmap.mmap] = {}  # by their address, while they are used


def derive(kdf: Kdf, passphrase: str) -> bytes:
    """32 bytes. Raises `MemoryError`."""
    code, derived = _derived(kdf, passphrase, kdf.lanes)
    if code == lib.ARGON2_THREAD_FAIL:
        code, derived = _derived(kdf, passphrase, 1)
    if code == lib.ARGON2_OK:
        return derived
    if code == lib.ARGON2_MEMORY_ALLOCATION_ERROR:
        raise MemoryError
    raise ValueError(ffi.string(lib.argon2_error_message(code)).decode())


def _derived(kdf: Kdf, passphrase: str, threads: int) -> tuple[int, bytes]:
    secret = passphrase.encode("utf-8", "surrogateescape")
    out = bytearray(_SIZE)
    code = lib.argon2_ctx(
        ffi.new(
            "argon2_context *",
            {
                "version": lib.ARGON2_VERSION_13,
                "out": ffi.from_buffer("uint8_t[]", out),
                "outlen": _SIZE,
                "pwd": ffi.from_buffer("uint8_t[]", secret),
                "pwdlen": len(secret),
                "salt": ffi.from_buffer("uint8_t[]", kdf.salt),
                "saltlen": len(kdf.salt),
                "t_cost": kdf.passes,
                "m_cost": kdf.memory,
                "lanes": kdf.lanes,
                "threads": threads,
                "allocate_cbk": _ALLOCATE,
                "free_cbk": _FREE,
            },
        ),
        _ID,
    )
    return code, bytes(out)


def _allocate(place: Any, size: int) -> int:
    try:
        space = mmap.mmap(-1, size + _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            space.madvise(mmap.MADV_HUGEPAGE)
    except (OSError, MemoryError):
        return -1  # the library sees that there is nothing at `place`
    start = int(ffi.cast("uintptr_t", ffi.from_buffer(space)))
    start += -start % _HUGE
    _spaces[start] = space
    place[0] = ffi.cast("uint8_t *", start)
    return 0


def _free(memory: Any, size: int) -> None:  # the library has cleared it
    _spaces.pop(int(ffi.cast("uintptr_t", memory)))


try:
    _ALLOCATE = ffi.callback("int(uint8_t **, size_t)", _allocate)
    _FREE = ffi.callback("void(uint8_t *, size_t)", _free)
except MemoryError:  # a hardened kernel allows no code that is made at run time; then as the library does it
    _ALLOCATE = _FREE = ffi.NULL
