"""Key files: the secrets of one key holder, by role, wrapped by a passphrase.

Specified in docs/format.md, "Key files".
"""

import os
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.crypto import hashing
from strongroom.crypto.argon import Derive, derive
from strongroom.crypto.keyformat import MAGIC, VERSION, Header, KeyFile, Role, new_kdf
from strongroom.crypto.sealing import PRIVATE_SIZE, PUBLIC_SIZE, SealingKeyPair
from strongroom.errors import KeyInvalid, PassphraseWrong
from strongroom.ids import KeyId, RepositoryId
from strongroom.malformed import MALFORMED

Protection = Literal["none", "authenticated", "sealed"]


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


_NO_KEY = bytes(32)  # no secret: the AEAD then only detects damage


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
    kdf = None if passphrase is None else new_kdf()
    nonce = os.urandom(12)
    header = msgspec.msgpack.encode(
        Header(VERSION, secrets.repository, secrets.key_id(), secrets.name, secrets.role, kdf, nonce)
    )
    sealed = AESGCM(derive(kdf, passphrase) if kdf and passphrase is not None else _NO_KEY).encrypt(
        nonce, msgspec.msgpack.encode(secrets), header
    )
    return MAGIC + msgspec.msgpack.encode([header, sealed])


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
