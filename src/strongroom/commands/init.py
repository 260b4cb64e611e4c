"""Found a repository: its keys, its config, the first record of its log."""

import os
import socket
import time
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET

from strongroom.commands.keys import SERVER_KEY, add_key, admit_server
from strongroom.commands.opening import Directories, acquaint, create_store
from strongroom.crypto import keys
from strongroom.crypto.keys import KeySecrets, Protection
from strongroom.crypto.sealing import SealingKeyPair
from strongroom.errors import ObjectExists, RepositoryExists
from strongroom.ids import KeyId, RepositoryId
from strongroom.repository import founding, keyring, log
from strongroom.repository.founding import QUARANTINE_DAYS, Founding
from strongroom.repository.repository import Repository
from strongroom.repository.unlocking import PassphraseSource
from strongroom.store.location import parse_location

Encryption = Literal["none", "authenticated", "repokey", "keyfile"]


class InitOptions(msgspec.Struct, frozen=True):
    encryption: Encryption
    append_only: bool = True
    make_parent_dirs: bool = False
    storage_quota: int | None = None  # bytes
    parity: int | None = None  # percent
    reserve: int | None = None  # bytes to be kept for a full disk; None: the store's choice
    quarantine: int | None = None  # days; None: the format's default
    key_name: str = "admin"
    admit_server: bool = True  # the key that the server offers, if it does
    backup_key: bool = False  # make a second key, for this machine: it writes and cannot open


class InitResult(msgspec.Struct, frozen=True):
    repository: RepositoryId
    location: str
    key_location: str
    key_path: Path | None  # of a key file
    backup_key_path: Path | None = None
    server_key: KeyId | None = None  # the server's own, admitted
    reserve: int = 0  # bytes that are kept for a full disk


def init_repository(
    location: str, options: InitOptions, directories: Directories, passphrases: PassphraseSource
) -> InitResult:
    """Raises `RepositoryExists`, `NoPassphrase`, and the store's errors.

    The key is stored before the config, the config before the log: whatever interrupts this, no
    repository comes into being whose key is lost.
    """
    store = create_store(location, make_parents=options.make_parent_dirs, reserve=options.reserve)
    try:
        protection: Protection = "sealed" if options.encryption in ("repokey", "keyfile") else "none"
        if options.encryption == "authenticated":
            protection = "authenticated"
        passphrase = None if options.encryption == "none" else passphrases.new(f"repository {location}")
        sealing_public, sealing_private = SealingKeyPair.generate()
        signing = keys.new_signing_key()
        admin_public = keys.public_of(signing)
        founded = Founding(
            nonce=os.urandom(32).hex(),
            created=time.time_ns(),
            protection=protection,
            key_location="keyfile" if options.encryption == "keyfile" else "repokey",
            admin_key=admin_public.hex(),
            sealing_key=sealing_public.hex(),
            append_only=options.append_only,
            quarantine_days=QUARANTINE_DAYS if options.quarantine is None else options.quarantine,
            storage_quota=options.storage_quota,
            parity=options.parity or UNSET,
        )
        identity, config = founding.encode(founded, signing)
        secrets = KeySecrets(
            repository=identity,
            name=options.key_name,
            role="admin",
            protection=protection,
            id_key=os.urandom(32),
            chunker_seed=int.from_bytes(os.urandom(8), "little") >> 1,
            admin_public=admin_public,
            signing_private=signing,
            sealing_public=sealing_public,
            sealing_private=sealing_private,
        )
        blob = keys.wrap(secrets, passphrase)
        path = None
        if founded.key_location == "keyfile":
            path = _key_path(directories, location, options.key_name)
            keyring.write_key_file(path, blob)
            where = os.fspath(path)
        else:
            where = f"{keyring.store_in_repository(store, blob)} in the repository"
        try:
            store.put(founding.NAME, [config])
        except ObjectExists:
            raise RepositoryExists(f"A repository already exists at {location}.") from None
        with Repository(store, identity, founded, directories.cache, directories.security) as repository:
            repository.use_key(secrets, None)
            repository.commit("init", lambda _: log.InitBody(options.key_name, admin_public))
            acquaint(repository, directories)
            offered = store.owner_key if options.admit_server else None
            server_key = None if offered is None else admit_server(repository, SERVER_KEY, offered)
            kept = store.reserve().left
            machine_path = _backup_key(repository, directories, location) if options.backup_key else None
        return InitResult(identity, location, where, path, machine_path, server_key, kept)
    finally:
        store.close()


def _backup_key(repository: Repository, directories: Directories, location: str) -> Path:
    name = socket.gethostname()
    taken = {known.name for known in repository.state.keys.values()}
    if name in taken:
        name = f"{name}-backup"
    path = _key_path(msgspec.structs.replace(directories, key_file=None), location, name)
    # before the log names the key: killed in between, a file is left that nobody knows, and no key is lost
    add_key(repository, name, "backup", None, lambda blob: keyring.write_key_file(path, blob))
    return path


def _key_path(directories: Directories, location: str, name: str) -> Path:
    if directories.key_file is not None:
        return directories.key_file
    stem = parse_location(location).key_file_name()
    path = directories.keys / f"{stem}__{name}"
    number = 2
    while path.exists():
        path = directories.keys / f"{stem}__{name}.{number}"
        number += 1
    return path
