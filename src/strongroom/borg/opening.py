"""From a location to an opened Borg repository: find its key, and ask for the passphrase."""

import contextlib
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec

from strongroom.borg.folder import FolderObjects
from strongroom.borg.keys import (
    FILE_MAGIC,
    NO_SECRETS,
    PASSPHRASE_TYPE,
    Mode,
    Opener,
    Secrets,
    WrappedKey,
    mode_of,
    names_repository,
    parse_key,
    secrets_of_passphrase,
)
from strongroom.borg.objects import MANIFEST, Objects
from strongroom.borg.remote import RemoteObjects
from strongroom.borg.repository import BorgRepository
from strongroom.borg.scratch import Scratch
from strongroom.errors import (
    ChunkMissing,
    Damaged,
    KeyForeign,
    KeyInvalid,
    KeyMissing,
    RepoKeyMissing,
)
from strongroom.reporting import Reporter
from strongroom.repository.unlocking import PassphraseSource
from strongroom.store.location import Location
from strongroom.store.ssh import SshOptions

_MAX_KEY_FILE = 64 * 1024


class BorgPlaces(msgspec.Struct, frozen=True):
    """Folders of this machine. Borg 1.4 documentation, usage, "Environment variables"."""

    keys: Path  # Borg's key files
    key_file: Path | None  # the one that the user names
    cache: Path  # ours
    security: Path  # ours


def open_borg(
    place: Location,
    places: BorgPlaces,
    passphrases: PassphraseSource,
    reporter: Reporter,
    options: SshOptions,
    *,
    lock_wait: float,
    with_checkpoints: bool = False,
    with_parts: bool = False,
) -> BorgRepository:
    """Raises `RepositoryMissing`, `NotARepository`, `VersionUnknown`, `LockTimeout`, `Damaged`,
    `KeyMissing`, `RepoKeyMissing`, `KeyInvalid`, what the passphrase source raises, the store's errors."""
    location = place.canonical()
    scratch = Scratch(places.cache)
    objects: Objects | None = None
    try:
        objects = _open_objects(place, scratch, lock_wait, options)
        opener = _opener(objects, location, places, passphrases)
        return BorgRepository(
            objects,
            opener,
            scratch,
            location,
            places.cache,
            places.security,
            reporter,
            with_checkpoints=with_checkpoints,
            with_parts=with_parts,
        )
    except BaseException:
        if objects is not None:
            objects.close()
        scratch.close()
        raise


def _open_objects(place: Location, scratch: Scratch, lock_wait: float, options: SshOptions) -> Objects:
    if place.is_remote:
        return RemoteObjects(place, options, scratch)
    return FolderObjects(os.path.abspath(place.path), scratch, lock_wait)


def _opener(objects: Objects, location: str, places: BorgPlaces, passphrases: PassphraseSource) -> Opener:
    try:
        manifest = objects.get(MANIFEST)
    except ChunkMissing as error:
        raise Damaged(
            f"{location} has no manifest, the list of its archives: it was never written to, or is damaged. "
            "`borg check --repair`, on a copy of the repository, makes it anew."
        ) from error
    mode = mode_of(manifest, location)
    if mode.storage == "none":
        return Opener(mode, NO_SECRETS)
    if mode.storage == "repokey":
        if not objects.key() and manifest[0] == PASSPHRASE_TYPE:
            return _opened_by_passphrase(objects, mode, manifest, location, passphrases)
        if not objects.key():
            raise RepoKeyMissing(
                f"{location} is of mode {mode.name}, but its config holds no key. Put the key back from its "
                "export with `borg key import`, on a copy of the repository."
            )
        where = f"the key of {location}"
        return _unlock(objects, mode, parse_key(objects.key(), where), where, passphrases)
    wrapped, path = _key_file(objects, location, places)
    return _unlock(objects, mode, wrapped, os.fspath(path), passphrases)


def _opened_by_passphrase(
    objects: Objects, mode: Mode, manifest: bytes, location: str, passphrases: PassphraseSource
) -> Opener:
    """A wrong passphrase shows by the manifest, which it does not open."""
    for attempt in count(1):
        secrets = secrets_of_passphrase(passphrases.existing(location, attempt), objects.id)
        opener = Opener(mode, secrets)
        with contextlib.suppress(Damaged):
            opener.open(MANIFEST, manifest, is_manifest=True)
            return opener
    raise AssertionError("the passphrases come to an end by an error")


def _unlock(
    objects: Objects, mode: Mode, wrapped: WrappedKey, where: str, passphrases: PassphraseSource
) -> Opener:
    secrets: Secrets | None = wrapped.unlock("")
    attempt = 0
    while secrets is None:
        attempt += 1
        secrets = wrapped.unlock(passphrases.existing(where, attempt))
    if not names_repository(secrets, objects.id):
        raise KeyForeign(f"{where} is the key of another Borg repository, {secrets.repository.hex()}.")
    return Opener(mode, secrets)


def _key_file(objects: Objects, location: str, places: BorgPlaces) -> tuple[WrappedKey, Path]:
    for path in _candidates(places):
        try:
            with open(path, "rb") as stream:
                text = stream.read(_MAX_KEY_FILE)
        except (IsADirectoryError, FileNotFoundError):
            continue
        except OSError as error:
            raise KeyInvalid(f"The key file {path} cannot be read: {error.strerror}.") from error
        if text.startswith(FILE_MAGIC + objects.id.hex().encode()):
            return parse_key(text, f"The key file {path}"), path
        if path == places.key_file:
            raise KeyForeign(f"{path} is not the key file of the Borg repository {location}.")
    looked = places.key_file or places.keys
    raise KeyMissing(
        f"No key file for the Borg repository {location} found in {looked}. Copy it from the machine that "
        "made the backups (there: ~/.config/borg/keys), or name it in BORG_KEY_FILE; an exported key is "
        "brought back by `borg key import`."
    )


def _candidates(places: BorgPlaces) -> Iterator[Path]:
    if places.key_file is not None:
        yield places.key_file
        return
    try:
        yield from sorted(places.keys.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
