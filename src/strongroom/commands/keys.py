"""Keys: copies for the safe, new holders, other passphrases, revocation."""

import os
from collections.abc import Callable
from datetime import datetime

from strongroom.commands.infos import moment
from strongroom.commands.opening import Directories, find_keys
from strongroom.commands.results import KeyInfo
from strongroom.crypto import hashing, keyformat, keys
from strongroom.crypto.keyformat import Role
from strongroom.crypto.keys import KeySecrets
from strongroom.errors import CommandError, KeyForeign, KeyMissing, ObjectMissing, StoreRefused
from strongroom.ids import KeyId
from strongroom.repository import keyring
from strongroom.repository.keyfiles import FoundKey
from strongroom.repository.log import KeyAddBody, KeyRevokeBody, LogState
from strongroom.repository.repository import Repository
from strongroom.repository.unlocking import PassphraseSource
from strongroom.store.location import parse_location

SERVER_KEY = "server"  # what `init` calls the key of the server's owner


def export_key(repository: Repository, directories: Directories) -> bytes:
    """The key file's bytes, still wrapped by its passphrase. Raises `KeyMissing`."""
    return _blob(repository, _best(repository, directories))


def _best(repository: Repository, directories: Directories) -> FoundKey:
    found = find_keys(repository, directories)
    known = [one for one in found if one.file.key_id in repository.state.keys]
    if not known:
        raise KeyMissing(f"No key for this repository is in {directories.keys} or in the repository itself.")
    order = ("admin", "restore", "backup")
    return min(known, key=lambda one: order.index(one.file.role))


def _blob(repository: Repository, key: FoundKey) -> bytes:
    if key.path is not None:
        return key.path.read_bytes()
    return repository.store.get(key.where.split(" ", 1)[0])


def import_key(repository: Repository, blob: bytes, directories: Directories) -> str:
    """Put a copy back where the repository's keys live; returns that place.

    Raises `KeyForeign`, `KeyInvalid`, and the store's errors.
    """
    file = keyformat.parse(blob, "The copy")
    if file.repository != repository.id:
        raise KeyForeign("This key belongs to another repository. Nothing was imported.")
    if file.key_id not in repository.state.keys:
        raise KeyForeign("The repository's log does not know this key. Nothing was imported.")
    if repository.founding.key_location == "repokey" and file.role == "admin":
        keyring.store_in_repository(repository.store, blob)
        return "the repository"
    path = directories.key_file or directories.keys / (
        f"{parse_location(repository.store.describe()).key_file_name()}__{file.name}"
    )
    keyring.write_key_file(path, blob, replace=True)
    return os.fspath(path)


def change_passphrase(repository: Repository, passphrases: PassphraseSource) -> str:
    """Wrap the key in use anew; returns where it is. The old copy is removed if the store lets us.

    Copies made before still open with the old passphrase.
    """
    key, secrets = repository.key, repository.require_key()
    assert key is not None
    blob = keys.wrap(secrets, passphrases.new(f"key {secrets.name}"))
    if key.path is not None:
        keyring.write_key_file(key.path, blob, replace=True)
        return os.fspath(key.path)
    name = keyring.store_in_repository(repository.store, blob)
    old = key.where.split(" ", 1)[0]
    try:
        repository.store.delete(old)
    except StoreRefused as error:
        raise StoreRefused(
            f"The new passphrase works, but the server keeps the key's old copy, {old}: the old passphrase "
            "still opens it. Have the server's administrator remove it."
        ) from error
    except ObjectMissing:
        pass
    return name


def add_key(
    repository: Repository,
    name: str,
    role: Role,
    passphrase: str | None,
    keep: Callable[[bytes], object] = lambda _: None,
) -> bytes:
    """Make a key for another holder; returns its key file, which is stored nowhere but where `keep` does.

    `passphrase` None makes a key that opens by itself, for a machine that works unattended. `keep` gets
    the key file before the log names the key: a key that is known to all must not be lost.

    Raises `CommandError` if the name is taken, and the store's errors.
    """
    own = repository.require_key()
    signing = keys.new_signing_key()
    secrets = KeySecrets(
        repository=own.repository,
        name=name,
        role=role,
        protection=own.protection,
        id_key=own.id_key,
        chunker_seed=own.chunker_seed,
        admin_public=own.admin_public,
        signing_private=signing,
        sealing_public=own.sealing_public,
        sealing_private=None if role == "backup" else own.sealing_private,
    )
    blob = keys.wrap(secrets, passphrase)
    keep(blob)
    _record_key(repository, name, role, secrets.public())
    return blob


def admit_server(repository: Repository, name: str, public: bytes | None) -> KeyId:
    """Let the server's owner delete archives by rules and compact, by the key whose public half this is.

    None takes the one that the server offers. Raises `CommandError`, and the store's errors.
    """
    public = public or repository.store.owner_key
    if public is None:
        raise CommandError(
            f"{repository.store.describe()} offers no key. On the server, `strongroom server init` shows it: "
            "give that with --public-key."
        )
    return _record_key(repository, name, "server", public)


def _record_key(repository: Repository, name: str, role: Role, public: bytes) -> KeyId:
    key = hashing.key_id(public)

    def body(state: LogState) -> KeyAddBody:
        if any(known.name == name and known.revoked is None for known in state.keys.values()):
            raise CommandError(
                f"A key called {name} exists already. Choose another name, or revoke it first."
            )
        if key in state.keys:
            known = state.keys[key]
            revoked = "" if known.revoked is None else ", and was revoked: the server needs a new one"
            raise CommandError(f"The repository knows this key already: it is called {known.name}{revoked}.")
        return KeyAddBody(name, role, public)

    repository.commit("key-add", body)
    return key


def list_keys(repository: Repository) -> list[KeyInfo]:
    """All that were ever added, oldest first."""
    stored = {one.file.key_id for one in keyring.stored(repository.id, repository.store)}
    return [
        KeyInfo(
            id=known.id,
            name=known.name,
            role=known.role,
            added=moment(known.added),
            revoked=None if known.revoked is None else moment(known.revoked),
            in_repository=known.id in stored,
        )
        for known in repository.state.keys.values()
    ]


def revoke_key(repository: Repository, name: str, since: datetime | None) -> None:
    """The key signs nothing from now on; what it wrote since `since` is not trusted.

    Raises `CommandError` for an unknown name or the key in use, and the store's errors.
    """
    own = repository.require_key()

    def body(state: LogState) -> KeyRevokeBody:
        key = _named(state, name)
        if hashing.same(key, own.key_id()):
            raise CommandError("A key cannot revoke itself: use another admin key.")
        return KeyRevokeBody(key, None if since is None else int(since.timestamp() * 1_000_000_000))

    repository.commit("key-revoke", body)


def _named(state: LogState, name: str) -> KeyId:
    for known in state.keys.values():
        if known.name == name and known.revoked is None:
            return known.id
    raise CommandError(f"There is no valid key called {name}. See `strongroom key list`.")
