"""The state that the records of the log add up to, and the rules that each must keep.

Specified in docs/format.md, "The log". Whoever holds the repository id can verify a whole
log without any secret: the config names the founding admin, the records name all others.
"""

from collections.abc import Iterable

import msgspec

from strongroom.crypto import hashing, keyformat, keys
from strongroom.crypto.keyformat import Role
from strongroom.errors import LogBroken, RoleInsufficient
from strongroom.ids import ID_SIZE, ArchiveId, IndexId, KeyId, NameTag, PackId, RepositoryId
from strongroom.repository import records
from strongroom.repository.known import ArchiveState, Entry, KnownKey, Tombstone
from strongroom.repository.records import (
    ADVICE,
    ALLOWED,
    DISPLACING,
    DOMAIN,
    FIRST_SEQ,
    MAX_TIME,
    VERSION,
    ArchiveBody,
    ArchivesBody,
    Body,
    FreeingBody,
    Head,
    InitBody,
    KeyAddBody,
    KeyRevokeBody,
    Kind,
    Record,
    Signer,
    blob_payload,
    name,
    seq_of,
    split_ids,
)

__all__ = [
    "FIRST_SEQ",
    "VERSION",
    "ArchiveBody",
    "ArchiveState",
    "ArchivesBody",
    "Body",
    "FreeingBody",
    "Head",
    "InitBody",
    "KeyAddBody",
    "KeyRevokeBody",
    "Kind",
    "KnownKey",
    "LogState",
    "Record",
    "Signer",
    "Tombstone",
    "blob_payload",
    "decode",
    "name",
    "seq_of",
    "sign",
    "signer_of",
    "split_ids",
]


class LogState(msgspec.Struct):
    """What all records up to `head` add up to. `apply` is the only way it changes."""

    repository: RepositoryId
    admin_public: bytes
    head: Head = msgspec.field(default_factory=Head)
    keys: dict[KeyId, KnownKey] = {}
    archives: dict[ArchiveId, ArchiveState] = {}
    packs: dict[PackId, tuple[int, ...]] = {}  # records that brought its bundles
    indexes: dict[IndexId, None] = {}  # in log order
    stored: int = 0  # bytes of all packs
    freed_archives: dict[ArchiveId, ArchiveState] = {}
    freed_packs: set[PackId] = set()
    freed_indexes: set[IndexId] = set()
    freeings: list[Record] = []  # `compact` and `repair`, in order
    entries: dict[int, Entry] = {}  # of all records, by number
    names: dict[NameTag, ArchiveId] = {}  # of living archives
    last_time: int = 0
    _newest: tuple[int, int, dict[int, int]] = 0, 0, {}  # what `_newest_stamp` told last

    def living(self) -> list[ArchiveState]:
        """Archives that are not deleted, oldest first."""
        return [archive for archive in self.archives.values() if archive.deleted is None]

    def requested(self) -> list[ArchiveState]:
        """Living archives whose deletion a backup key asks for, oldest first."""
        return [one for one in self.archives.values() if one.deleted is None and one.requested is not None]

    def dead(self) -> list[ArchiveState]:
        """Archives that were deleted and not freed yet, oldest first; not those that a `rename` replaced."""
        return [one for one in self.archives.values() if one.deleted is not None and not one.deleted.replaced]

    def by_tag(self, tag: NameTag) -> ArchiveState | None:
        """The living archive of that name: there is never more than one."""
        archive = self.names.get(tag)
        return None if archive is None else self.archives[archive]

    def dead_since(self, tombstone: Tombstone, now: int) -> int:
        """From when a quarantine counts, in ns: by the store's clock, never by the signer's alone.

        A stamp that is missing, or older than those before it, never makes it earlier.
        """
        if tombstone.stamp is None:
            return now
        before = self._newest_stamp(tombstone.seq, now)
        return tombstone.stamp if tombstone.stamp >= before else max(before, tombstone.time)

    def _newest_stamp(self, before: int, now: int) -> int:
        """Of the records before that one; stamps of the future say nothing. All are counted at once: a
        repository with as many archives as records asks for each of them."""
        if self._newest[:2] != (now, self.head.seq):
            newest, found = 0, {}
            for seq, one in sorted(self.entries.items()):
                found[seq] = newest
                if one.stamp is not None and newest < one.stamp <= now:
                    newest = one.stamp
            self._newest = now, self.head.seq, found
        return self._newest[2][before]

    def is_distrusted(self, seq: int) -> bool:
        """Whether the record's signer was revoked, with what it wrote from some time on, that included."""
        entry = self.entries.get(seq)
        if entry is None:  # an `audit` that goes on behind a lost record
            return False
        since = self.keys[entry.key_id].distrusted_since
        return since is not None and (entry.time if entry.stamp is None else entry.stamp) >= since

    def distrusted_archives(self) -> list[ArchiveState]:
        """Archives, living or dead, that a revoked key wrote when it was not to be trusted any more."""
        return [one for one in self.archives.values() if self.is_distrusted(one.seq)]

    def freed_refs(self, before: int | None = None) -> set[bytes]:
        """The blocks of refs that records, `before` that one if one is given, have freed."""
        blocks: set[bytes] = set()
        for record in self.freeings:
            if isinstance(record.body, FreeingBody) and (before is None or record.seq < before):
                blocks.update(split_ids(record.body.refs))
        return blocks

    def distrusted_packs(self) -> set[PackId]:
        """Packs with bundles that came that way, wherever `compact` has moved them since."""
        if all(key.distrusted_since is None for key in self.keys.values()):
            return set()
        return {pack for pack, sources in self.packs.items() if any(map(self.is_distrusted, sources))}

    def distrusted_indexes(self) -> set[IndexId]:
        """Index objects that came that way: what they tell of any pack may be a lie."""
        if all(key.distrusted_since is None for key in self.keys.values()):
            return set()
        return {
            IndexId(index)
            for one in (*self.archives.values(), *self.freed_archives.values())
            if self.is_distrusted(one.seq)
            for index in split_ids(one.body.indexes)
        }

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
        if signer.role not in ALLOWED[kind]:
            raise RoleInsufficient(
                f"The {signer.role} key {signer.name!r} may not do this ({kind}): use an admin key."
            )

    def apply(self, blob: bytes, *, verified: bool = False, stamp: int | None = None) -> Record:
        """Verify the next record and take it in; `stamp` is when it arrived by the store's clock, in ns.

        `verified` skips the signature, for records that this machine has verified before.
        Raises `LogBroken`, `VersionUnknown`; the state is unchanged then.
        """
        record, payload, signature = records.decode(blob, self.head.seq + 1)
        where = f"Log record {record.seq}"
        if not 0 <= record.time < MAX_TIME:
            raise LogBroken(f"{where} has an impossible time. {ADVICE}")
        if payload.repository != self.repository:
            raise LogBroken(f"{where} belongs to another repository. {ADVICE}")
        if record.seq != self.head.seq + 1 or record.previous != self.head.hash:
            raise LogBroken(f"{where} does not follow record {self.head.seq}. {ADVICE}")
        if (record.kind == "init") != (record.seq == FIRST_SEQ):
            raise LogBroken(f"{where} is of kind {record.kind}, which cannot stand there. {ADVICE}")
        signer = self._signer(record, where)
        if not verified and not keys.verify_signature(signer.public, signature, DOMAIN + blob_payload(blob)):
            raise LogBroken(f"{where} is not signed by the key {signer.name!r} that it names. {ADVICE}")
        self._take(record, signer, stamp, where)
        self.entries[record.seq] = Entry(record.key_id, record.time, stamp)
        self.head = Head(record.seq, record.hash)
        self.last_time = record.time
        return record

    def assume_founder(self) -> None:
        """For a log whose first record is lost: the config names the key that signed it."""
        founder = hashing.key_id(self.admin_public)
        self.keys[founder] = KnownKey(founder, "founder", "admin", self.admin_public, 0)

    def _signer(self, record: Record, where: str) -> KnownKey:
        if isinstance(record.body, InitBody):
            if not hashing.same(record.body.public_key, self.admin_public):
                raise LogBroken(f"{where} founds the repository with a key that its config does not name.")
            if record.key_id != hashing.key_id(self.admin_public):
                raise LogBroken(f"{where} is signed by an unknown key {record.key_id.hex()}. {ADVICE}")
            return KnownKey(record.key_id, record.body.name, "admin", self.admin_public, record.time)
        signer = self.keys.get(record.key_id)
        if signer is None:
            raise LogBroken(f"{where} is signed by an unknown key {record.key_id.hex()}. {ADVICE}")
        if signer.revoked is not None:
            raise LogBroken(f"{where} is signed by the revoked key {signer.name!r}. {ADVICE}")
        if signer.role not in ALLOWED[record.kind]:
            raise LogBroken(
                f"{where} ({record.kind}) is signed by a {signer.role} key, {signer.name!r}. {ADVICE}"
            )
        return signer

    def _take(self, record: Record, signer: KnownKey, stamp: int | None, where: str) -> None:
        match record.body:
            case InitBody(name, public):
                self._add_key(record, name, "admin", public, where)
            case KeyAddBody(name, role, public):
                self._add_key(record, name, role, public, where)
            case KeyRevokeBody(key_id, since):
                known = self.keys.get(KeyId(key_id))
                if known is None or known.revoked is not None:
                    raise LogBroken(f"{where} revokes a key that is not there. {ADVICE}")
                if since is not None and not 0 <= since < MAX_TIME:
                    raise LogBroken(f"{where} has an impossible time. {ADVICE}")
                known.revoked = record.time
                known.distrusted_since = since
            case ArchiveBody():
                self._take_archive(record, record.body, stamp, where)
            case ArchivesBody(archives):
                self._mark(record, signer, [ArchiveId(one) for one in archives], stamp, where)
            case FreeingBody():
                self._free(record, record.body)

    def _add_key(self, record: Record, name: str, role: Role, public: bytes, where: str) -> None:
        key_id = hashing.key_id(public)
        if key_id in self.keys or len(public) != 32 or not 1 <= len(name) <= keyformat.MAX_NAME:
            raise LogBroken(f"{where} adds a key that cannot be added. {ADVICE}")
        self.keys[key_id] = KnownKey(key_id, name, role, public, record.time)

    def _take_archive(self, record: Record, body: ArchiveBody, stamp: int | None, where: str) -> None:
        archive = ArchiveId(body.archive)
        packs = [PackId(one) for one in split_ids(body.packs)]
        indexes = [IndexId(one) for one in split_ids(body.indexes)]
        known = archive in self.archives or archive in self.freed_archives
        if known or len(archive) != ID_SIZE or len(body.name_tag) != ID_SIZE:
            raise LogBroken(f"{where} commits an archive that cannot be committed. {ADVICE}")
        if body.new_bytes < 0 or body.new_chunks < 0 or body.chunks < 0:
            raise LogBroken(f"{where} has impossible counts. {ADVICE}")
        if (record.kind in ("rename", "recreate")) != (body.replaces is not None):
            raise LogBroken(f"{where} ({record.kind}) has a wrong form. {ADVICE}")
        # What was freed may be removed at any time: nothing may rest on it again.
        if not (self.freed_packs.isdisjoint(packs) and self.freed_indexes.isdisjoint(indexes)):
            raise LogBroken(f"{where} commits an archive with objects that were freed. {ADVICE}")
        # An archive must not hide another one by taking its name.
        taken = self.names.get(NameTag(body.name_tag))
        if taken is not None and not (record.kind == "recreate" and taken == body.replaces):
            raise LogBroken(f"{where} commits an archive under a name that is taken. {ADVICE}")
        if body.replaces is not None:
            replaced = self.archives.get(ArchiveId(body.replaces))
            if replaced is None or replaced.deleted is not None:
                raise LogBroken(f"{where} ({record.kind}) replaces an archive that is not there. {ADVICE}")
            # A recreated archive may lack what the old one has: that one is deleted like any other.
            renamed = record.kind == "rename"
            replaced.deleted = Tombstone(record.seq, record.time, record.key_id, renamed, stamp)
            del self.names[replaced.name_tag]
        self.names[NameTag(body.name_tag)] = archive
        self.archives[archive] = ArchiveState(
            archive,
            record.seq,
            record.time,
            record.key_id,
            body,
            stamp=stamp,
            displaces=record.kind in DISPLACING,
        )
        source = (record.seq,)
        for pack in packs:
            self.packs.setdefault(pack, source)
        self.indexes.update((one, None) for one in indexes)
        self.stored += body.new_bytes

    def _mark(
        self, record: Record, signer: KnownKey, archives: list[ArchiveId], stamp: int | None, where: str
    ) -> None:
        """A backup key only asks, and only takes back what was asked."""
        asking = signer.role == "backup"
        deleting = record.kind == "delete"
        marked = [self.archives[one] for one in archives if one in self.archives]
        if (
            not archives
            or len(marked) < len(archives)
            or len(set(archives)) < len(archives)
            or any(not _may_mark(one, deleting=deleting, asking=asking) for one in marked)
        ):
            raise LogBroken(f"{where} ({record.kind}) names an archive that is not there. {ADVICE}")
        back = [] if deleting else [one for one in marked if one.deleted is not None]
        tags = {one.name_tag for one in back}
        if len(tags) < len(back) or not self.names.keys().isdisjoint(tags):
            raise LogBroken(f"{where} brings an archive back whose name is taken. {ADVICE}")
        tombstone = Tombstone(record.seq, record.time, record.key_id, False, stamp)
        for one in marked:
            if not deleting:
                one.deleted = one.requested = None
                self.names[one.name_tag] = one.id
            elif asking:
                one.requested = tombstone
            else:
                one.deleted = tombstone
                del self.names[one.name_tag]

    def check_freeing(self, body: FreeingBody, seq: int | None = None) -> None:
        """Raises `LogBroken` for what may not be freed, or cannot take its place, by the record `seq`."""
        where = f"Log record {seq or self.head.seq + 1}"
        archives = [ArchiveId(one) for one in split_ids(body.archives)]
        packs = [PackId(one) for one in split_ids(body.packs)]
        new_packs = [PackId(one) for one in split_ids(body.new_packs)]
        new_indexes = [IndexId(one) for one in split_ids(body.new_indexes)]
        split_ids(body.refs), split_ids(body.strays)
        all_packs = packs + new_packs
        all_indexes = [IndexId(one) for one in split_ids(body.indexes)] + new_indexes
        if (
            len(set(archives)) < len(archives)
            or any(one not in self.archives or self.archives[one].deleted is None for one in archives)
            or len(set(all_packs)) < len(all_packs)
            or not self.freed_packs.isdisjoint(all_packs)
            or not self.packs.keys().isdisjoint(new_packs)
            or len(set(all_indexes)) < len(all_indexes)
            or not self.freed_indexes.isdisjoint(all_indexes)
            or not self.indexes.keys().isdisjoint(new_indexes)
        ):
            raise LogBroken(f"{where} frees what cannot be freed. {ADVICE}")
        if (
            body.new_bytes < 0
            or body.freed_bytes < 0
            or len(body.sources) != len(new_packs)
            or not all(one and all(0 < source <= self.head.seq for source in one) for one in body.sources)
        ):
            raise LogBroken(f"{where} has impossible counts. {ADVICE}")

    def _free(self, record: Record, body: FreeingBody) -> None:
        self.check_freeing(body, record.seq)
        archives = [ArchiveId(one) for one in split_ids(body.archives)]
        packs = [PackId(one) for one in split_ids(body.packs)]
        indexes = [IndexId(one) for one in split_ids(body.indexes)]
        new_packs = [PackId(one) for one in split_ids(body.new_packs)]
        new_indexes = [IndexId(one) for one in split_ids(body.new_indexes)]
        for archive in archives:
            self.freed_archives[archive] = self.archives.pop(archive)
        for pack in packs:
            self.packs.pop(pack, None)  # one that no record names may be freed too
        for index in indexes:
            self.indexes.pop(index, None)
        self.freed_packs.update(packs)
        self.freed_indexes.update(indexes)
        self.packs.update((new, tuple(one)) for new, one in zip(new_packs, body.sources, strict=True))
        self.indexes.update((one, None) for one in new_indexes)
        self.stored = max(0, self.stored + body.new_bytes - body.freed_bytes)
        self.freeings.append(record)


def _may_mark(archive: ArchiveState, *, deleting: bool, asking: bool) -> bool:
    if deleting:
        return archive.deleted is None and not (asking and archive.requested is not None)
    if asking:
        return archive.deleted is None and archive.requested is not None
    return archive.deleted is not None or archive.requested is not None


def decode(blob: bytes, expected: int) -> Record:
    """What a record says, nothing of it verified. Raises `LogBroken`, `VersionUnknown`."""
    return records.decode(blob, expected)[0]


def signer_of(blob: bytes, known: Iterable[KnownKey]) -> KnownKey | None:
    """Whose signature the record carries, whatever it says and wherever it stands."""
    parts = records.signed_parts(blob)
    if parts is None:
        return None
    message, signature = parts
    return next((key for key in known if keys.verify_signature(key.public, signature, message)), None)


def sign(state: LogState, kind: Kind, body: Body, secrets: Signer, time: int) -> bytes:
    """The next record's bytes: what `append_record` stores under `name(state.head.seq + 1)`."""
    return records.encode(state.repository, state.head, kind, body, secrets, time)
