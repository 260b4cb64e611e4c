"""One type for each kind of identifier, so that mypy refuses a mix-up.

All are raw bytes; objects in the store are named by the lower-case hex of them.
"""

from typing import NewType

RepositoryId = NewType("RepositoryId", bytes)  # 32: BLAKE3 of the founding document
ChunkId = NewType("ChunkId", bytes)  # 32: BLAKE3 of the plaintext, keyed with the id key
PackId = NewType("PackId", bytes)  # 32: BLAKE3 of the pack's bytes
IndexId = NewType("IndexId", bytes)  # 32: BLAKE3 of the index object's bytes
RefsId = NewType("RefsId", bytes)  # 32: BLAKE3 of the refs block's bytes
ArchiveId = NewType("ArchiveId", bytes)  # 32: BLAKE3 of the archive object's bytes
KeyId = NewType("KeyId", bytes)  # 16: leading half of BLAKE3 of the Ed25519 public key
SessionId = NewType("SessionId", bytes)  # 16: random, one a writing session
NameTag = NewType("NameTag", bytes)  # 32: BLAKE3 of an archive's name, keyed

ID_SIZE = 32
KEY_ID_SIZE = 16
SESSION_ID_SIZE = 16


def last_part(name: str) -> bytes:
    """The id that an object's name ends in; empty where it ends in none."""
    try:
        found = bytes.fromhex(name.rpartition("/")[2])
    except ValueError:
        return b""
    return found if len(found) == ID_SIZE else b""
