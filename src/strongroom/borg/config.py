"""The `config` file of a Borg repository. Borg 1.4 documentation, internals, "Config file"."""

import configparser
import os

import msgspec

from strongroom.errors import NotARepository, RepositoryMissing, StoreRefused, VersionUnknown
from strongroom.ids import RepositoryId

_MAX_SIZE = 1 << 20


class Config(msgspec.Struct, frozen=True):
    id: RepositoryId
    key: bytes  # a `repokey`, as in a key file; empty if the repository has none


_BY_BORG_ITSELF = "Bring its archives over with Borg itself: `borg extract`, then `strongroom create`."


def read_config(folder: str) -> Config:
    """Raises `RepositoryMissing`, `NotARepository`, `VersionUnknown`, `StoreRefused`."""
    path = os.path.join(folder, "config")
    try:
        with open(path, "rb") as stream:
            text = stream.read(_MAX_SIZE)
    except (FileNotFoundError, NotADirectoryError):
        if not os.path.isdir(folder):
            raise RepositoryMissing(f"Repository {folder} does not exist.") from None
        raise NotARepository(f"{folder} is not a Borg repository: it has no file `config`.") from None
    except IsADirectoryError:
        raise VersionUnknown(
            f"{folder} is no repository of Borg 1.0 to 1.4, and perhaps one of Borg 2: `config` is a folder "
            f"there. {_BY_BORG_ITSELF}"
        ) from None
    except OSError as error:
        raise StoreRefused(
            f"{path} cannot be read: {error.strerror}. Run this as the user who owns the repository."
        ) from error
    if text.startswith(b"strongroom repository"):
        raise NotARepository(
            f"{folder} is a repository of strongroom, not of Borg: name it without the word `borg:`."
        )
    return parse_config(text, folder)


def parse_config(text: bytes, folder: str) -> Config:
    """Raises `NotARepository`, `VersionUnknown`."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text.decode("utf-8"))
        section = parser["repository"]
        version = int(section["version"])
        if version != 1:
            raise VersionUnknown(
                f"{folder} is a Borg repository of version {version}; only version 1, of Borg 1.0 to 1.4, is "
                f"read. {_BY_BORG_ITSELF}"
            )
        identity = bytes.fromhex(section["id"].strip())
        if len(identity) != 32:
            raise ValueError("the id has a wrong length")
        return Config(RepositoryId(identity), section.get("key", "").encode())
    except (configparser.Error, KeyError, ValueError) as error:
        raise NotARepository(
            f"{folder}/config is damaged: {str(error).splitlines()[0]}. It holds the repository's id, and of "
            "a repokey repository its key: take the file from a copy of the repository."
        ) from None
