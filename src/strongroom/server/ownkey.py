"""The server's own signing key: its owner thins out and compacts by it, where clients' repositories name it.

`DIR/.server.key`, mode 0600: a line `strongroom server key 1`, then the raw Ed25519 private key, 64 hex
digits. It opens nothing and writes no archive.
"""

import binascii
import os

from strongroom.crypto import keys
from strongroom.crypto.keys import ServerKey
from strongroom.errors import CommandError, VersionUnknown
from strongroom.server import files

NAME = ".server.key"
_FIRST_WORDS = b"strongroom server key "
_VERSION = b"1"
_SIGNER = "server"


def read(folder: str) -> ServerKey | None:
    """None if the server has none yet. Raises `CommandError`, `VersionUnknown`."""
    path = os.path.join(folder, NAME)
    blob = files.read(path)
    if blob is None:
        return None
    lines = blob.split(b"\n")
    version = lines[0].removeprefix(_FIRST_WORDS)
    if version.isdigit() and version != _VERSION:
        raise VersionUnknown(f"{path} has a newer format than this strongroom knows. Upgrade it.")
    try:
        if lines[0] != _FIRST_WORDS + _VERSION or len(lines) != 3 or len(lines[1]) != 64:
            raise ValueError("it does not look like one")
        return ServerKey(_SIGNER, binascii.unhexlify(lines[1]))
    except ValueError:
        raise CommandError(
            f"{path} is damaged. Put a copy of it back; or remove it, run `strongroom server init` again, "
            "and have clients admit the new key: strongroom key add --role server."
        ) from None


def require(folder: str) -> ServerKey:
    """Raises `CommandError` if the server has none, too."""
    key = read(folder)
    if key is None:
        raise CommandError(
            f"{folder} has no server key yet: run `strongroom server init {folder}` again, which makes it."
        )
    return key


def make(folder: str) -> ServerKey:
    """The key, made if there is none. The folder's lock is to be held."""
    known = read(folder)
    if known is not None:
        return known
    key = ServerKey(_SIGNER, keys.new_signing_key())
    blob = b"\n".join((_FIRST_WORDS + _VERSION, key.signing_private.hex().encode(), b""))
    files.replace(os.path.join(folder, NAME), blob)
    return key
