"""Argon2id (RFC 9106): by libsodium, which has it for AVX2 and AVX-512, where it can; else by OpenSSL.

libsodium knows one lane and salts of 16 bytes, which is what our own keys have.
"""

from collections.abc import Callable

from nacl._sodium import ffi, lib  # what its public modules wrap; they take 8 ms to load, this takes 0.6

from strongroom.crypto.keyformat import Kdf

Derive = Callable[[Kdf, str], bytes]
"""From a passphrase to the key that wraps the secrets. Raises `MemoryError`."""

_SIZE = 32

lib.sodium_init()  # it looks for what the processor has


def derive(kdf: Kdf, passphrase: str) -> bytes:
    """32 bytes. Raises `MemoryError`."""
    secret = passphrase.encode("utf-8", "surrogateescape")
    if kdf.lanes == 1 and len(kdf.salt) == lib.crypto_pwhash_saltbytes():
        return _by_libsodium(kdf, secret)
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    derivation = Argon2id(
        salt=kdf.salt, length=_SIZE, iterations=kdf.passes, lanes=kdf.lanes, memory_cost=kdf.memory
    )
    return derivation.derive(secret)


def _by_libsodium(kdf: Kdf, secret: bytes) -> bytes:
    out = bytearray(_SIZE)
    code = lib.crypto_pwhash(
        ffi.from_buffer(out),
        _SIZE,
        secret,
        len(secret),
        kdf.salt,
        kdf.passes,
        kdf.memory * 1024,
        lib.crypto_pwhash_alg_argon2id13(),
    )
    if code:
        raise MemoryError  # what else could be wrong is bounded where key files are read
    return bytes(out)
