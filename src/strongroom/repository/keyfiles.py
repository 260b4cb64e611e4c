"""The key files that lie on this machine, and which of them a command will want.

Apart from `keyring`, so that little must be loaded before the slow derivation of a key can begin.
"""

import os
from enum import Enum
from pathlib import Path

import msgspec

from strongroom.crypto import keyformat
from strongroom.crypto.keyformat import KeyFile, Role
from strongroom.errors import KeyForeign, KeyInvalid, KeyMissing
from strongroom.ids import RepositoryId


class Need(Enum):
    """What a command does with the repository, and which roles may; preferred ones first."""

    STRUCTURE = ()  # no key at all
    ANY = ("admin", "restore", "backup")
    READ = ("admin", "restore")
    WRITE = ("backup", "admin")
    DELETE = ("admin", "backup")
    ADMIN = ("admin",)


class FoundKey(msgspec.Struct, frozen=True):
    file: KeyFile
    where: str  # in the user's words
    path: Path | None  # None: in the repository
    repository: str = ""  # which, for one that is in it

    @property
    def asked_for(self) -> str:
        """What a prompt names, in Borg's words: the repository that holds it, or its file."""
        return f"key {self.repository or self.where}"


def named(repository: RepositoryId, path: Path) -> FoundKey:
    try:
        file = keyformat.parse(path.read_bytes(), os.fspath(path))
    except OSError as error:
        raise KeyMissing(f"The key file {path} cannot be read: {error.strerror}.") from error
    if file.repository != repository:
        raise KeyForeign(f"The key file {path} belongs to another repository, {file.repository.hex()}.")
    return FoundKey(file, os.fspath(path), path)


def in_folder(repository: RepositoryId, folder: Path) -> list[FoundKey]:
    found = []
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KeyMissing(f"The key folder {folder} cannot be read: {error.strerror}.") from error
    for path in paths:
        try:
            with path.open("rb") as opened:
                blob = opened.read(keyformat.MAX_KEY_FILE + 1)
            file = keyformat.parse(blob, os.fspath(path))
        except (OSError, KeyInvalid):
            continue  # other files may live in that folder; the one we need is reported as missing
        if file.repository == repository:
            found.append(FoundKey(file, os.fspath(path), path))
    return found


def in_order(found: list[FoundKey], roles: tuple[Role, ...]) -> list[FoundKey]:
    """Those of these roles, the best first: a planted key cannot make the true one wait for a derivation as
    dear as the format admits."""

    def preference(one: FoundKey) -> tuple[int, bool, int]:
        kdf = one.file.header.kdf
        return roles.index(one.file.role), one.path is None, 0 if kdf is None else kdf.memory * kdf.passes

    return sorted((one for one in found if one.file.role in roles), key=preference)


def likely(found: list[FoundKey], roles: tuple[Role, ...]) -> KeyFile | None:
    """The key that a passphrase will be tried on first, as far as can be told before the log is read.

    None where a key without one comes first, and for a dearer derivation than our own keys need: whoever
    plants a key must not make us work for it before the log says whose key it is.
    """
    fitting = in_order(found, roles)
    if not fitting or not fitting[0].file.needs_passphrase:
        return None
    best = fitting[0].file
    kdf = best.header.kdf
    return best if kdf is not None and keyformat.is_usual(kdf) else None
