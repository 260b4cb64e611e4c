"""What the log makes known: its keys, its archives, and the end of these."""

from typing import NamedTuple

import msgspec

from strongroom.crypto.keyformat import Role
from strongroom.ids import ArchiveId, KeyId, NameTag
from strongroom.repository.records import ArchiveBody


class Entry(NamedTuple):
    """What every record has: who signed it, and when."""

    key_id: KeyId
    time: int  # ns, by the signer's clock
    stamp: int | None  # ns, by the store's clock; None: not known


class KnownKey(msgspec.Struct):
    id: KeyId
    name: str
    role: Role
    public: bytes
    added: int  # ns
    revoked: int | None = None  # ns
    distrusted_since: int | None = None  # ns


class Tombstone(msgspec.Struct, frozen=True):
    """The record that took an archive from among the living, or that asks for it."""

    seq: int
    time: int  # ns, by the signer's clock
    key_id: KeyId
    replaced: bool  # by a `rename`: its data lives on under another name
    stamp: int | None = None  # ns, by the store's clock


class ArchiveState(msgspec.Struct):
    id: ArchiveId
    seq: int
    time: int
    key_id: KeyId
    body: ArchiveBody
    deleted: Tombstone | None = None
    requested: Tombstone | None = None  # a backup key asks for its deletion
    stamp: int | None = None  # ns, by the store's clock
    displaces: bool = False  # its packs take the place of what held the same chunks

    @property
    def name_tag(self) -> NameTag:
        return NameTag(self.body.name_tag)
