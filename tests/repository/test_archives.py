"""The archive object: sealed metadata, bound to its refs and its repository."""

import msgspec
import pytest
from blake3 import blake3
from msgspec.structs import replace

from strongroom.crypto.sealing import SealingKeyPair, SessionReader, SessionWriter
from strongroom.errors import Damaged, RoleInsufficient, VersionUnknown
from strongroom.ids import ArchiveId, RefsId, RepositoryId
from strongroom.repository import archives
from strongroom.repository.archives import ArchiveMeta

REPOSITORY, REFS = RepositoryId(bytes(32)), RefsId(b"r" * 32)
META = ArchiveMeta(name="daily", start=1, end=2, root=b"root")
PLAIN = SessionReader(REPOSITORY, None, True)


@pytest.fixture(scope="module")
def pair() -> SealingKeyPair:
    return SealingKeyPair(*SealingKeyPair.generate())


def test_metadata_comes_back_and_is_sealed(pair: SealingKeyPair) -> None:
    meta = replace(META, hostname="laptop", files=3, chunker=[1, 2, 3], interrupted=True)
    archive, blob = archives.encode(meta, REFS, SessionWriter(REPOSITORY, pair))
    assert archives.open_meta(blob, archive, SessionReader(REPOSITORY, pair, False)) == meta
    assert b"daily" not in blob and b"laptop" not in blob
    assert archives.decode(blob, archive)[0] == REFS
    with pytest.raises(Damaged):
        archives.open_meta(blob, archive, SessionReader(RepositoryId(b"x" * 32), pair, False))
    public, _ = SealingKeyPair.generate()
    with pytest.raises(RoleInsufficient):
        reader = SessionReader(REPOSITORY, SealingKeyPair(public, None), False)
        archives.open_meta(blob, archive, reader)


def test_text_that_is_no_utf8_comes_back() -> None:
    """A folder's or an argument's bytes: they once ended `create` with a traceback."""
    odd = "a\udcff"
    meta = replace(META, name=odd, hostname=odd, username=odd, comment=odd, command_line=[odd], cwd="/" + odd)
    archive, blob = archives.encode(meta, REFS, SessionWriter(REPOSITORY, None))
    assert archives.open_meta(blob, archive, PLAIN) == meta


def test_refs_cannot_be_exchanged_by_who_keeps_the_object(pair: SealingKeyPair) -> None:
    _, blob = archives.encode(META, REFS, SessionWriter(REPOSITORY, pair))
    forged = blob.replace(REFS, b"f" * 32)
    archive = ArchiveId(blake3(forged).digest())
    assert archives.decode(forged, archive)[0] == b"f" * 32
    with pytest.raises(Damaged, match="refs that its writer did not"):
        archives.open_meta(forged, archive, SessionReader(REPOSITORY, pair, False))


def test_every_changed_byte_is_noticed() -> None:
    archive, blob = archives.encode(META, REFS, SessionWriter(REPOSITORY, None))
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises(Damaged):
            archives.decode(bytes(changed), archive)


def opened(stored: dict[str, object]) -> ArchiveMeta:
    session = SessionWriter(REPOSITORY, None).sealed
    plain = bytes(8) + REFS + msgspec.msgpack.encode(stored) + bytes(16)
    blob = msgspec.msgpack.encode([1, session, REFS, plain])
    return archives.open_meta(blob, ArchiveId(blake3(blob).digest()), PLAIN)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": b""},
        {"name": bytes(4097)},
        {"name": "text"},
        {"files": -1},
        {"start": 1 << 63},
        {"original": (1 << 64) - 1},
        {"chunker": [-1]},
        {"root": None},
    ],
)
def test_impossible_metadata_is_refused(changes: dict[str, object]) -> None:
    sound: dict[str, object] = {"name": b"daily", "start": 1, "end": 2, "root": b"root"}
    assert opened(sound) == META
    with pytest.raises(Damaged):
        opened(sound | changes)


def test_unknown_keys_of_the_metadata_are_ignored() -> None:
    assert opened({"name": b"daily", "start": 1, "end": 2, "root": b"root", "later": [1]}) == META


def test_a_future_version_is_told() -> None:
    blob = msgspec.msgpack.encode([2, "anything"])
    with pytest.raises(VersionUnknown, match="Upgrade"):
        archives.decode(blob, ArchiveId(blake3(blob).digest()))
