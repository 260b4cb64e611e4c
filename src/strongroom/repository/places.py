"""Where this machine keeps its own things, and which repository it has last seen where."""

import os
from pathlib import Path

import msgspec

from strongroom.crypto import hashing
from strongroom.errors import CacheFull
from strongroom.ids import RepositoryId
from strongroom.store.disk import write_private
from strongroom.store.reserve import NO_ROOM


class Directories(msgspec.Struct, frozen=True):
    config: Path
    cache: Path
    keys: Path
    security: Path
    key_file: Path | None = None  # the one that the user names


class Places:
    """Which repository was last seen at which location: a replaced one is noticed."""

    def __init__(self, base: Path) -> None:
        self._path = base / "places"

    def repository_at(self, location: str) -> RepositoryId | None:
        try:
            return RepositoryId(bytes.fromhex(self._file(location).read_text("ascii")))
        except (FileNotFoundError, ValueError):
            return None

    def remember(self, location: str, repository: RepositoryId) -> None:
        replace_file(self._file(location), repository.hex().encode() + b"\n")

    def forget(self, location: str) -> None:
        self._file(location).unlink(missing_ok=True)

    def _file(self, location: str) -> Path:
        return self._path / hashing.plain_hash(location.encode("utf-8", "surrogateescape")).hex()


def replace_file(path: Path, content: bytes) -> None:
    """Atomically: a temporary name, fsync, rename. Raises `CacheFull` where there is no room."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(temporary, content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno not in NO_ROOM:
            raise
        raise CacheFull(f"{path} cannot be written: {error.strerror}. Free some space there.") from error
