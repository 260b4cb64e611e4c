"""Sessions: what is sealed opens with the private key alone, and only as what it was sealed for."""

import os
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from strongroom.crypto import sealing
from strongroom.crypto.sealing import (
    ARCHIVE,
    DATA,
    HPKE_AES256GCM,
    HPKE_CHACHA20POLY1305,
    OVERHEAD,
    TREE,
    SealedSession,
    SealingKeyPair,
    SessionReader,
    SessionWriter,
)
from strongroom.errors import Damaged, KeyInvalid, RoleInsufficient, VersionUnknown
from strongroom.ids import RepositoryId

REPOSITORY, OTHER = RepositoryId(bytes(32)), RepositoryId(bytes(31) + b"\1")


@pytest.fixture(scope="module")
def pair() -> SealingKeyPair:
    return SealingKeyPair(*SealingKeyPair.generate())


def encrypted(writer: SessionWriter, plain: bytes, kind: int = DATA) -> bytes:
    out = bytearray(len(plain) + OVERHEAD)
    writer.encrypt_into(kind, memoryview(plain), memoryview(out))
    return bytes(out)


def decrypted(reader: SessionReader, writer: SessionWriter, stored: bytes, kind: int = DATA) -> bytes:
    return bytes(reader.decrypt(writer.sealed, kind, memoryview(stored)))


@pytest.mark.parametrize("aes", [True, False])
def test_what_is_sealed_opens(aes: bool, pair: SealingKeyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_aes_in_hardware", lambda: aes)
    writer, reader = SessionWriter(REPOSITORY, pair), SessionReader(REPOSITORY, pair, False)
    assert writer.sealed.algorithm == (HPKE_AES256GCM if aes else HPKE_CHACHA20POLY1305)
    for size in (0, 1, 1000, 100_000):
        plain = os.urandom(size)
        stored = encrypted(writer, plain)
        assert decrypted(reader, writer, stored) == plain
        assert size < 16 or plain not in stored


def test_without_the_private_half_nothing_opens(pair: SealingKeyPair) -> None:
    public, _ = SealingKeyPair.generate()
    backup = SealingKeyPair(public, None)
    writer = SessionWriter(REPOSITORY, backup)
    stored = encrypted(writer, b"secret")
    with pytest.raises(RoleInsufficient, match="backup key"):
        decrypted(SessionReader(REPOSITORY, backup, False), writer, stored)
    with pytest.raises(Damaged):
        decrypted(SessionReader(REPOSITORY, pair, False), writer, stored)


def test_a_bundle_is_bound_to_repository_session_and_type(pair: SealingKeyPair) -> None:
    writer, other = SessionWriter(REPOSITORY, pair), SessionWriter(REPOSITORY, pair)
    reader = SessionReader(REPOSITORY, pair, False)
    stored = encrypted(writer, b"plain", TREE)
    assert decrypted(reader, writer, stored, TREE) == b"plain"
    for kind in (DATA, ARCHIVE):
        with pytest.raises(Damaged):
            decrypted(reader, writer, stored, kind)
    with pytest.raises(Damaged):
        decrypted(reader, other, stored, TREE)
    with pytest.raises(Damaged):
        decrypted(SessionReader(OTHER, pair, False), writer, stored, TREE)


def test_a_session_key_is_bound_to_its_algorithm_and_id(pair: SealingKeyPair) -> None:
    writer = SessionWriter(REPOSITORY, pair)
    stored, sealed = encrypted(writer, b"plain"), writer.sealed
    reader = SessionReader(REPOSITORY, pair, False)
    swapped = HPKE_AES256GCM + HPKE_CHACHA20POLY1305 - sealed.algorithm
    for forged in (
        msgspec.structs.replace(sealed, algorithm=swapped),
        msgspec.structs.replace(sealed, id=bytes(16)),
    ):
        with pytest.raises(Damaged, match="session key does not open"):
            reader.decrypt(forged, DATA, memoryview(stored))


def test_every_changed_byte_is_noticed(pair: SealingKeyPair) -> None:
    writer, reader = SessionWriter(REPOSITORY, pair), SessionReader(REPOSITORY, pair, False)
    stored = encrypted(writer, b"plain")
    for at in range(len(stored)):
        changed = bytearray(stored)
        changed[at] ^= 0x10
        with pytest.raises(Damaged):
            decrypted(reader, writer, bytes(changed))
    with pytest.raises(Damaged):
        decrypted(reader, writer, stored[: OVERHEAD - 1])


def test_no_nonce_is_used_twice_by_many_threads(pair: SealingKeyPair) -> None:
    writer = SessionWriter(REPOSITORY, pair)
    with ThreadPoolExecutor(4) as pool:
        stored = list(pool.map(lambda n: encrypted(writer, bytes([n % 256])), range(500)))
    assert sorted(int.from_bytes(one[:8], "little") for one in stored) == list(range(500))


def test_a_session_is_spent_at_its_bounds(pair: SealingKeyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "MAX_BUNDLES", 2)
    writer = SessionWriter(REPOSITORY, pair)
    assert not writer.spent
    encrypted(writer, b"")
    assert not writer.spent
    encrypted(writer, b"")
    assert writer.spent
    monkeypatch.setattr(sealing, "MAX_BUNDLES", 1 << 32)
    monkeypatch.setattr(sealing, "MAX_BYTES", 10)
    writer = SessionWriter(REPOSITORY, pair)
    encrypted(writer, bytes(10))
    assert writer.spent


def test_plain_sessions_are_for_plain_repositories_alone(pair: SealingKeyPair) -> None:
    plain, sealed = SessionWriter(REPOSITORY, None), SessionWriter(REPOSITORY, pair)
    stored = encrypted(plain, b"plain")
    assert decrypted(SessionReader(REPOSITORY, None, True), plain, stored) == b"plain"
    with pytest.raises(Damaged, match="planted"):
        decrypted(SessionReader(REPOSITORY, pair, False), plain, stored)
    with pytest.raises(Damaged, match="planted"):
        decrypted(SessionReader(REPOSITORY, None, True), sealed, encrypted(sealed, b""))
    with pytest.raises(Damaged, match="zeros"):
        decrypted(SessionReader(REPOSITORY, None, True), plain, stored[:-1] + b"\1")


@pytest.mark.parametrize(
    ("session", "error"),
    [
        (SealedSession(bytes(15), 1, b"x"), Damaged),
        (SealedSession(bytes(16), 1, bytes(5000)), Damaged),
        (SealedSession(bytes(16), 0, b"x"), Damaged),
        (SealedSession(bytes(16), 1, b""), Damaged),
        (SealedSession(bytes(16), 3, b"x"), VersionUnknown),
        (SealedSession(bytes(16), -1, b"x"), VersionUnknown),
    ],
)
def test_impossible_sessions_are_refused(session: SealedSession, error: type[Exception]) -> None:
    with pytest.raises(error):
        session.check()


def test_keys_of_wrong_sizes_are_refused() -> None:
    public, private = SealingKeyPair.generate()
    for wrong in ((public[:-1], None), (public, private[:-1]), (public, b""), (b"", private)):
        with pytest.raises(KeyInvalid):
            SealingKeyPair(*wrong)
