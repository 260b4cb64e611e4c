"""Whatever bytes stand for an object, decoding ends in an object or in an error of ours.

The hostile writer here knows every hash, checksum and signing key: what is mutated is what lies below
them, so that the decoders themselves must hold.
"""

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.archive import trees
from strongroom.archive.platform.acls import acl_from_text, mode_without_acl
from strongroom.archive.platform.owners import Owners
from strongroom.crypto import keyformat, keyqr, keys
from strongroom.crypto.sealing import DATA, SealedSession, SealingKeyPair, SessionReader
from strongroom.errors import Damaged, LogBroken, StrongroomError
from strongroom.ids import ArchiveId, ChunkId, IndexId, PackId, RefsId, RepositoryId
from strongroom.repository import archives, bundles, founding, packs, refs
from strongroom.repository.log import LogState
from strongroom.store.stamp import stamp, unstamp
from vectors.build import ADMIN, CHUNKS, COMPRESSIONS, entries, meta, plain_session, secrets
from vectors.make import HERE

VECTORS: dict[str, Any] = json.loads((HERE / "vectors.json").read_text())
REPOSITORY = RepositoryId(bytes.fromhex(VECTORS["config"]["id"]))
ROUNDS = 150
DEEP = b"\x91" * 5_000

# msgpack values that are out of place almost anywhere
POISON = [
    b"\xdd\xff\xff\xff\xff",  # an array of 2^32 - 1
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    DEEP + b"\xc0",
    b"\xa2\xff\xfe",  # str that is no UTF-8
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",  # not a number
    b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",  # a timestamp
    b"\xc1",
    b"\xc0",
    b"\xc3",
    b"\x90",
    b"\x80",
    b"\xc4\x00",
    b"",
]


def mutated(blob: bytes, chooser: random.Random) -> bytes:
    changed = bytearray(blob)
    for _ in range(chooser.choice((1, 1, 2, 5))):
        at = chooser.randrange(len(changed) + 1)
        match chooser.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([chooser.randrange(256)])
            case 1:
                changed[at : at + chooser.choice((0, 1, 9))] = chooser.choice(POISON)
            case 2:
                del changed[at:]
            case 3:
                del changed[at : at + chooser.randrange(1, 40)]
            case _:
                source = chooser.randrange(len(blob))
                changed[at:at] = blob[source : source + chooser.randrange(1, 40)]
        if not changed:
            break
    return bytes(changed)


def config(line: bytes) -> None:
    signature = keys.sign(ADMIN, b"strongroom 1 config\0" + line)
    founding.decode(
        b"strongroom repository, format 1\n" + line + b"\n" + signature.hex().encode() + b"\n", "x"
    )


def whole_config(blob: bytes) -> None:
    founding.decode(blob, "here")


def key_secrets(plain: bytes) -> None:
    """In a key file without a passphrase, whose header is sound."""
    bare = keyformat.parse(bytes.fromhex(VECTORS["key-file"]["backup-unwrapped"]), "here")
    sealed = AESGCM(bytes(32)).encrypt(bare.header.nonce, plain, bare.header_bytes)
    found = keys.unwrap(msgspec.structs.replace(bare, sealed=sealed), "", "here")
    keys.sealing_pair(found)


def record_payload(payload: bytes) -> None:
    state = LogState(REPOSITORY, keys.public_of(ADMIN))
    state.apply(bytes.fromhex(VECTORS["log"][0]["record"]))
    signature = keys.sign(ADMIN, b"strongroom 1 log record\0" + payload)
    state.apply(msgspec.msgpack.encode([1, payload, signature]))


def record(blob: bytes) -> None:
    LogState(REPOSITORY, keys.public_of(ADMIN)).apply(blob)


def trailer(body: bytes) -> None:
    tail = body + len(body).to_bytes(4, "little") + blake3(body).digest(length=16) + packs.FOOTER_MAGIC
    pack = bytes(packs.HEADER) + bytes(3000) + tail
    packs.decode_trailer(pack, PackId(bytes(32)), len(pack))


def whole_pack(blob: bytes) -> None:
    packs.decode_trailer(blob, PackId(bytes(32)), len(blob))


def index(blob: bytes) -> None:
    packs.decode_index(blob, IndexId(blake3(blob).digest()))


def refs_block(blob: bytes) -> None:
    root = RefsId(blake3(blob).digest())
    level, ids = refs.decode(blob, root)
    assert 0 <= level <= refs.MAX_LEVEL and all(len(one) == 32 for one in ids)


def archive(blob: bytes) -> None:
    reader = SessionReader(REPOSITORY, None, plain_allowed=True)
    archives.open_meta(blob, ArchiveId(blake3(blob).digest()), reader)


def archive_meta(plain: bytes) -> None:
    session = plain_session(REPOSITORY).sealed
    archive(msgspec.msgpack.encode([1, session, plain[:32], bytes(8) + plain + bytes(16)]))


def tree(blob: bytes) -> None:
    for entry in trees.decode_segment(blob, ChunkId(bytes(32))):
        entry.chunks()
        trees.encode_root(entry)


def root_entry(blob: bytes) -> None:
    trees.decode_root(blob)


def bundle(blob: bytes) -> None:
    bundles.decode(blob, len(CHUNKS))


def envelope(blob: bytes) -> None:
    unstamp(blob)


def envelope_below_its_check(body: bytes) -> None:
    unstamp(b"\x94" + body + b"\xc4\x08" + blake3(body).digest(length=8))


def sealed_session(blob: bytes) -> None:
    reader = SessionReader(
        REPOSITORY,
        SealingKeyPair(secrets(REPOSITORY).sealing_public, secrets(REPOSITORY).sealing_private),
        False,
    )
    session = SealedSession(blob[:16], 1 + len(blob) % 3, blob[16:])
    reader.decrypt(session, DATA, memoryview(blob))


def key_file(blob: bytes) -> None:
    keyformat.parse(blob, "here")


def key_backup(blob: bytes) -> None:
    keyqr.parse_any(blob.decode("utf-8", "replace"), REPOSITORY)


def acl(text: bytes) -> None:
    mode_without_acl(0o755, text)
    acl_from_text(text, Owners(), numeric_ids=False)


def v(*path: str | int) -> bytes:
    value: Any = VECTORS
    for step in path:
        value = value[step]
    return bytes.fromhex(value)


def payload_of(number: int) -> bytes:
    return msgspec.msgpack.decode(v("log", number, "record"))[1]


PLAIN_META = bytes(32) + msgspec.msgpack.encode(archives._to_stored(meta()))
PACK = v("pack", "bytes")
CASES: dict[str, tuple[Callable[[bytes], None], bytes]] = {
    "config": (whole_config, v("config", "bytes")),
    "config, signed": (config, v("config", "bytes").split(b"\n")[1]),
    "key file": (key_file, v("key-file", "admin")),
    "key secrets": (key_secrets, msgspec.msgpack.encode(secrets(REPOSITORY, "backup"))),
    "envelope": (envelope, v("log", 0, "stored")),
    "envelope, checked": (envelope_below_its_check, v("log", 0, "stored")[1:-10]),
    "record": (record, v("log", 0, "record")),
    **{
        f"record {n + 1} ({VECTORS['log'][n]['kind']}), signed": (record_payload, payload_of(n))
        for n in range(1, 7)
    },
    "pack": (whole_pack, PACK),
    "trailer": (trailer, PACK[-28 - int.from_bytes(PACK[-28:-24], "little") : -28]),
    "index": (index, v("index", "bytes")),
    "refs": (refs_block, v("refs", "root_bytes")),
    "archive": (archive, v("archive", "bytes")),
    "archive metadata": (archive_meta, PLAIN_META),
    "tree": (tree, v("tree", "bytes")),
    "root entry": (root_entry, meta().root),
    "session": (sealed_session, v("inputs", "session_id") + v("session", "aes256gcm", "sealed")),
    **{f"bundle, {words}": (bundle, v("bundle", words)) for words in COMPRESSIONS},
    "key backup, file": (key_backup, VECTORS["key-backup"]["file"].encode()),
    "key backup, paper": (key_backup, VECTORS["key-backup"]["paper"].encode()),
    "key backup, QR": (key_backup, VECTORS["key-backup"]["qr"][0].encode()),
    "ACL": (acl, next(entry.acl_access for entry in entries() if entry.acl_access) or b""),
}


@pytest.mark.parametrize("name", CASES)
def test_only_errors_of_ours_come_out(name: str) -> None:
    decode, blob = CASES[name]
    chooser = random.Random(name)
    refused = 0
    for _ in range(ROUNDS):
        try:
            decode(mutated(blob, chooser))
        except StrongroomError:
            refused += 1
    assert refused > ROUNDS // 4


@pytest.mark.parametrize("name", CASES)
def test_poison_at_every_depth(name: str) -> None:
    """Each element of the outer levels exchanged for something that has no place there."""
    decode, blob = CASES[name]
    for at in range(min(len(blob), 24)):
        for poison in POISON:
            try:
                decode(blob[:at] + poison + blob[at + 1 :])
            except StrongroomError:
                continue


def test_nesting_without_end_is_refused() -> None:
    for decode in (record, index, archive, envelope):
        with pytest.raises((Damaged, LogBroken)):
            decode(DEEP + b"\xc0")
    with pytest.raises(Damaged):
        tree(b"\x01\x91" + DEEP + b"\xc0")
    with pytest.raises(LogBroken):
        record_payload(payload_of(1)[:-5] + DEEP + b"\xc0")


def test_more_elements_than_known_are_refused() -> None:
    """What an element of the future means cannot be guessed, and must not be skipped."""
    fields: list[Any] = msgspec.msgpack.decode(payload_of(1))
    record_payload(msgspec.msgpack.encode(fields))
    fields[6].append(1)
    with pytest.raises(LogBroken):
        record_payload(msgspec.msgpack.encode(fields))


def test_an_envelope_of_another_time_is_refused() -> None:
    with pytest.raises(ValueError, match="out of range"):
        stamp(b"record", 1 << 63)
