"""Keys of Borg repositories, and the envelope that each object has. Read-only: nothing is ever sealed.

Borg 1.4 documentation, internals, "Data structures", sections "Encryption" and "Key files", and "Security".
The first byte of an object tells the mode. Where there is encryption: type, MAC (32), the low half of the
counter's first block (8), AES-256-CTR ciphertext; the MAC is HMAC-SHA256 or BLAKE2b-256 over key and
data, and covers all behind itself. Ids are HMAC-SHA256 or BLAKE2b-256 likewise, and SHA-256 without a key.
"""

import binascii
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom.borg import packing
from strongroom.borg.compressors import decompress
from strongroom.errors import Damaged, KeyInvalid, VersionUnknown
from strongroom.ids import ChunkId, RepositoryId

FILE_MAGIC = b"BORG_KEY "
_MAC, _NONCE = 32, 8
_MAX_ITERATIONS = 100_000_000  # of PBKDF2: more would be an attack on our time
_PASSPHRASE_ITERATIONS = 100_000  # of PBKDF2, in a repository whose passphrase is its key
_MAX_KEY = 64 * 1024  # bytes


class Mode(msgspec.Struct, frozen=True):
    """What the first byte of an object stands for."""

    name: str  # as for `borg init --encryption`
    storage: str  # "none", "repokey" or "keyfile"
    encrypted: bool
    blake2: bool


PASSPHRASE_TYPE = 0x01
MODES = {
    0x00: Mode("keyfile", "keyfile", True, False),
    # Attic's `passphrase`, which Borg 1.0 ended: such repositories may have a repokey since
    PASSPHRASE_TYPE: Mode("repokey", "repokey", True, False),
    0x02: Mode("none", "none", False, False),
    0x03: Mode("repokey", "repokey", True, False),
    0x04: Mode("keyfile-blake2", "keyfile", True, True),
    0x05: Mode("repokey-blake2", "repokey", True, True),
    0x06: Mode("authenticated-blake2", "repokey", False, True),
    0x07: Mode("authenticated", "repokey", False, False),
}


def mode_of(manifest: bytes, where: str) -> Mode:
    """Told by the manifest as it is stored. Raises `VersionUnknown`, `Damaged`."""
    if not manifest:
        raise Damaged(f"The manifest of {where} is empty.")
    mode = MODES.get(manifest[0])
    if mode is None:
        raise VersionUnknown(
            f"{where} is encrypted in a way (type {manifest[0]:#04x}) that Borg 1.0 to 1.4 do not have: "
            "it may be of a newer Borg. Bring its archives over with that Borg."
        )
    return mode


class Secrets(msgspec.Struct, frozen=True):
    """What a key file holds."""

    repository: bytes
    enc_key: bytes
    enc_hmac_key: bytes
    id_key: bytes
    tam_required: bool


NO_SECRETS = Secrets(b"", b"", b"", b"", False)


def secrets_of_passphrase(passphrase: str, repository: RepositoryId) -> Secrets:
    """Of a repository that has no key but its passphrase. Borg 1.4, key.py, `PassphraseKey`."""
    derived = hashlib.pbkdf2_hmac(
        "sha256", passphrase.encode("utf-8", "surrogateescape"), repository, _PASSPHRASE_ITERATIONS, 100
    )
    return Secrets(repository, derived[:32], derived[32:64], derived[64:96], tam_required=False)


class WrappedKey(msgspec.Struct, frozen=True):
    """A key that a passphrase opens."""

    salt: bytes
    iterations: int
    hash: bytes
    data: bytes

    def unlock(self, passphrase: str) -> Secrets | None:
        """None if the passphrase is wrong. Raises `KeyInvalid`, `VersionUnknown`."""
        derived = hashlib.pbkdf2_hmac(
            "sha256", passphrase.encode("utf-8", "surrogateescape"), self.salt, self.iterations, 32
        )
        plain = _aes_ctr(derived, bytes(16), self.data)
        if not hmac.compare_digest(hmac.digest(derived, plain, "sha256"), self.hash):
            return None
        fields = _fields(plain, "The key")
        if fields.get(b"version") != 1:
            raise VersionUnknown("The key has a version that Borg 1.0 to 1.4 do not have.")
        try:
            return Secrets(
                _bytes(fields, b"repository_id", (32,)),
                _bytes(fields, b"enc_key", (32,)),
                _bytes(fields, b"enc_hmac_key", (32, 128)),
                _bytes(fields, b"id_key", (32, 128)),
                bool(fields.get(b"tam_required", False)),
            )
        except ValueError as error:
            raise KeyInvalid(f"The key is invalid: {error}. Use an exported copy of it.") from None


def parse_key(text: bytes, where: str) -> WrappedKey:
    """A key file's text, or what a repository keeps in its config. Raises `KeyInvalid`, `VersionUnknown`."""
    if text.startswith(FILE_MAGIC):
        text = text.partition(b"\n")[2]
    try:
        if len(text) > _MAX_KEY:
            raise ValueError("it is too long")
        blob = binascii.a2b_base64(text)
        fields = _fields(blob, "it")
        if fields.get(b"version") != 1 or fields.get(b"algorithm") != b"sha256":
            raise VersionUnknown(f"{where} is of a form that Borg 1.0 to 1.4 do not have.")
        iterations = fields.get(b"iterations")
        if not isinstance(iterations, int) or not 0 < iterations <= _MAX_ITERATIONS:
            raise ValueError("its number of iterations is impossible")
        return WrappedKey(
            _bytes(fields, b"salt", range(8, 257)),
            iterations,
            _bytes(fields, b"hash", (32,)),
            _bytes(fields, b"data", range(1, _MAX_KEY)),
        )
    except (ValueError, binascii.Error, KeyInvalid, Damaged) as error:
        raise KeyInvalid(f"{where} is invalid: {error}. Use an exported copy of the key.") from None


def _fields(blob: bytes, what: str) -> dict[bytes, Any]:
    value = packing.unpack(blob, what)
    if not isinstance(value, dict):
        raise KeyInvalid(f"{what} is no list of fields.")
    return value


def _bytes(fields: dict[bytes, Any], name: bytes, lengths: "range | tuple[int, ...]") -> bytes:
    value = fields.get(name)
    if not isinstance(value, bytes) or len(value) not in lengths:
        raise ValueError(f"its field {name.decode()} is impossible")
    return value


def _aes_ctr(key: bytes, first: bytes, data: bytes | memoryview) -> bytes:
    return Cipher(algorithms.AES(key), modes.CTR(first)).decryptor().update(data)


class Opener:
    """From an object as stored to its plaintext. Any thread may use it."""

    def __init__(self, mode: Mode, secrets: Secrets) -> None:
        self.mode = mode
        self.secrets = secrets
        self._types = {number for number, one in MODES.items() if one == mode}
        self.chunk_id: Callable[[bytes | bytearray | memoryview], ChunkId] = self._hasher()

    def _hasher(self) -> Callable[[bytes | bytearray | memoryview], ChunkId]:
        key = self.secrets.id_key
        if self.mode.storage == "none":
            return lambda data: ChunkId(hashlib.sha256(data).digest())
        if self.mode.blake2:
            return lambda data: ChunkId(_blake2(key, data))
        return lambda data: ChunkId(hmac.digest(key, data, "sha256"))

    def open(self, chunk: ChunkId, stored: bytes, *, is_manifest: bool = False) -> bytes:
        """Raises `Damaged`. The manifest's id says nothing of its content."""
        try:
            plain = decompress(self._decrypt(stored))
        except Damaged as error:
            raise Damaged(f"Object {chunk.hex()}: {error}") from error
        if not is_manifest and not hmac.compare_digest(self.chunk_id(plain), chunk):
            raise Damaged(f"Object {chunk.hex()} has other bytes than its id says.")
        return plain

    def _decrypt(self, stored: bytes) -> bytes:
        if not stored or stored[0] not in self._types:
            raise Damaged("It is not in the envelope that this repository uses.")
        if not self.mode.encrypted:
            return stored[1:]
        if len(stored) < 1 + _MAC + _NONCE:
            raise Damaged("It is too short.")
        view = memoryview(stored)
        mac, covered = view[1 : 1 + _MAC], view[1 + _MAC :]
        key = self.secrets.enc_hmac_key
        computed = _blake2(key, covered) if self.mode.blake2 else hmac.digest(key, covered, "sha256")
        if not hmac.compare_digest(computed, mac):
            raise Damaged("Its authentication code does not fit.")
        return _aes_ctr(self.secrets.enc_key, bytes(8) + bytes(covered[:_NONCE]), covered[_NONCE:])

    def authenticate(self, packed: bytes, tam: object, context: bytes) -> bool:
        """Whether the metadata was made by a holder of the key: the code covers it with itself zeroed.

        Borg 1.4 documentation, internals, security, "tertiary authentication mechanism".
        """
        if not isinstance(tam, dict) or tam.get(b"type") != b"HKDF_HMAC_SHA512":
            return False
        code, salt = tam.get(b"hmac"), tam.get(b"salt")
        if not isinstance(code, bytes) or not isinstance(salt, bytes) or len(code) != 64 or len(salt) != 64:
            return False
        at = packed.find(code)
        zeroed = packed[:at] + bytes(64) + packed[at + 64 :]
        if self.mode.storage == "none":
            derived = salt + context
        else:
            secrets = self.secrets
            derived = HKDF(SHA512(), 64, salt, b"borg-metadata-authentication-" + context).derive(
                secrets.id_key + secrets.enc_key + secrets.enc_hmac_key
            )
        return at >= 0 and hmac.compare_digest(hmac.digest(derived, zeroed, "sha512"), code)


def _blake2(key: bytes, data: bytes | bytearray | memoryview) -> bytes:
    state = hashlib.blake2b(key, digest_size=32)
    state.update(data)
    return state.digest()


def names_repository(secrets: Secrets, repository: RepositoryId) -> bool:
    """Whether the key is that repository's."""
    return hmac.compare_digest(secrets.repository, repository)
