"""The archive object: sealed metadata, and in plain the root of its refs.

Specified in docs/format.md, "Archives".
"""

from typing import Annotated

import msgspec

from strongroom.crypto import hashing
from strongroom.crypto.sealing import ARCHIVE, OVERHEAD, SealedSession, SessionReader, SessionWriter
from strongroom.errors import CommandError, Damaged, VersionUnknown
from strongroom.ids import ID_SIZE, ArchiveId, RefsId, last_part
from strongroom.malformed import MALFORMED

VERSION = 1
MAX_SIZE = 16 * 1024 * 1024
MAX_NAME = 4096  # bytes of an archive's name


class ArchiveMeta(msgspec.Struct, frozen=True):
    """What only those who can open learn about an archive. Times are ns since the epoch.

    Text is the system's own bytes, decoded with `surrogateescape`.
    """

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


_Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Time = Annotated[int, msgspec.Meta(ge=-1 << 63, le=(1 << 63) - 1)]


class _StoredMeta(msgspec.Struct, frozen=True, omit_defaults=True):
    """As stored: text as bytes, since a folder's or an argument's need not be UTF-8."""

    name: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
    start: _Time
    end: _Time
    root: bytes
    hostname: bytes = b""
    username: bytes = b""
    comment: bytes = b""
    command_line: list[bytes] = []
    cwd: bytes = b""
    files: _Count = 0
    original: _Count = 0
    compressed: _Count = 0
    deduplicated: _Count = 0
    chunker: list[_Count] = []
    interrupted: bool = False


class _ArchiveObject(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    session: SealedSession
    refs: bytes
    sealed: bytes


_object = msgspec.msgpack.Decoder(_ArchiveObject)
_meta = msgspec.msgpack.Decoder(_StoredMeta)


def name(archive: ArchiveId) -> str:
    return f"archives/{archive.hex()}"


def id_of(stored: str) -> ArchiveId | None:
    """The archive of that name; None for a name that no archive has."""
    archive = ArchiveId(last_part(stored))
    return archive if archive and name(archive) == stored else None


def check_name(name: str) -> None:
    """Raises `CommandError` for one that readers would refuse."""
    size = len(name.encode("utf-8", "surrogateescape"))
    if not 1 <= size <= MAX_NAME:
        raise CommandError(
            f"An archive's name has 1 to {MAX_NAME} bytes, and this one {size}: {name[:60]}..."
        )


def encode(meta: ArchiveMeta, refs: RefsId, session: SessionWriter) -> tuple[ArchiveId, bytes]:
    """The refs root stands inside the sealed part too: a server cannot exchange it. Raises `CommandError`."""
    check_name(meta.name)
    plain = refs + msgspec.msgpack.encode(_to_stored(meta))
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
        found = _object.decode(blob)
        found.session.check()
    except (*MALFORMED, IndexError) as error:
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
        return _from_stored(_meta.decode(plain[ID_SIZE:]))
    except MALFORMED as error:
        raise Damaged(f"{name(archive)} holds invalid metadata: {error}. {_ADVICE}") from error


def _to_stored(meta: ArchiveMeta) -> _StoredMeta:
    return _StoredMeta(
        name=_bytes(meta.name),
        start=meta.start,
        end=meta.end,
        root=meta.root,
        hostname=_bytes(meta.hostname),
        username=_bytes(meta.username),
        comment=_bytes(meta.comment),
        command_line=[_bytes(word) for word in meta.command_line],
        cwd=_bytes(meta.cwd),
        files=meta.files,
        original=meta.original,
        compressed=meta.compressed,
        deduplicated=meta.deduplicated,
        chunker=meta.chunker,
        interrupted=meta.interrupted,
    )


def _from_stored(stored: _StoredMeta) -> ArchiveMeta:
    return ArchiveMeta(
        name=_text(stored.name),
        start=stored.start,
        end=stored.end,
        root=stored.root,
        hostname=_text(stored.hostname),
        username=_text(stored.username),
        comment=_text(stored.comment),
        command_line=[_text(word) for word in stored.command_line],
        cwd=_text(stored.cwd),
        files=stored.files,
        original=stored.original,
        compressed=stored.compressed,
        deduplicated=stored.deduplicated,
        chunker=stored.chunker,
        interrupted=stored.interrupted,
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")


_ADVICE = "Run `strongroom check`; a second repository, if you have one, still holds it."
