"""A repository's founding papers without the commands: config, keys, and signed records for its log."""

import time
from pathlib import Path

from blake3 import blake3

from strongroom.crypto import keys
from strongroom.crypto.keyformat import Role
from strongroom.crypto.keys import KeySecrets
from strongroom.ids import ArchiveId, RepositoryId
from strongroom.repository import archives, founding, log
from strongroom.repository.founding import Founding
from strongroom.repository.log import ArchiveBody, Body, InitBody, KeyAddBody, Kind, LogState
from strongroom.store.local import LocalStore
from strongroom.store.protocol import Store
from strongroom.store.stamp import unstamp


class Founded:
    """`config` is the object; `record` signs what comes next by `state`."""

    def __init__(self, storage_quota: int | None = None, *, append_only: bool = False) -> None:
        self._signing = keys.new_signing_key()
        public = keys.public_of(self._signing)
        self.repository, self.config = founding.encode(
            Founding(
                nonce=blake3(public).hexdigest(),
                created=time.time_ns(),
                protection="none",
                key_location="keyfile",
                admin_key=public.hex(),
                sealing_key="00" * 32,
                append_only=append_only,
                storage_quota=storage_quota,
            ),
            self._signing,
        )
        self.admin = self._secrets(self._signing, "admin")
        self.state = LogState(self.repository, public)

    def _secrets(self, signing: bytes, role: Role) -> KeySecrets:
        return KeySecrets(
            RepositoryId(self.repository),
            role,
            role,
            "none",
            bytes(32),
            0,
            self.state_admin,
            signing,
            bytes(32),
            None,
        )

    @property
    def state_admin(self) -> bytes:
        return keys.public_of(self._signing)

    def record(self, kind: Kind, body: Body, secrets: KeySecrets | None = None) -> tuple[str, bytes]:
        """Name and bytes of the next record; the state stays as it is."""
        blob = log.sign(self.state, kind, body, secrets or self.admin, time.time_ns())
        return log.name(self.state.head.seq + 1), blob

    def found(self, store: Store) -> None:
        """Config and first record."""
        store.put("config", [self.config])
        self.append(store, "init", InitBody("admin", self.state_admin))

    def append(self, store: Store, kind: Kind, body: Body, secrets: KeySecrets | None = None) -> bytes:
        name, blob = self.record(kind, body, secrets)
        stored = store.append_record(name, blob)
        self.state.apply(blob)
        return stored

    def catch_up(self, store: Store) -> None:
        for found in store.list("log/"):
            if found.name > log.name(self.state.head.seq):
                self.state.apply(unstamp(store.get(found.name))[0])

    def new_key(self, store: Store, role: Role) -> KeySecrets:
        secrets = self._secrets(keys.new_signing_key(), role)
        self.append(store, "key-add", KeyAddBody(f"{role}-{len(self.state.keys)}", role, secrets.public()))
        return secrets


def archive_body(blob: bytes, packs: bytes = b"") -> ArchiveBody:
    """Of an archive object with these bytes."""
    return ArchiveBody(blake3(blob).digest(), blake3(blob).digest(), packs, b"", 0, 0, 0)


def archive_name(blob: bytes) -> str:
    return archives.name(ArchiveId(blake3(blob).digest()))


def pack_name(blob: bytes) -> str:
    text = blake3(blob).hexdigest()
    return f"packs/{text[:2]}/{text}"


def founded_at(path: Path, storage_quota: int | None = None, *, append_only: bool = False) -> Founded:
    """In a local folder, without a server."""
    founded = Founded(storage_quota, append_only=append_only)
    founded.found(LocalStore.create(str(path)))
    return founded
