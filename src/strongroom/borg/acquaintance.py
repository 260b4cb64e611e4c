"""Whether a Borg repository is the one that this machine knows.

A server could put another repository in its place: one without encryption, with files of its own choice, or
an old state. Borg keeps what it saw in its security folder (Borg 1.4, `cache.py`, `SecurityManager`), and
asks or refuses; so do we, by the same three files of Borg's, which are only read, and by our own.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from strongroom.borg.keys import MODES
from strongroom.borg.manifest import parse_time
from strongroom.borg.repository import BorgRepository
from strongroom.errors import (
    AccessAborted,
    CacheFull,
    Damaged,
    EncryptionChanged,
    LogRolledBack,
    StrangerDeclined,
)
from strongroom.repository.history import SecurityFolder

Confirm = Callable[[str, str], bool]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOCATION, KEY_TYPE, TIMESTAMP = "location", "key-type", "manifest-timestamp"


class _Memory(NamedTuple):
    """What one folder remembers; Borg counts a repository as known when it has all three."""

    folder: Path
    location: str
    encrypted: bool
    written: int  # the manifest, ns since the epoch


def check_acquaintance(repository: BorgRepository, borgs_security: Path, confirm: Confirm) -> None:
    """Raises `AccessAborted`, `EncryptionChanged`, `LogRolledBack`."""
    here = _borgs_words(repository.store.describe())
    ours = repository.security
    folders = (ours, SecurityFolder(borgs_security, repository.id))
    memories = [found for one in folders if (found := _remembered(one)) is not None]
    if not memories and not repository.sealed:
        question = (
            f"Warning: Attempting to access a previously unknown unencrypted repository!\n({here})\n"
            "Do you want to continue? [yN] "
        )
        if not confirm(question, "UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK"):
            raise StrangerDeclined(f"Access to the unknown unencrypted repository {here} was not confirmed.")
    if memories and all(known.location != here for known in memories):
        before = memories[0].location
        question = (
            f"Warning: The repository at location {here} was previously located at {before}\n"
            "Do you want to continue? [yN] "
        )
        if not confirm(question, "RELOCATED_REPO_ACCESS_IS_OK"):
            raise AccessAborted(f"Access to the moved repository {here} was not confirmed.")
    _compare(repository, memories, here)
    manifest = repository.manifest
    try:
        ours.write(LOCATION, here.encode("utf-8", "surrogateescape"))
        ours.write(KEY_TYPE, b"%d" % manifest.key_type)
        ours.write(TIMESTAMP, _moment(manifest.written).isoformat().encode())
    except CacheFull as error:
        repository.history.forgo_memory(error)


def _compare(repository: BorgRepository, memories: list[_Memory], here: str) -> None:
    if not repository.sealed and (once := [known for known in memories if known.encrypted]):
        raise EncryptionChanged(
            f"{here} is not encrypted, though it was when this machine saw it last: another repository was "
            f"put in its place. If you did that yourself, move {_folders(once)} away."
        )
    if newer := [known for known in memories if known.written > repository.manifest.written]:
        found = _moment(repository.manifest.written)
        seen = _moment(max(known.written for known in newer))
        raise LogRolledBack(
            f"{here} is as it was at {found:%F %T} UTC, and this machine has seen it as of {seen:%F %T} UTC: "
            "an older state is in its place. If you put it there, or want to read an old copy, move "
            f"{_folders(newer)} away."
        )


def _folders(memories: list[_Memory]) -> str:
    return " and ".join(str(known.folder) for known in memories)


def _remembered(folder: SecurityFolder) -> _Memory | None:
    """None also where something else than what Borg writes is there: then nothing is known."""
    location, kind, when = (folder.read(name) for name in (LOCATION, KEY_TYPE, TIMESTAMP))
    if location is None or kind is None or when is None:
        return None
    try:
        mode, written = MODES[int(kind)], parse_time(when.strip().encode(), str(folder.path))
    except (ValueError, KeyError, Damaged):
        return None
    return _Memory(folder.path, location.strip(), mode.encrypted, written)


def _moment(when: int) -> datetime:
    return _EPOCH + timedelta(microseconds=when // 1000)


def _borgs_words(location: str) -> str:
    """How Borg names the place."""
    return location.removeprefix("borg:").removeprefix("borg+")
