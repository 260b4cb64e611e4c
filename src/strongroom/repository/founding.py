"""The `config` object: what a repository is, fixed when it is founded.

Specified in docs/format.md, "config". The repository id is the hash of the founding line,
so that whoever knows the id can tell whether the config is the true one.
"""

import binascii
from typing import Annotated, Literal

import msgspec

from strongroom.crypto import hashing, keys
from strongroom.crypto.keys import Protection
from strongroom.crypto.sealing import PUBLIC_SIZE
from strongroom.errors import Damaged, NotARepository, VersionUnknown
from strongroom.ids import RepositoryId
from strongroom.malformed import MALFORMED

NAME = "config"
MAX_SIZE = 64 * 1024
QUARANTINE_DAYS = 30  # where whoever founds a repository does not choose
_FIRST_LINE = b"strongroom repository, format 1"
_FIRST_WORDS = b"strongroom repository, format "
_DOMAIN = b"strongroom 1 config\0"


class Founding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Defaults that later log records may override are policy, the rest never changes."""

    nonce: str  # hex, random: makes the id unique
    created: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]  # ns since the epoch
    protection: Protection
    key_location: Literal["repokey", "keyfile"]
    admin_key: str  # hex of the founding admin's raw Ed25519 public key
    sealing_key: str  # hex of the public sealing key
    append_only: bool = True
    pack_target: Annotated[int, msgspec.Meta(ge=1 << 20, le=1 << 29)] = 32 * 1024 * 1024  # bytes
    quarantine_days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] = QUARANTINE_DAYS
    # bytes; advisory here, enforced by `serve`
    storage_quota: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] | None = None

    # percent of each pack that writers add as parity; left out of the line where it is not wanted
    parity: Annotated[int, msgspec.Meta(ge=1, le=100)] | msgspec.UnsetType = msgspec.UNSET

    @property
    def parity_percent(self) -> int:
        """0 where no parity is wanted."""
        return 0 if isinstance(self.parity, msgspec.UnsetType) else self.parity

    @property
    def admin_public(self) -> bytes:
        return bytes.fromhex(self.admin_key)


_founding = msgspec.json.Decoder(Founding)


def encode(founding: Founding, signing_private: bytes) -> tuple[RepositoryId, bytes]:
    """The repository id and the config object's bytes."""
    line = msgspec.json.encode(founding)
    signature = keys.sign(signing_private, _DOMAIN + line)
    blob = b"\n".join((_FIRST_LINE, line, binascii.hexlify(signature), b""))
    return RepositoryId(hashing.plain_hash(line)), blob


_BORGS_FIRST_LINE = b"[repository]"


def decode(blob: bytes, where: str) -> tuple[RepositoryId, Founding]:
    """Raises `NotARepository`, `VersionUnknown`, `Damaged`."""
    lines = blob.split(b"\n")
    if lines[0] != _FIRST_LINE:
        if lines[0].startswith(_FIRST_WORDS) and lines[0][len(_FIRST_WORDS) :].isdigit():
            raise VersionUnknown(
                f"{where} has repository format {lines[0][len(_FIRST_WORDS) :].decode()}, "
                "this strongroom knows format 1. Upgrade strongroom."
            )
        if lines[0].strip() == _BORGS_FIRST_LINE:
            theirs = f"borg+{where}" if where.startswith("ssh://") else f"borg:{where}"
            raise NotARepository(
                f"{where} is a repository of Borg's. To read it, write {theirs}; to move over, bring its "
                f"archives into a new repository with `strongroom transfer --from {theirs} NEW`."
            )
        raise NotARepository(f"{where} is not a strongroom repository: its config says something else.")
    damaged = Damaged(
        f"The config of {where} is damaged. Put the file back from any copy of it: it never changes."
    )
    if len(lines) != 4 or lines[3] != b"" or lines[2] != lines[2].lower():
        raise damaged
    try:
        founding = _founding.decode(lines[1])
        signature = binascii.unhexlify(lines[2])
        public = founding.admin_public
        sealing = bytes.fromhex(founding.sealing_key)
    except (*MALFORMED, ValueError) as error:
        raise damaged from error
    # One spelling only: parsers differ on repeated names, on blanks and on escapes.
    if msgspec.json.encode(founding) != lines[1]:
        raise damaged
    if founding.protection == "sealed" and len(sealing) != PUBLIC_SIZE:
        raise damaged
    if not keys.verify_signature(public, signature, _DOMAIN + lines[1]):
        raise damaged
    return RepositoryId(hashing.plain_hash(lines[1])), founding
