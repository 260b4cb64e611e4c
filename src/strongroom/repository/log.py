"""Records of the signed, hash-chained log, and the state that they add up to.

Specified in docs/format.md, "The log". Whoever holds the repository id can verify a whole
log without any secret: the config names the founding admin, the records name all others.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from strongroom.crypto import hashing, keys
from strongroom.crypto.keys import Role
from strongroom.errors import LogBroken, RoleInsufficient, VersionUnknown
from strongroom.ids import ID_SIZE, ArchiveId, IndexId, KeyId, NameTag, PackId, RepositoryId
from strongroom.malformed import MALFORMED

VERSION = 1
FIRST_SEQ = 1
MAX_RECORD = 16 * 1024 * 1024  # bytes; 32 bytes a pack, so half a million packs in one run
_DOMAIN = b"strongroom 1 log record\0"
_MAX_TIME = 1 << 63  # ns

Kind = Literal["init", "key-add", "key-revoke", "archive", "rename", "delete", "undelete"]


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
    replaces: bytes | None = None  # for `rename`: the archive that this one takes the place of


class ArchivesBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """For `delete` and `undelete`."""

    archives: list[bytes]


Body = InitBody | KeyAddBody | KeyRevokeBody | ArchiveBody | ArchivesBody

_BODIES: dict[str, type[Body]] = {
    "init": InitBody,
    "key-add": KeyAddBody,
    "key-revoke": KeyRevokeBody,
    "archive": ArchiveBody,
    "rename": ArchiveBody,
    "delete": ArchivesBody,
    "undelete": ArchivesBody,
}

# Who may sign what. A restore key signs nothing.
_ALLOWED: dict[str, frozenset[Role]] = {
    "init": frozenset({"admin"}),
    "key-add": frozenset({"admin"}),
    "key-revoke": frozenset({"admin"}),
    "archive": frozenset({"admin", "backup"}),
    "rename": frozenset({"admin"}),
    "delete": frozenset({"admin", "backup"}),
    "undelete": frozenset({"admin", "backup"}),
}


class _Payload(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    repository: bytes
    seq: int
    previous: bytes
    time: int
    kind: str
    key_id: bytes
    body: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Record:
    """A decoded record; `hash` is what the next one must name as its predecessor."""

    seq: int
    previous: bytes
    time: int  # ns since the epoch, by the signer's clock
    kind: str
    key_id: KeyId
    body: Body
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The newest record: what `seq` 0 and zeros are to an empty log."""

    seq: int = 0
    hash: bytes = bytes(ID_SIZE)


@dataclass(slots=True)
class KnownKey:
    id: KeyId
    name: str
    role: Role
    public: bytes
    added: int  # ns
    revoked: int | None = None  # ns
    distrusted_since: int | None = None  # ns


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The record that took an archive from among the living."""

    seq: int
    time: int  # ns, by the signer's clock
    key_id: KeyId
    replaced: bool  # by a `rename`: its data lives on under another name


@dataclass(slots=True)
class ArchiveState:
    id: ArchiveId
    seq: int
    time: int
    key_id: KeyId
    body: ArchiveBody
    deleted: Tombstone | None = None

    @property
    def name_tag(self) -> NameTag:
        return NameTag(self.body.name_tag)


@dataclass(slots=True)
class LogState:
    """What all records up to `head` add up to. `apply` is the only way it changes."""

    repository: RepositoryId
    admin_public: bytes
    head: Head = field(default_factory=Head)
    keys: dict[KeyId, KnownKey] = field(default_factory=dict)
    archives: dict[ArchiveId, ArchiveState] = field(default_factory=dict)
    packs: set[PackId] = field(default_factory=set)
    indexes: dict[IndexId, None] = field(default_factory=dict)  # in log order
    stored: int = 0  # bytes of all packs
    names: dict[NameTag, ArchiveId] = field(default_factory=dict)  # of living archives
    last_time: int = 0

    def living(self) -> list[ArchiveState]:
        """Archives that are not deleted, oldest first."""
        return [archive for archive in self.archives.values() if archive.deleted is None]

    def dead(self) -> list[ArchiveState]:
        """Archives that were deleted, oldest first; not those that a `rename` replaced."""
        return [one for one in self.archives.values() if one.deleted is not None and not one.deleted.replaced]

    def by_tag(self, tag: NameTag) -> ArchiveState | None:
        """The living archive of that name: there is never more than one."""
        archive = self.names.get(tag)
        return None if archive is None else self.archives[archive]

    def check_may_sign(self, kind: Kind, key_id: KeyId) -> None:
        """Raises `RoleInsufficient` for a key whose record of that kind no reader would accept.

        To be asked before a record is stored: a store that cannot judge records would keep it, and
        its log would be broken for everybody.
        """
        signer = self.keys.get(key_id)
        if kind == "init":
            return
        if signer is None or signer.revoked is not None:
            name = "in use" if signer is None else repr(signer.name)
            raise RoleInsufficient(
                f"The key {name} was revoked, or never belonged to this repository: use another one."
            )
        if signer.role not in _ALLOWED[kind]:
            raise RoleInsufficient(
                f"The {signer.role} key {signer.name!r} may not do this ({kind}): use an admin key."
            )

    def apply(self, blob: bytes, *, verified: bool = False) -> Record:
        """Verify the next record and take it in.

        `verified` skips the signature, for records that this machine has verified before.
        Raises `LogBroken`, `VersionUnknown`; the state is unchanged then.
        """
        record, payload, signature = _decode(blob, self.head.seq + 1)
        where = f"Log record {record.seq}"
        if not 0 <= record.time < _MAX_TIME:
            raise LogBroken(f"{where} has an impossible time. {_ADVICE}")
        if payload.repository != self.repository:
            raise LogBroken(f"{where} belongs to another repository. {_ADVICE}")
        if record.seq != self.head.seq + 1 or record.previous != self.head.hash:
            raise LogBroken(f"{where} does not follow record {self.head.seq}. {_ADVICE}")
        if (record.kind == "init") != (record.seq == FIRST_SEQ):
            raise LogBroken(f"{where} is of kind {record.kind}, which cannot stand there. {_ADVICE}")
        signer = self._signer(record, where)
        if not verified and not keys.verify_signature(signer.public, signature, _DOMAIN + blob_payload(blob)):
            raise LogBroken(f"{where} is not signed by the key {signer.name!r} that it names. {_ADVICE}")
        self._take(record, where)
        self.head = Head(record.seq, record.hash)
        self.last_time = record.time
        return record

    def _signer(self, record: Record, where: str) -> KnownKey:
        if isinstance(record.body, InitBody):
            if not hashing.same(record.body.public_key, self.admin_public):
                raise LogBroken(f"{where} founds the repository with a key that its config does not name.")
            if record.key_id != hashing.key_id(self.admin_public):
                raise LogBroken(f"{where} is signed by an unknown key {record.key_id.hex()}. {_ADVICE}")
            return KnownKey(record.key_id, record.body.name, "admin", self.admin_public, record.time)
        signer = self.keys.get(record.key_id)
        if signer is None:
            raise LogBroken(f"{where} is signed by an unknown key {record.key_id.hex()}. {_ADVICE}")
        if signer.revoked is not None:
            raise LogBroken(f"{where} is signed by the revoked key {signer.name!r}. {_ADVICE}")
        if signer.role not in _ALLOWED[record.kind]:
            raise LogBroken(
                f"{where} ({record.kind}) is signed by a {signer.role} key, {signer.name!r}. {_ADVICE}"
            )
        return signer

    def _take(self, record: Record, where: str) -> None:
        match record.body:
            case InitBody(name, public):
                self._add_key(record, name, "admin", public, where)
            case KeyAddBody(name, role, public):
                self._add_key(record, name, role, public, where)
            case KeyRevokeBody(key_id, since):
                known = self.keys.get(KeyId(key_id))
                if known is None or known.revoked is not None:
                    raise LogBroken(f"{where} revokes a key that is not there. {_ADVICE}")
                if since is not None and not 0 <= since < _MAX_TIME:
                    raise LogBroken(f"{where} has an impossible time. {_ADVICE}")
                known.revoked = record.time
                known.distrusted_since = since
            case ArchiveBody():
                self._take_archive(record, record.body, where)
            case ArchivesBody(archives):
                self._mark(record, [ArchiveId(one) for one in archives], where)

    def _add_key(self, record: Record, name: str, role: Role, public: bytes, where: str) -> None:
        key_id = hashing.key_id(public)
        if key_id in self.keys or len(public) != 32 or not 1 <= len(name) <= keys.MAX_NAME:
            raise LogBroken(f"{where} adds a key that cannot be added. {_ADVICE}")
        self.keys[key_id] = KnownKey(key_id, name, role, public, record.time)

    def _take_archive(self, record: Record, body: ArchiveBody, where: str) -> None:
        archive = ArchiveId(body.archive)
        packs, indexes = split_ids(body.packs), split_ids(body.indexes)
        if archive in self.archives or len(archive) != ID_SIZE or len(body.name_tag) != ID_SIZE:
            raise LogBroken(f"{where} commits an archive that cannot be committed. {_ADVICE}")
        if body.new_bytes < 0 or body.new_chunks < 0 or body.chunks < 0:
            raise LogBroken(f"{where} has impossible counts. {_ADVICE}")
        if (record.kind == "rename") != (body.replaces is not None):
            raise LogBroken(f"{where} ({record.kind}) has a wrong form. {_ADVICE}")
        # An archive must not hide another one by taking its name.
        if NameTag(body.name_tag) in self.names:
            raise LogBroken(f"{where} commits an archive under a name that is taken. {_ADVICE}")
        if body.replaces is not None:
            replaced = self.archives.get(ArchiveId(body.replaces))
            if replaced is None or replaced.deleted is not None:
                raise LogBroken(f"{where} renames an archive that is not there. {_ADVICE}")
            replaced.deleted = Tombstone(record.seq, record.time, record.key_id, replaced=True)
            del self.names[replaced.name_tag]
        self.names[NameTag(body.name_tag)] = archive
        self.archives[archive] = ArchiveState(archive, record.seq, record.time, record.key_id, body)
        self.packs.update(PackId(one) for one in packs)
        self.indexes.update((IndexId(one), None) for one in indexes)
        self.stored += body.new_bytes

    def _mark(self, record: Record, archives: list[ArchiveId], where: str) -> None:
        deleting = record.kind == "delete"
        marked = [self.archives[one] for one in archives if one in self.archives]
        if (
            not archives
            or len(marked) < len(archives)
            or len(set(archives)) < len(archives)
            or any((one.deleted is None) != deleting for one in marked)
        ):
            raise LogBroken(f"{where} ({record.kind}) names an archive that is not there. {_ADVICE}")
        tags = {one.name_tag for one in marked}
        if not deleting and (len(tags) < len(marked) or not self.names.keys().isdisjoint(tags)):
            raise LogBroken(f"{where} brings an archive back whose name is taken. {_ADVICE}")
        tombstone = Tombstone(record.seq, record.time, record.key_id, replaced=False)
        for one in marked:
            one.deleted = tombstone if deleting else None
            if deleting:
                del self.names[one.name_tag]
            else:
                self.names[one.name_tag] = one.id


_ADVICE = (
    "The repository was tampered with or damaged: run `strongroom check`, and compare with a second copy."
)


def name(seq: int) -> str:
    """The name of a record in the store."""
    return f"log/{seq:020d}"


def sign(state: LogState, kind: Kind, body: Body, secrets: keys.KeySecrets, time: int) -> bytes:
    """The next record's bytes: what `append_record` stores under `name(state.head.seq + 1)`."""
    payload = msgspec.msgpack.encode(
        _Payload(
            state.repository,
            state.head.seq + 1,
            state.head.hash,
            time,
            kind,
            secrets.key_id(),
            msgspec.Raw(msgspec.msgpack.encode(body)),
        )
    )
    signature = keys.sign(secrets.signing_private, _DOMAIN + payload)
    return msgspec.msgpack.encode([VERSION, payload, signature])


def blob_payload(blob: bytes) -> bytes:
    return msgspec.msgpack.decode(blob, type=tuple[int, bytes, bytes])[1]


def decode(blob: bytes, expected: int) -> Record:
    """What a record says, nothing of it verified. Raises `LogBroken`, `VersionUnknown`."""
    return _decode(blob, expected)[0]


def signer_of(blob: bytes, known: Iterable[KnownKey]) -> KnownKey | None:
    """Whose signature the record carries, whatever it says and wherever it stands."""
    try:
        _, payload, signature = msgspec.msgpack.decode(blob, type=tuple[int, bytes, bytes])
    except MALFORMED:
        return None
    message = _DOMAIN + payload
    return next((key for key in known if keys.verify_signature(key.public, signature, message)), None)


def split_ids(joined: bytes) -> list[bytes]:
    """32-byte ids out of their concatenation. Raises `LogBroken`."""
    if len(joined) % ID_SIZE:
        raise LogBroken(f"A list of ids has {len(joined)} bytes. {_ADVICE}")
    return [joined[at : at + ID_SIZE] for at in range(0, len(joined), ID_SIZE)]


def _decode(blob: bytes, expected: int) -> tuple[Record, _Payload, bytes]:
    where = f"Log record {expected}"
    if len(blob) > MAX_RECORD:
        raise LogBroken(f"{where} is larger than any record can be. {_ADVICE}")
    try:
        version, payload_bytes, signature = msgspec.msgpack.decode(blob, type=tuple[int, bytes, bytes])
        if version != VERSION:
            raise VersionUnknown(
                f"{where} has format {version}, this strongroom knows {VERSION}. Upgrade it."
            )
        payload = msgspec.msgpack.decode(payload_bytes, type=_Payload)
        body_type = _BODIES.get(payload.kind)
        if body_type is None:
            raise VersionUnknown(f"{where} is of an unknown kind. Upgrade strongroom.")
        body = msgspec.msgpack.decode(payload.body, type=body_type)
    except MALFORMED as error:
        raise LogBroken(f"{where} is damaged: {error}. {_ADVICE}") from error
    # Canonical bytes only, so that no second spelling of a record exists.
    if msgspec.msgpack.encode([version, payload_bytes, signature]) != blob:
        raise LogBroken(f"{where} is not in its canonical form. {_ADVICE}")
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
