"""The key file as it lies on disk: whose it is is plain, the secrets are wrapped.

Specified in docs/format.md, "Key files". Apart from `keys`, so that the slow derivation can begin before the
cryptography is loaded that opens what is wrapped.
"""

import os
from typing import Literal

import msgspec

from strongroom.errors import KeyInvalid, VersionUnknown
from strongroom.ids import ID_SIZE, KEY_ID_SIZE, KeyId, RepositoryId
from strongroom.malformed import MALFORMED

Role = Literal["admin", "restore", "backup", "server"]

MAGIC = b"STRONGROOMKEY"
VERSION = 1
MAX_KEY_FILE = 64 * 1024  # bytes; real ones take about 1.7 KiB

# RFC 9106, second recommended option: 64 MiB, 3 passes. One lane instead of 4: docs/decisions/0017.
ARGON2_MEMORY = 64 * 1024  # KiB
ARGON2_PASSES = 3
ARGON2_LANES = 1
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


def new_kdf() -> Kdf:
    """What a new key is wrapped by."""
    return Kdf("argon2id", os.urandom(16), ARGON2_PASSES, ARGON2_LANES, ARGON2_MEMORY)


def is_usual(kdf: Kdf) -> bool:
    """Whether it costs no more than what our own keys are wrapped by."""
    return kdf.memory <= ARGON2_MEMORY and kdf.passes <= ARGON2_PASSES


class Header(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    repository: bytes
    key_id: bytes
    name: str
    role: Role
    kdf: Kdf | None  # None: the secrets are not wrapped
    nonce: bytes


_header = msgspec.msgpack.Decoder(Header)


class KeyFile(msgspec.Struct, frozen=True):
    """A key file as it lies on disk: who it belongs to is plain, the secrets are not."""

    header: Header
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
