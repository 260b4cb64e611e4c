"""Key files: wrapped by a passphrase, refused when anything about them is wrong."""

import dataclasses
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.crypto import keyformat, keys
from strongroom.crypto.keys import KeySecrets
from strongroom.crypto.sealing import SealingKeyPair
from strongroom.errors import KeyInvalid, PassphraseWrong, VersionUnknown
from strongroom.ids import RepositoryId

REPOSITORY = RepositoryId(bytes(range(32)))


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyformat, "ARGON2_MEMORY", 64)
    monkeypatch.setattr(keyformat, "ARGON2_PASSES", 1)


def test_a_passphrase_is_as_dear_to_try_as_promised() -> None:
    """RFC 9106, second recommended option, of one lane; in a process that no test has made cheaper."""
    script = (
        "from strongroom.crypto.keyformat import new_kdf\n"
        "kdf = new_kdf()\n"
        "print(kdf.name, kdf.passes, kdf.lanes, kdf.memory, len(kdf.salt))"
    )
    assert subprocess.check_output([sys.executable, "-c", script]).split() == [
        b"argon2id",
        b"3",
        b"1",
        b"65536",
        b"16",
    ]


@pytest.fixture(scope="module")
def secrets() -> KeySecrets:
    signing = keys.new_signing_key()
    public, private = SealingKeyPair.generate()
    return KeySecrets(
        REPOSITORY,
        "admin",
        "admin",
        "sealed",
        bytes(32),
        7,
        keys.public_of(signing),
        signing,
        public,
        private,
    )


def headers_changed(blob: bytes, **changes: Any) -> bytes:
    header_bytes, sealed = msgspec.msgpack.decode(blob[len(keyformat.MAGIC) :])
    header = msgspec.structs.replace(msgspec.msgpack.decode(header_bytes, type=keyformat.Header), **changes)
    return keyformat.MAGIC + msgspec.msgpack.encode([msgspec.msgpack.encode(header), sealed])


def test_a_key_file_opens_with_its_passphrase_alone(secrets: KeySecrets) -> None:
    blob = keys.wrap(secrets, "grüße \udcff")
    file = keyformat.parse(blob, "here")
    assert (file.repository, file.key_id, file.name, file.role) == (
        REPOSITORY, secrets.key_id(), "admin", "admin",
    )  # fmt: skip
    assert file.needs_passphrase
    assert keys.unwrap(file, "grüße \udcff", "here") == secrets
    for wrong in ("", "grüße", "GRÜSSE \udcff"):
        with pytest.raises(PassphraseWrong, match="here"):
            keys.unwrap(file, wrong, "here")
    assert secrets.signing_private not in blob and secrets.id_key not in blob


def test_two_wrappings_share_neither_salt_nor_nonce(secrets: KeySecrets) -> None:
    one, other = (keyformat.parse(keys.wrap(secrets, "x"), "").header for _ in range(2))
    assert one.kdf and other.kdf and one.kdf.salt != other.kdf.salt and one.nonce != other.nonce


def test_without_a_passphrase_damage_is_still_found(secrets: KeySecrets) -> None:
    blob = bytearray(keys.wrap(secrets, None))
    assert keys.unwrap(keyformat.parse(bytes(blob), "here"), "", "here") == secrets
    blob[-20] ^= 1
    with pytest.raises(KeyInvalid, match="damaged"):
        keys.unwrap(keyformat.parse(bytes(blob), "here"), "", "here")


def test_an_empty_passphrase_wraps_as_any_other(secrets: KeySecrets) -> None:
    """Only None leaves the secrets bare: a slip of an empty variable must not."""
    file = keyformat.parse(keys.wrap(secrets, ""), "here")
    assert file.needs_passphrase and keys.unwrap(file, "", "here") == secrets


def test_the_header_is_part_of_what_is_sealed(secrets: KeySecrets) -> None:
    """No role, name or weaker derivation can be put on a key by whoever keeps it."""
    blob = keys.wrap(secrets, "x")
    for changes in ({"role": "backup"}, {"name": "other"}, {"repository": bytes(32)}, {"key_id": bytes(16)}):
        with pytest.raises(PassphraseWrong):
            keys.unwrap(keyformat.parse(headers_changed(blob, **changes), "here"), "x", "here")


@pytest.mark.parametrize(
    "kdf",
    [
        keyformat.Kdf("scrypt", bytes(16), 1, 1, 64),
        keyformat.Kdf("argon2id", bytes(7), 1, 1, 64),
        keyformat.Kdf("argon2id", bytes(16), 0, 1, 64),
        keyformat.Kdf("argon2id", bytes(16), 17, 1, 64),
        keyformat.Kdf("argon2id", bytes(16), 1, 17, 4096),
        keyformat.Kdf("argon2id", bytes(16), 1, 4, 31),
        keyformat.Kdf("argon2id", bytes(16), 1, 4, 1 << 22),
    ],
)
def test_a_derivation_out_of_bounds_is_not_even_tried(kdf: keyformat.Kdf, secrets: KeySecrets) -> None:
    with pytest.raises(KeyInvalid):
        keyformat.parse(headers_changed(keys.wrap(secrets, "x"), kdf=kdf), "here")


@pytest.mark.parametrize(
    "blob",
    [b"", b"STRONGROOMKEY", b"STRONGROOMKE" + bytes(100), b"STRONGROOMKEY" + bytes(70_000)],
)
def test_what_is_no_key_file_is_refused(blob: bytes) -> None:
    with pytest.raises(KeyInvalid, match="here"):
        keyformat.parse(blob, "here")


def test_a_future_version_is_told(secrets: KeySecrets) -> None:
    with pytest.raises(VersionUnknown, match="Upgrade"):
        keyformat.parse(headers_changed(keys.wrap(secrets, None), version=2), "here")


@pytest.mark.parametrize(
    "changes",
    [
        {"id_key": bytes(31)},
        {"chunker_seed": 1 << 63},
        {"chunker_seed": -1},
        {"signing_private": bytes(31)},
        {"admin_public": b""},
        {"sealing_public": bytes(32)},
        {"sealing_private": bytes(95)},
        {"sealing_private": None},
        {"role": "restore"},
        {"repository": bytes(32)},
        {"signing_private": bytes(32)},
    ],
)
def test_secrets_that_cannot_be_are_refused(changes: dict[str, Any], secrets: KeySecrets) -> None:
    """They would else end in Python's own errors, far from here."""
    file = keyformat.parse(keys.wrap(secrets, None), "here")
    plain = msgspec.msgpack.encode(msgspec.structs.replace(secrets, **changes))
    sealed = AESGCM(bytes(32)).encrypt(file.header.nonce, plain, file.header_bytes)
    with pytest.raises(KeyInvalid):
        keys.unwrap(msgspec.structs.replace(file, sealed=sealed), "", "here")


def test_too_little_memory_is_told(secrets: KeySecrets) -> None:
    def exhausted(kdf: keyformat.Kdf, passphrase: str) -> bytes:
        raise MemoryError

    file = keyformat.parse(keys.wrap(secrets, "x"), "here")
    with pytest.raises(KeyInvalid, match="memory"):
        keys.unwrap(file, "x", "here", exhausted)


def test_secrets_are_in_no_representation(secrets: KeySecrets) -> None:
    assert repr(secrets) == "<admin key 'admin'>" == f"{secrets}"
    assert not dataclasses.is_dataclass(secrets)


def test_signatures() -> None:
    """RFC 8032, 7.1, test 2."""
    private = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = keys.sign(private, b"\x72")
    assert keys.public_of(private) == public and signature.hex().startswith(
        "92a009a9f0d4cab8720e820b5f642540"
    )
    assert keys.verify_signature(public, signature, b"\x72")
    for wrong in ((public, signature, b"\x73"), (bytes(32), signature, b"\x72"), (public, b"", b"\x72")):
        assert not keys.verify_signature(*wrong)


@pytest.mark.parametrize(
    ("role", "protection", "opens", "writes"),
    [
        ("admin", "sealed", True, True),
        ("restore", "sealed", True, False),
        ("backup", "sealed", False, True),
        ("backup", "none", True, True),
    ],
)
def test_roles(role: Any, protection: Any, opens: bool, writes: bool, secrets: KeySecrets) -> None:
    one = msgspec.structs.replace(secrets, role=role, protection=protection)
    assert (one.can_open, one.can_write) == (opens, writes)
