"""OpenSSH public keys: one line `type base64 [comment]`, read strictly.

The blob inside is a sequence of length-prefixed strings, the first of which repeats the type
(RFC 4253 section 6.6, RFC 5656, RFC 8709, OpenSSH's PROTOCOL.u2f).
"""

import base64
import binascii
import hashlib

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from strongroom.errors import CommandError
from strongroom.store.wire import printable

MAX_TEXT = 16 * 1024  # characters
MIN_RSA_BITS = 2048

# How many strings the blob holds, the type included.
FIELDS = {
    "ssh-ed25519": 2,
    "ssh-rsa": 3,
    "ecdsa-sha2-nistp256": 3,
    "ecdsa-sha2-nistp384": 3,
    "ecdsa-sha2-nistp521": 3,
    "sk-ssh-ed25519@openssh.com": 3,
    "sk-ecdsa-sha2-nistp256@openssh.com": 4,
}


class PublicKey(msgspec.Struct, frozen=True):
    kind: str
    blob: bytes
    comment: str

    @property
    def line(self) -> str:
        """Type and base64: what sshd compares."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")
        return f"SHA256:{digest}"


def parse_public_key(text: str) -> PublicKey:
    """The one key in a `.pub` file's text. Raises `CommandError` saying what it is instead."""
    if "PRIVATE KEY" in text:
        raise CommandError(
            "This is a private key, which never leaves the client: give the file ending in .pub."
        )
    if len(text) > MAX_TEXT:
        raise CommandError("This is no public key: it is too long.")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1:
        raise CommandError(f"A public key is one line; there are {len(lines)}.")
    kind, _, rest = lines[0].strip().partition(" ")
    encoded, _, comment = rest.strip().partition(" ")
    if kind not in FIELDS:
        raise CommandError(
            f"{printable(kind)[:60]!r} is no kind of key that is accepted: a line like "
            "`ssh-ed25519 AAAA… laptop` is expected, without options."
        )
    return PublicKey(kind, _blob(kind, encoded), printable(" ".join(comment.split()))[:100])


def _blob(kind: str, encoded: str) -> bytes:
    try:
        blob = binascii.a2b_base64(encoded.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise CommandError(f"The public key is damaged: its base64 is wrong ({error}).") from None
    if base64.b64encode(blob).decode() != encoded:
        raise CommandError("The public key is damaged: its base64 has something after its end.")
    fields = _strings(blob)
    if len(fields) != FIELDS[kind] or fields[0] != kind.encode():
        raise CommandError(f"The public key is damaged: inside it is no {kind} key.")
    if kind.startswith("sk-"):
        if not fields[-1] or len(fields[1]) not in (32, 8):  # an Ed25519 point, or the name of the curve
            raise CommandError("The public key is damaged: it is no security key's.")
        return blob
    try:
        key = load_ssh_public_key(f"{kind} {encoded}".encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CommandError(f"The public key is damaged: {error}.") from None
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise CommandError(
            f"The RSA key has {key.key_size} bits, {MIN_RSA_BITS} are the least: take an Ed25519 key."
        )
    return blob


def _strings(blob: bytes) -> list[bytes]:
    """All the strings of a blob; empty if it does not come out even."""
    found: list[bytes] = []
    while blob:
        end = 4 + int.from_bytes(blob[:4], "big")
        if len(blob) < end or len(found) > 4:
            return []
        found.append(blob[4:end])
        blob = blob[end:]
    return found
