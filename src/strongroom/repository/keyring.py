"""Finding the key for a repository: in the user's folder, or wrapped inside the repository."""

import os
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

from strongroom.crypto import hashing, keyformat, keys
from strongroom.crypto.argon import Derive, derive
from strongroom.crypto.keyformat import Role
from strongroom.crypto.keys import KeySecrets
from strongroom.errors import (
    Damaged,
    KeyInvalid,
    KeyMissing,
    ObjectExists,
    PassphraseWrong,
    RepoKeyMissing,
    RoleInsufficient,
    StrongroomError,
    VersionUnknown,
)
from strongroom.ids import KeyId, RepositoryId
from strongroom.repository import keyfiles
from strongroom.repository.founding import Founding
from strongroom.repository.keyfiles import FoundKey, Need
from strongroom.repository.log import LogState
from strongroom.repository.unlocking import PassphraseSource
from strongroom.store.disk import make_folder, sync_folder, write_private
from strongroom.store.protocol import Listed, Store


def object_name(blob: bytes) -> str:
    return f"keys/{hashing.plain_hash(blob).hex()}"


def find(
    repository: RepositoryId, store: Store, folder: Path, named: Path | None, *, bare: bool
) -> list[FoundKey]:
    """All key files for the repository: the one that the user names, or local ones before its own.

    `bare` says whether a key without passphrase that lies in the repository may be believed: only
    where nothing is secret. Else a server could hand out a repository of its own making, whose
    key opens by itself, and read what is backed up into it.

    Raises `KeyForeign`, `KeyInvalid` for a file that the user names.
    """
    if named is not None:
        return [keyfiles.named(repository, named)]
    local = keyfiles.in_folder(repository, folder)
    try:
        inside = [one for one in stored(repository, store) if bare or one.file.needs_passphrase]
    except (Damaged, KeyInvalid, VersionUnknown):
        if not local:
            raise
        return local
    return local + inside


def stored(repository: RepositoryId, store: Store) -> list[FoundKey]:
    """The keys inside the repository. A damaged one stops nobody from using the others: raises
    `Damaged`, `VersionUnknown` only where there is no other."""
    found = []
    problem: StrongroomError | None = None
    for listed in store.list("keys/"):
        try:
            found += _stored_key(repository, store, listed)
        except (Damaged, KeyInvalid, VersionUnknown) as error:
            problem = error
    if problem is not None and not found:
        raise problem
    return found


def _stored_key(repository: RepositoryId, store: Store, listed: Listed) -> list[FoundKey]:
    if listed.size > keyformat.MAX_KEY_FILE:
        return []
    blob = store.get(listed.name)
    where = f"{listed.name} of {store.describe()}"
    if object_name(blob) != listed.name:
        raise Damaged(f"{where} is damaged. Use `strongroom key import` with your exported copy.")
    file = keyformat.parse(blob, where)
    return [FoundKey(file, where, None, store.describe())] if file.repository == repository else []


NO_KEY_INSIDE = (
    "No admin's key is in the repository, where `init` put one: it was removed. Without a copy of that key "
    "nothing opens any more; `strongroom key import` puts an exported one back."
)


def is_bereft(founded: Founding, state: LogState, stored: Iterable[KeyId]) -> bool:
    """Whether the repository was founded with a key inside, and none of these is an administrator's."""
    valid = {one.id for one in state.keys.values() if one.role == "admin" and one.revoked is None}
    # none is known where the record that added it is lost, which is told elsewhere
    return founded.key_location == "repokey" and bool(valid) and valid.isdisjoint(stored)


def unlock(
    found: list[FoundKey],
    need: Need,
    state: LogState,
    passphrases: PassphraseSource,
    folder: Path,
    derive: Derive = derive,
) -> tuple[KeySecrets, FoundKey]:
    """The secrets of the best key for the need.

    Raises `KeyMissing`, `RepoKeyMissing`, `RoleInsufficient`, `PassphraseWrong`.
    """
    fitting = _fitting(found, need.value, state, folder)
    better = list(takewhile(lambda one: one.file.needs_passphrase, fitting))
    if len(better) < len(fitting):  # worth a passphrase that need not be typed, and no question
        given = passphrases.at_hand()
        opened = None if given is None else _opened_by(given, better, state, derive)
        if opened is not None:
            return opened
    bare = [one for one in fitting if not one.file.needs_passphrase]
    for one in bare:
        try:
            return _checked(keys.unwrap(one.file, "", one.where), state, one), one
        except KeyInvalid:
            if one.path is not None or len(bare) == len(fitting) == 1:
                raise
    attempt = 0
    while True:
        attempt += 1
        passphrase = passphrases.existing(fitting[0].asked_for, attempt)
        opened = _opened_by(passphrase, fitting, state, derive)
        if opened is not None:
            return opened


def _opened_by(
    passphrase: str, found: list[FoundKey], state: LogState, derive: Derive
) -> tuple[KeySecrets, FoundKey] | None:
    """The first of these keys that the passphrase opens."""
    for one in found:
        try:
            return _checked(keys.unwrap(one.file, passphrase, one.where, derive), state, one), one
        except PassphraseWrong:
            continue
        except KeyInvalid:
            # Planted: one ciphertext can be made to pass AES-GCM's check under many passphrases (Len,
            # Grubbs and Ristenpart, USENIX Security 2021). A server must not see that it did.
            if one.path is not None:
                raise
    return None


def _fitting(found: list[FoundKey], roles: tuple[Role, ...], state: LogState, folder: Path) -> list[FoundKey]:
    known = [one for one in found if one.file.key_id in state.keys]
    if not known:
        where = f"in {folder} or in the repository"
        missing = RepoKeyMissing if found else KeyMissing
        raise missing(
            f"No key for repository {state.repository.hex()} was found {where}. "
            "Put the key file there with `strongroom key import`."
        )
    valid = [one for one in known if state.keys[one.file.key_id].revoked is None]
    if not valid:
        raise RoleInsufficient(f"The key {known[0].where} was revoked. Ask the administrator for a new one.")
    fitting = keyfiles.in_order(valid, roles)
    if not fitting:
        roles_found = " and ".join(sorted({one.file.role for one in valid}))
        raise RoleInsufficient(
            f"This needs {' or '.join(_article(role) for role in sorted(roles))} key; "
            f"here is only {_article(roles_found)} key ({valid[0].where})."
        )
    return fitting


def _article(role: str) -> str:
    return ("an " if role[0] in "aeiou" else "a ") + role


def _checked(secrets: KeySecrets, state: LogState, one: FoundKey) -> KeySecrets:
    known = state.keys[one.file.key_id]
    if secrets.admin_public != state.admin_public or known.role != secrets.role:
        raise KeyInvalid(f"{one.where} does not fit this repository's log. Do not use the repository.")
    return secrets


def store_in_repository(store: Store, blob: bytes) -> str:
    """Returns the object's name."""
    name = object_name(blob)
    try:
        store.put(name, [blob])
    except ObjectExists:
        if store.get(name) != blob:  # it rotted
            store.delete(name)
            store.put(name, [blob])
    return name


def write_key_file(path: Path, blob: bytes, *, replace: bool = False) -> None:
    """Mode 0600, complete or not at all. Raises `KeyInvalid` if it exists, unless `replace`."""
    folder = os.path.abspath(path.parent)
    make_folder(folder, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write_private(temporary, blob)
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
    except FileExistsError:
        raise KeyInvalid(f"{path} exists already. Move it away, or choose another name.") from None
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(folder)  # a repository must not outlive its key when the power fails
