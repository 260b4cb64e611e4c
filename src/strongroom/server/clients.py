"""The policy file of a server: its clients, their keys, and what each may do.

`DIR/.policy.json`, mode 0600. It is the truth; the lines in authorized_keys are made from it.
"""

import os
import re
from typing import Annotated

import msgspec
from msgspec import Meta

from strongroom.errors import CommandError, VersionUnknown
from strongroom.malformed import MALFORMED
from strongroom.server import files
from strongroom.server.policy import Restriction

NAME = ".policy.json"
VERSION = 1
_MAX_SIZE = 64 << 20  # bytes
_CLIENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Client(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str  # as in a .pub file
    restrictions: list[Restriction]
    quota: Annotated[int, Meta(ge=1)] | None  # bytes
    added: str  # ISO 8601, UTC


class ServerPolicy(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    authorized_keys: str  # path
    program: list[str]  # the words that start strongroom
    clients: dict[str, Client] = {}


_policy = msgspec.json.Decoder(ServerPolicy)


def check_client_name(name: str) -> str:
    """Raises `CommandError`. The name becomes a folder, and a word of a forced command."""
    if not _CLIENT.fullmatch(name):
        raise CommandError(
            f"{name[:80]!r} cannot name a client: letters, digits, - _ and . are allowed, up to 63, "
            "beginning with a letter or digit."
        )
    return name


def read_policy(folder: str) -> ServerPolicy:
    """Raises `CommandError` if the folder has none, or a damaged one; `VersionUnknown`."""
    path = os.path.join(folder, NAME)
    blob = files.read(path)
    if blob is None:
        raise CommandError(
            f"{folder} is no strongroom server's folder. Make it one: strongroom server init {folder}"
        )
    try:
        if len(blob) > _MAX_SIZE:
            raise CommandError(f"{path} is too large to be a policy file.")
        version = _versioned.decode(blob).version
        if version != VERSION:
            raise VersionUnknown(f"{path} has format {version}, this strongroom knows {VERSION}. Upgrade it.")
        policy = _policy.decode(blob)
    except MALFORMED as error:
        raise CommandError(f"{path} is damaged: {error}. Correct it, or put a copy of it back.") from error
    for name in policy.clients:
        check_client_name(name)
    return policy


def write_policy(folder: str, policy: ServerPolicy) -> None:
    blob = msgspec.json.format(msgspec.json.encode(policy, order="sorted"), indent=2)
    files.replace(os.path.join(folder, NAME), blob + b"\n")


def client_of(policy: ServerPolicy, name: str) -> Client:
    """Raises `CommandError` for a name that no client has."""
    client = policy.clients.get(name)
    if client is None:
        raise CommandError(
            f"There is no client {name!r}; there are: {', '.join(sorted(policy.clients)) or 'none'}."
        )
    return client


class _Versioned(msgspec.Struct):
    version: int


_versioned = msgspec.json.Decoder(_Versioned)
