"""Key files: the secrets of one key holder, by role, wrapped by a passphrase.

Specified in docs/format.md, "Key files".
"""

import os
from collections.abc import Callable
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from strongroom.crypto import hashing
from strongroom.crypto.sealing import PRIVATE_SIZE, PUBLIC_SIZE, SealingKeyPair
from strongroom.errors import KeyInvalid, PassphraseWrong, VersionUnknown
from strongroom.ids import ID_SIZE, KEY_ID_SIZE, KeyId, RepositoryId
from strongroom.malformed import MALFORMED

Role = Literal["admin", "restore", "backup", "server"]
Protection = Literal["none", "authenticated", "sealed"]

MAGIC = b"STRONGROOMKEY"
VERSION = 1
MAX_KEY_FILE = 64 * 1024  # bytes; real ones take about 1.7 KiB

# RFC 9106, second recommended option: 64 MiB, 3 passes, 4 lanes.
ARGON2_MEMORY = 64 * 1024  # KiB
ARGON2_PASSES = 3
ARGON2_LANES = 4
# A key file from a hostile store must not exhaust memory or time.
# The bounds admit RFC 9106's first recommended option, 2 GiB.
_MAX_MEMORY = 2 * 1024 * 1024
_MAX_PASSES = 16
_MAX_LANES = 16
MAX_NAME = 255  # characters of a key's name


class Kdf(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Argon2id (RFC 9106) and its parameters; memory in KiB."""

    name: str
    salt: bytes
    passes: int
    lanes: int
    memory: int


class _Header(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    repository: bytes
    key_id: bytes
    name: str
    role: Role
    kdf: Kdf | None  # None: the secrets are not wrapped
    nonce: bytes


_header = msgspec.msgpack.Decoder(_Header)


class KeySecrets(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a key holder knows. `sealing_private` is None in a backup key: it cannot open."""

    repository: RepositoryId
    name: str
    role: Role
    protection: Protection
    id_key: bytes  # 32
    chunker_seed: int  # 63 bits: all that the chunker takes
    admin_public: bytes  # raw Ed25519 public key of the founding admin
    signing_private: bytes  # raw Ed25519 private key of this holder
    sealing_public: bytes
    sealing_private: bytes | None

    def __repr__(self) -> str:
        return f"<{self.role} key {self.name!r}>"  # never the secrets, in no log

    @property
    def can_open(self) -> bool:
        return self.role in ("admin", "restore") or self.protection != "sealed"

    @property
    def can_write(self) -> bool:
        return self.role in ("admin", "backup")

    def public(self) -> bytes:
        return public_of(self.signing_private)

    def key_id(self) -> KeyId:
        return hashing.key_id(self.public())


_secrets = msgspec.msgpack.Decoder(KeySecrets)


class ServerKey(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The key of a server's owner: it signs what the role `server` may, and opens nothing."""

    name: str
    signing_private: bytes

    def __repr__(self) -> str:
        return f"<server key {self.name!r}>"

    def public(self) -> bytes:
        return public_of(self.signing_private)

    def key_id(self) -> KeyId:
        return hashing.key_id(self.public())


class KeyFile(msgspec.Struct, frozen=True):
    """A key file as it lies on disk: who it belongs to is plain, the secrets are wrapped."""

    header: _Header
    header_bytes: bytes
    sealed: bytes

    @property
    def repository(self) -> RepositoryId:
        return RepositoryId(self.header.repository)

    @property
    def key_id(self) -> KeyId:
        return KeyId(self.header.key_id)

    @property
    def name(self) -> str:
        return self.header.name

    @property
    def role(self) -> Role:
        return self.header.role

    @property
    def needs_passphrase(self) -> bool:
        return self.header.kdf is not None


Derive = Callable[[Kdf, str], bytes]
"""From a passphrase to the key that wraps the secrets. Raises `MemoryError`."""

_NO_KEY = bytes(32)  # no secret: the AEAD then only detects damage


def derive(kdf: Kdf, passphrase: str) -> bytes:
    return Argon2id(
        salt=kdf.salt, length=32, iterations=kdf.passes, lanes=kdf.lanes, memory_cost=kdf.memory
    ).derive(passphrase.encode("utf-8", "surrogateescape"))


def new_signing_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes_raw()


def public_of(private: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def sign(private: bytes, message: bytes) -> bytes:
    """Ed25519 (RFC 8032), 64 bytes."""
    return Ed25519PrivateKey.from_private_bytes(private).sign(message)


def verify_signature(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Ed25519 (RFC 8032)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def wrap(secrets: KeySecrets, passphrase: str | None) -> bytes:
    """The key file's bytes. None leaves the secrets unwrapped: for machines."""
    kdf = None
    if passphrase is not None:
        kdf = Kdf("argon2id", os.urandom(16), ARGON2_PASSES, ARGON2_LANES, ARGON2_MEMORY)
    nonce = os.urandom(12)
    header = msgspec.msgpack.encode(
        _Header(VERSION, secrets.repository, secrets.key_id(), secrets.name, secrets.role, kdf, nonce)
    )
    sealed = AESGCM(derive(kdf, passphrase) if kdf and passphrase is not None else _NO_KEY).encrypt(
        nonce, msgspec.msgpack.encode(secrets), header
    )
    return MAGIC + msgspec.msgpack.encode([header, sealed])


def parse(blob: bytes, where: str) -> KeyFile:
    """Raises `KeyInvalid`, `VersionUnknown`; `where` names the file in messages."""
    bad = KeyInvalid(
        f"{where} is not a strongroom key file, or it is damaged. Use your exported copy of the key."
    )
    if not blob.startswith(MAGIC) or len(blob) > MAX_KEY_FILE:
        raise bad
    try:
        header_bytes, sealed = msgspec.msgpack.decode(blob[len(MAGIC) :], type=tuple[bytes, bytes])
        version = msgspec.msgpack.decode(header_bytes, type=list[msgspec.Raw])[0]
        if msgspec.msgpack.decode(version, type=int) != VERSION:
            raise VersionUnknown(
                f"{where} is a key file of a newer strongroom. Upgrade strongroom to use it."
            )
        header = _header.decode(header_bytes)
    except (*MALFORMED, IndexError) as error:
        raise bad from error
    kdf = header.kdf
    if (
        len(header.repository) != ID_SIZE
        or len(header.key_id) != KEY_ID_SIZE
        or len(header.nonce) != 12
        or len(header.name) > MAX_NAME
        or header.role == "server"  # it holds no secrets of the repository, so it has no such file
    ):
        raise bad
    if kdf is not None and not (
        kdf.name == "argon2id"
        and 8 <= len(kdf.salt) <= 64
        and 1 <= kdf.passes <= _MAX_PASSES
        and 1 <= kdf.lanes <= _MAX_LANES
        and 8 * kdf.lanes <= kdf.memory <= _MAX_MEMORY
    ):
        raise bad
    return KeyFile(header, header_bytes, sealed)


def unwrap(file: KeyFile, passphrase: str, where: str, derive: Derive = derive) -> KeySecrets:
    """Raises `PassphraseWrong`, and `KeyInvalid` for an unwrapped key that is damaged."""
    kdf = file.header.kdf
    try:
        plain = AESGCM(_NO_KEY if kdf is None else derive(kdf, passphrase)).decrypt(
            file.header.nonce, file.sealed, file.header_bytes
        )
    except InvalidTag:
        if file.header.kdf is None:
            raise KeyInvalid(f"{where} is damaged. Use your exported copy of the key.") from None
        raise PassphraseWrong(f"The passphrase is wrong for the key {file.name!r} in {where}.") from None
    except MemoryError as error:
        raise KeyInvalid(
            f"Opening {where} takes more memory than this machine has. "
            "Open it on a larger one, and change its passphrase there."
        ) from error
    try:
        secrets = _secrets.decode(plain)
    except MALFORMED as error:
        raise KeyInvalid(f"{where} does not hold a valid key: {error}.") from error
    if not _is_whole(secrets):
        raise KeyInvalid(f"{where} does not hold a valid key. Use your exported copy.")
    if secrets.repository != file.repository or secrets.key_id() != file.key_id or secrets.role != file.role:
        raise KeyInvalid(f"{where} contradicts itself about whose key it is. Use your exported copy.")
    return secrets


def _is_whole(secrets: KeySecrets) -> bool:
    private = secrets.sealing_private
    return (
        len(secrets.id_key) == len(secrets.admin_public) == len(secrets.signing_private) == 32
        and 0 <= secrets.chunker_seed < 1 << 63
        and len(secrets.sealing_public) == PUBLIC_SIZE
        and (private is None or len(private) == PRIVATE_SIZE)
        and (private is None) == (secrets.role == "backup")
    )


def sealing_pair(secrets: KeySecrets) -> SealingKeyPair:
    return SealingKeyPair(secrets.sealing_public, secrets.sealing_private)
