"""The archive object: sealed metadata, and in plain the root of its refs.

Specified in docs/format.md, "Archives".
"""

import msgspec

from strongroom.crypto import hashing
from strongroom.crypto.sealing import ARCHIVE, OVERHEAD, SealedSession, SessionReader, SessionWriter
from strongroom.errors import Damaged, VersionUnknown
from strongroom.ids import ID_SIZE, ArchiveId, RefsId

VERSION = 1
MAX_SIZE = 16 * 1024 * 1024


class ArchiveMeta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What only those who can open learn about an archive. Times are ns since the epoch."""

    name: str
    start: int
    end: int
    root: bytes  # the root folder's entry, encoded as in trees
    hostname: str = ""
    username: str = ""
    comment: str = ""
    command_line: list[str] = []
    cwd: str = ""
    files: int = 0  # regular files
    original: int = 0  # bytes of content and trees
    compressed: int = 0  # bytes as stored, each use counted
    deduplicated: int = 0  # bytes that this archive added
    chunker: list[int] = []  # minimum, average, maximum size in bytes
    interrupted: bool = False  # committed by an interrupted run: not everything is in it


class _ArchiveObject(msgspec.Struct, array_like=True, frozen=True):
    version: int
    session: SealedSession
    refs: bytes
    sealed: bytes


def name(archive: ArchiveId) -> str:
    return f"archives/{archive.hex()}"


def encode(meta: ArchiveMeta, refs: RefsId, session: SessionWriter) -> tuple[ArchiveId, bytes]:
    """The refs root stands inside the sealed part too: a server cannot exchange it."""
    plain = refs + msgspec.msgpack.encode(meta)
    sealed = bytearray(len(plain) + OVERHEAD)
    session.encrypt_into(ARCHIVE, memoryview(plain), memoryview(sealed))
    blob = msgspec.msgpack.encode(_ArchiveObject(VERSION, session.sealed, refs, bytes(sealed)))
    return ArchiveId(hashing.plain_hash(blob)), blob


def decode(blob: bytes, archive: ArchiveId) -> tuple[RefsId, SealedSession, bytes]:
    """What is readable without a key: refs root, session, and the sealed metadata.

    Raises `Damaged`, `VersionUnknown`.
    """
    where = name(archive)
    if len(blob) > MAX_SIZE or not hashing.same(hashing.plain_hash(blob), archive):
        raise Damaged(f"{where} is damaged. {_ADVICE}")
    try:
        version = msgspec.msgpack.decode(blob, type=list[msgspec.Raw])[0]
        if msgspec.msgpack.decode(version, type=int) != VERSION:
            raise VersionUnknown(f"{where} has an unknown archive format. Upgrade strongroom.")
        found = msgspec.msgpack.decode(blob, type=_ArchiveObject)
        found.session.check()
    except (msgspec.MsgspecError, IndexError) as error:
        raise Damaged(f"{where} is invalid: {error}. {_ADVICE}") from error
    if len(found.refs) != ID_SIZE:
        raise Damaged(f"{where} names impossible refs. {_ADVICE}")
    return RefsId(found.refs), found.session, found.sealed


def open_meta(blob: bytes, archive: ArchiveId, reader: SessionReader) -> ArchiveMeta:
    """Raises `Damaged`, `RoleInsufficient`, `VersionUnknown`."""
    refs, session, sealed = decode(blob, archive)
    plain = bytes(reader.decrypt(session, ARCHIVE, memoryview(sealed)))
    if plain[:ID_SIZE] != refs:
        raise Damaged(f"{name(archive)} names refs that its writer did not. {_ADVICE}")
    try:
        return msgspec.msgpack.decode(plain[ID_SIZE:], type=ArchiveMeta)
    except msgspec.MsgspecError as error:
        raise Damaged(f"{name(archive)} holds invalid metadata: {error}. {_ADVICE}") from error


_ADVICE = "Run `strongroom check`; a second repository, if you have one, still holds it."
