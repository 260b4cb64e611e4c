"""Session keys and bundles: what makes a backup key write-only.

A writing session draws a random key, seals it once to the repository's public key (HPKE,
RFC 9180, with the hybrid KEM of draft-ietf-hpke-pq), and encrypts all its bundles with it.
Specified in docs/format.md, "Sessions" and "Bundles".
"""

import os
import struct
import threading
from functools import lru_cache
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from strongroom.errors import Damaged, KeyInvalid, RoleInsufficient, VersionUnknown
from strongroom.ids import SESSION_ID_SIZE, RepositoryId, SessionId

# The algorithm of a session: how its key is sealed, and how it encrypts.
PLAIN = 0  # modes `none` and `authenticated`: nothing is encrypted
HPKE_AES256GCM = 1
HPKE_CHACHA20POLY1305 = 2

# The type of what is encrypted; part of the associated data.
DATA, TREE, ARCHIVE = 0, 1, 2

TAG_SIZE = 16
COUNTER_SIZE = 8
OVERHEAD = COUNTER_SIZE + TAG_SIZE

MAX_SEALED = 4096  # bytes of a sealed session key; 1168 with MLKEM768_X25519
# NIST SP 800-38D 8.3 allows 2^32 invocations a key; the byte bound keeps the advantage under 2^-32.
MAX_BUNDLES = 1 << 32
MAX_BYTES = 1 << 40

_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_MLKEM_SEED, _MLKEM_PUBLIC, _X25519 = 64, 1184, 32
PUBLIC_SIZE, PRIVATE_SIZE = _MLKEM_PUBLIC + _X25519, _MLKEM_SEED + _X25519
_INFO = b"strongroom 1 session key"
_DOMAIN = b"strongroom 1 bundle"


class _Aead(Protocol):
    def encrypt_into(
        self, nonce: bytes, data: memoryview, associated_data: bytes, buf: memoryview
    ) -> int: ...
    def decrypt(self, nonce: bytes, data: memoryview, associated_data: bytes) -> bytes: ...
    def decrypt_into(
        self, nonce: bytes, data: memoryview, associated_data: bytes, buf: memoryview
    ) -> int: ...


class SealedSession(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A session as packs and archives carry it; `sealed` is empty for `PLAIN`."""

    id: bytes
    algorithm: int
    sealed: bytes

    def check(self) -> None:
        """Raises `Damaged`, `VersionUnknown`."""
        if len(self.id) != SESSION_ID_SIZE or len(self.sealed) > MAX_SEALED:
            raise Damaged("A session entry has impossible sizes.")
        if self.algorithm not in (PLAIN, HPKE_AES256GCM, HPKE_CHACHA20POLY1305):
            raise VersionUnknown(f"Encryption algorithm {self.algorithm} is unknown. Upgrade strongroom.")
        if (self.algorithm == PLAIN) != (not self.sealed):
            raise Damaged("A session entry has a sealed key where none can be, or lacks it.")


class SealingKeyPair:
    """The repository's hybrid key pair; the private half is absent in a backup key.

    Public: ML-KEM-768 encapsulation key, then X25519 public key. Private: ML-KEM-768 seed
    (FIPS 203, d then z), then X25519 private key.
    """

    def __init__(self, public: bytes, private: bytes | None) -> None:
        if len(public) != PUBLIC_SIZE or (private is not None and len(private) != PRIVATE_SIZE):
            raise KeyInvalid("The key file's sealing key has a wrong size. Use your exported copy.")
        try:
            self._public = hpke.MLKEM768X25519PublicKey(
                mlkem.MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC]),
                x25519.X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC:]),
            )
            self._private = None
            if private is not None:
                self._private = hpke.MLKEM768X25519PrivateKey(
                    mlkem.MLKEM768PrivateKey.from_seed_bytes(private[:_MLKEM_SEED]),
                    x25519.X25519PrivateKey.from_private_bytes(private[_MLKEM_SEED:]),
                )
        except ValueError as error:
            raise KeyInvalid("The key file's sealing key is invalid. Use your exported copy.") from error

    @staticmethod
    def generate() -> tuple[bytes, bytes]:
        """A new pair as (public, private) bytes."""
        kem = mlkem.MLKEM768PrivateKey.generate()
        curve = x25519.X25519PrivateKey.generate()
        public = kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        return public, kem.private_bytes_raw() + curve.private_bytes_raw()

    def seal(self, session_key: bytes, info: bytes) -> bytes:
        return _SUITE.encrypt(session_key, self._public, info)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Raises `RoleInsufficient` without the private half, `Damaged` if it does not open."""
        if self._private is None:
            raise RoleInsufficient(
                "This is a backup key: it can write archives and cannot open them. "
                "Use the admin key or a restore key to read."
            )
        try:
            return _SUITE.decrypt(sealed, self._private, info)
        except (InvalidTag, ValueError):
            raise Damaged("A session key does not open: damaged, or sealed for another repository.") from None


def load_curves() -> None:
    """What the first key of a curve loads: 7 ms, well spent while a passphrase is derived."""
    x25519.X25519PrivateKey.generate()


def session_info(repository: RepositoryId, session: bytes, algorithm: int) -> bytes:
    """Binds the algorithm: a session key never serves two of them."""
    return _INFO + repository + session + bytes((algorithm,))


def associated_data(repository: RepositoryId, session: bytes, kind: int) -> bytes:
    return _DOMAIN + repository + session + bytes((kind,))


def _aead(algorithm: int, key: bytes) -> _Aead:
    return ChaCha20Poly1305(key) if algorithm == HPKE_CHACHA20POLY1305 else AESGCM(key)


class SessionWriter:
    """Encrypts bundles for one writing run. Safe to use from several threads."""

    def __init__(self, repository: RepositoryId, pair: SealingKeyPair | None) -> None:
        """`pair` None writes plain bundles, for the modes `none` and `authenticated`."""
        session = SessionId(os.urandom(SESSION_ID_SIZE))
        self._lock = threading.Lock()
        self._counter = 0
        self._bytes = 0
        self._data = {kind: associated_data(repository, session, kind) for kind in (DATA, TREE, ARCHIVE)}
        self._aead: _Aead | None = None
        if pair is None:
            self.sealed = SealedSession(session, PLAIN, b"")
            return
        key = os.urandom(32)
        algorithm = HPKE_AES256GCM if _aes_in_hardware() else HPKE_CHACHA20POLY1305
        self._aead = _aead(algorithm, key)
        self.sealed = SealedSession(
            session, algorithm, pair.seal(key, session_info(repository, session, algorithm))
        )

    @property
    def spent(self) -> bool:
        """True when a new session must take over."""
        return self._counter >= MAX_BUNDLES or self._bytes >= MAX_BYTES

    def encrypt_into(self, kind: int, plain: memoryview, out: memoryview) -> None:
        """Fills `out`, which is `OVERHEAD` longer than `plain`: counter, ciphertext, tag."""
        with self._lock:
            counter = self._counter
            self._counter += 1
            self._bytes += len(plain)
        # NIST SP 800-38D 8.2.1, deterministic construction: the key is this session's alone,
        # so a session-wide counter never repeats a nonce.
        out[:COUNTER_SIZE] = struct.pack("<Q", counter)
        if self._aead is None:
            out[COUNTER_SIZE:-TAG_SIZE] = plain
            out[-TAG_SIZE:] = bytes(TAG_SIZE)
            return
        self._aead.encrypt_into(struct.pack("<4xQ", counter), plain, self._data[kind], out[COUNTER_SIZE:])


class SessionReader:
    """Opens bundles of any session of the repository. Safe to use from several threads."""

    def __init__(self, repository: RepositoryId, pair: SealingKeyPair | None, plain_allowed: bool) -> None:
        """`plain_allowed` says whether the repository's mode has plain sessions at all."""
        self._repository = repository
        self._pair = pair
        self.plain_allowed = plain_allowed
        self._open = lru_cache(maxsize=4096)(self._open_session)

    def _open_session(self, session: SealedSession) -> _Aead | None:
        session.check()
        if session.algorithm == PLAIN:
            if not self.plain_allowed:
                raise Damaged("An unencrypted session in an encrypted repository: it was planted. Run audit.")
            return None
        if self._pair is None:
            raise Damaged("An encrypted session in an unencrypted repository: it was planted. Run audit.")
        key = self._pair.open(session.sealed, session_info(self._repository, session.id, session.algorithm))
        if len(key) != 32:
            raise Damaged("A session key has a wrong size.")
        return _aead(session.algorithm, key)

    def decrypt(
        self, session: SealedSession, kind: int, bundle: memoryview, into: memoryview | None = None
    ) -> bytes | memoryview:
        """The plaintext of a stored bundle, in fresh memory, in `into`, which is `OVERHEAD` shorter, or in
        `bundle` itself where nothing is encrypted. Raises `Damaged`, `RoleInsufficient`, `VersionUnknown`.
        """
        aead = self._open(session)
        if len(bundle) < OVERHEAD:
            raise Damaged("A bundle is shorter than any bundle can be.")
        if aead is None:
            if any(bundle[-TAG_SIZE:]):
                raise Damaged("A plain bundle does not end in zeros.")
            return bundle[COUNTER_SIZE:-TAG_SIZE]
        nonce = bytes(4) + bytes(bundle[:COUNTER_SIZE])
        data = associated_data(self._repository, session.id, kind)
        try:
            if into is None:
                return aead.decrypt(nonce, bundle[COUNTER_SIZE:], data)
            aead.decrypt_into(nonce, bundle[COUNTER_SIZE:], data, into)
            return into
        except InvalidTag:
            raise Damaged("A bundle does not open: its bytes are not what was written.") from None


@lru_cache(maxsize=1)
def _aes_in_hardware() -> bool:
    """AES-GCM without AES instructions is slow, and hard to make constant-time."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
            words = next((line for line in info if line.startswith(("flags", "Features"))), "")
    except OSError:
        return True
    return "aes" in words.split()
