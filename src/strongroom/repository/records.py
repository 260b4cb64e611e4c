"""Records of the signed, hash-chained log: their kinds, bodies and bytes.

Specified in docs/format.md, "The log". What they add up to is in `log`.
"""

from typing import Literal, Protocol

import msgspec

from strongroom.crypto import hashing, keys
from strongroom.crypto.keyformat import Role
from strongroom.errors import LogBroken, StrongroomError, VersionUnknown
from strongroom.ids import ID_SIZE, KeyId, RepositoryId
from strongroom.malformed import MALFORMED
from strongroom.store.stamp import MAX_RECORD

VERSION = 1
FIRST_SEQ = 1
DOMAIN = b"strongroom 1 log record\0"
MAX_TIME = 1 << 63  # ns

Kind = Literal[
    "init",
    "key-add",
    "key-revoke",
    "archive",
    "rename",
    "recreate",
    "recompress",
    "delete",
    "undelete",
    "compact",
    "repair",
]


class InitBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    name: str
    public_key: bytes


class KeyAddBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    name: str
    role: Role
    public_key: bytes


class KeyRevokeBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    key_id: bytes
    since: int | None  # ns since the epoch: what the key wrote from then on is not trusted


class ArchiveBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An archive comes into being. `packs` and `indexes` are what this commit adds."""

    archive: bytes
    name_tag: bytes
    packs: bytes  # pack ids, concatenated
    indexes: bytes  # index ids, concatenated
    new_bytes: int  # stored bytes of those packs
    new_chunks: int
    chunks: int  # uses of chunks by the archive, repeats counted
    replaces: bytes | None = None  # for `rename`, `recreate`: what this one takes the place of


class ArchivesBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """For `delete` and `undelete`."""

    archives: list[bytes]


class FreeingBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """For `compact` and `repair`: what is freed, and what takes its place. Ids are concatenated.

    The record comes first, the removal of objects after it: no name that stands here is ever used again.
    """

    archives: bytes = b""
    packs: bytes = b""
    indexes: bytes = b""
    refs: bytes = b""
    new_packs: bytes = b""
    new_indexes: bytes = b""
    new_bytes: int = 0  # stored bytes of the new packs
    freed_bytes: int = 0  # of the packs that are freed
    sources: list[list[int]] = []  # for each new pack, the records that first brought its bundles
    strays: bytes = b""  # objects that no record accounts for: seen, and left alone this time


Body = InitBody | KeyAddBody | KeyRevokeBody | ArchiveBody | ArchivesBody | FreeingBody

BODIES: dict[str, type[Body]] = {
    "init": InitBody,
    "key-add": KeyAddBody,
    "key-revoke": KeyRevokeBody,
    "archive": ArchiveBody,
    "rename": ArchiveBody,
    "recreate": ArchiveBody,
    "recompress": ArchiveBody,
    "delete": ArchivesBody,
    "undelete": ArchivesBody,
    "compact": FreeingBody,
    "repair": FreeingBody,
}

# What their packs hold takes the place of older copies of the same chunks: see docs/decisions/0014.
DISPLACING = frozenset({"recreate", "recompress"})

# Who may sign what. A restore key signs nothing.
ALLOWED: dict[str, frozenset[Role]] = {
    "init": frozenset({"admin"}),
    "key-add": frozenset({"admin"}),
    "key-revoke": frozenset({"admin"}),
    "archive": frozenset({"admin", "backup"}),
    "rename": frozenset({"admin"}),
    "recreate": frozenset({"admin"}),
    "recompress": frozenset({"admin"}),
    "delete": frozenset({"admin", "backup", "server"}),
    "undelete": frozenset({"admin", "backup"}),
    "compact": frozenset({"admin", "server"}),
    "repair": frozenset({"admin"}),
}


class Payload(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    repository: bytes
    seq: int
    previous: bytes
    time: int
    kind: str
    key_id: bytes
    body: msgspec.Raw


_payload = msgspec.msgpack.Decoder(Payload)
_bodies = {kind: msgspec.msgpack.Decoder(body) for kind, body in BODIES.items()}


class Record(msgspec.Struct, frozen=True):
    """A decoded record; `hash` is what the next one must name as its predecessor."""

    seq: int
    previous: bytes
    time: int  # ns since the epoch, by the signer's clock
    kind: str
    key_id: KeyId
    body: Body
    hash: bytes


class Head(msgspec.Struct, frozen=True):
    """The newest record: what `seq` 0 and zeros are to an empty log."""

    seq: int = 0
    hash: bytes = bytes(ID_SIZE)


class Signer(Protocol):
    """What signs a record: a key holder's secrets, or a server's key."""

    @property
    def signing_private(self) -> bytes: ...

    def key_id(self) -> KeyId: ...


ADVICE = (
    "The repository was tampered with or damaged: run `strongroom check`, and compare with a second copy."
)


def name(seq: int) -> str:
    """The name of a record in the store."""
    return f"log/{seq:020d}"


def seq_of(name: str) -> int:
    """The number of a record. Raises ValueError for another object's name."""
    return int(name.removeprefix("log/"))


def encode(repository: RepositoryId, head: Head, kind: Kind, body: Body, signer: Signer, time: int) -> bytes:
    """The bytes of the record that follows `head`, signed.

    Raises `StrongroomError` for what no record can hold: nobody could read the log any more.
    """
    payload = msgspec.msgpack.encode(
        Payload(
            repository,
            head.seq + 1,
            head.hash,
            time,
            kind,
            signer.key_id(),
            msgspec.Raw(msgspec.msgpack.encode(body)),
        )
    )
    signature = keys.sign(signer.signing_private, DOMAIN + payload)
    record = msgspec.msgpack.encode([VERSION, payload, signature])
    if len(record) > MAX_RECORD:
        raise StrongroomError(
            f"A record of {len(record)} bytes is more than the log takes ({MAX_RECORD}). Nothing was "
            "changed: do this in several runs, with fewer archives or sources each."
        )
    return record


def blob_payload(blob: bytes) -> bytes:
    return msgspec.msgpack.decode(blob, type=tuple[int, bytes, bytes])[1]


def signed_parts(blob: bytes) -> tuple[bytes, bytes] | None:
    """What a record's signature is made over, and the signature; None for what is no record."""
    try:
        _, payload, signature = msgspec.msgpack.decode(blob, type=tuple[int, bytes, bytes])
    except MALFORMED:
        return None
    return DOMAIN + payload, signature


def split_ids(joined: bytes) -> list[bytes]:
    """32-byte ids out of their concatenation. Raises `LogBroken`."""
    if len(joined) % ID_SIZE:
        raise LogBroken(f"A list of ids has {len(joined)} bytes. {ADVICE}")
    return [joined[at : at + ID_SIZE] for at in range(0, len(joined), ID_SIZE)]


def decode(blob: bytes, expected: int) -> tuple[Record, Payload, bytes]:
    """Record, payload and signature; `expected` is its number. Raises `LogBroken`, `VersionUnknown`."""
    where = f"Log record {expected}"
    if len(blob) > MAX_RECORD:
        raise LogBroken(f"{where} is larger than any record can be. {ADVICE}")
    try:
        version, payload_bytes, signature = msgspec.msgpack.decode(blob, type=tuple[int, bytes, bytes])
        if version != VERSION:
            raise VersionUnknown(
                f"{where} has format {version}, this strongroom knows {VERSION}. Upgrade it."
            )
        payload = _payload.decode(payload_bytes)
        decoder = _bodies.get(payload.kind)
        if decoder is None:
            raise VersionUnknown(f"{where} is of an unknown kind. Upgrade strongroom.")
        body = decoder.decode(payload.body)
    except MALFORMED as error:
        raise LogBroken(f"{where} is damaged: {error}. {ADVICE}") from error
    # Canonical bytes only, so that no second spelling of a record exists.
    if msgspec.msgpack.encode([version, payload_bytes, signature]) != blob:
        raise LogBroken(f"{where} is not in its canonical form. {ADVICE}")
    record = Record(
        payload.seq,
        payload.previous,
        payload.time,
        payload.kind,
        KeyId(payload.key_id),
        body,
        hashing.plain_hash(blob),
    )
    return record, payload, signature
