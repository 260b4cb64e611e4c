"""The test vectors: every persistent object made from fixed inputs.

`build` gives what `vectors.json` holds, as text. What no fixed input determines (HPKE's ciphertext,
compressed bytes that change with a library's version) is taken from the vectors recorded before.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

from strongroom.archive import trees
from strongroom.archive.entries import HOLE, Entry
from strongroom.crypto import checked_text, hashing, keybackup, keyformat, keyqr, keys, sealing
from strongroom.crypto.keys import KeySecrets, ServerKey
from strongroom.crypto.sealing import DATA, TREE, SealingKeyPair, SessionWriter
from strongroom.ids import ArchiveId, RefsId, RepositoryId
from strongroom.repository import archives, bundles, founding, log, packs, parity
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.compression import parse_compression
from strongroom.repository.founding import Founding
from strongroom.repository.log import (
    ArchiveBody,
    ArchivesBody,
    FreeingBody,
    InitBody,
    KeyAddBody,
    KeyRevokeBody,
    LogState,
    Signer,
)
from strongroom.repository.packs import IndexedPack
from strongroom.repository.refs import RefsWriter
from strongroom.repository.writing import PackBuffer, PackFiller, finish_pack
from strongroom.store.stamp import stamp

Recorded = dict[str, Any]

ID_KEY = bytes(range(32))
SEED = 0x0123456789ABCDEF
ADMIN, BACKUP = bytes(range(0x20, 0x40)), bytes(range(0x40, 0x60))
SERVER = bytes(range(0xC0, 0xE0))
SEALING_PRIVATE = bytes(range(0x60, 0xC0))  # ML-KEM seed, X25519 private key
SESSION_KEY, SESSION_ID = bytes(range(0xC0, 0xE0)), bytes(range(0xE0, 0xF0))
TIME = 1_767_225_600_000_000_000  # 2026-01-01 00:00:00 UTC
PASSPHRASE = "correct horse battery staple"
COMPRESSIONS = ("none", "lz4", "zstd,3", "zlib,6", "lzma,6")
CHUNKS = [b"A room as strong as its door. " * 20, b"", b"\x00\xff"]
REFS_COUNT = 4000


def sealing_public() -> bytes:
    kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(SEALING_PRIVATE[:64]).public_key().public_bytes_raw()
    curve = x25519.X25519PrivateKey.from_private_bytes(SEALING_PRIVATE[64:])
    return kem + curve.public_key().public_bytes_raw()


class RecordedPair:
    """Seals to the ciphertext that was recorded, if there is one."""

    def __init__(self, recorded: str | None) -> None:
        self._recorded = recorded
        self._pair = SealingKeyPair(sealing_public(), SEALING_PRIVATE)

    def seal(self, session_key: bytes, info: bytes) -> bytes:
        return bytes.fromhex(self._recorded) if self._recorded else self._pair.seal(session_key, info)


@contextlib.contextmanager
def random_is(*values: bytes) -> Iterator[None]:
    """`os.urandom` gives these, in turn."""
    queue = iter(values)
    with mock.patch.object(os, "urandom", lambda size: _sized(next(queue), size)):
        yield


def _sized(value: bytes, size: int) -> bytes:
    assert len(value) == size
    return value


def session(repository: RepositoryId, recorded: str | None, *, aes: bool = True) -> SessionWriter:
    """The fixed session; its counter begins at 0."""
    with (
        random_is(SESSION_ID, SESSION_KEY),
        mock.patch.object(sealing, "_aes_in_hardware", lambda: aes),
    ):
        return SessionWriter(repository, RecordedPair(recorded))  # type: ignore[arg-type]


def plain_session(repository: RepositoryId) -> SessionWriter:
    with random_is(SESSION_ID):
        return SessionWriter(repository, None)


def secrets(repository: RepositoryId, role: keyformat.Role = "admin") -> KeySecrets:
    return KeySecrets(
        repository=repository,
        name=role,
        role=role,
        protection="sealed",
        id_key=ID_KEY,
        chunker_seed=SEED,
        admin_public=keys.public_of(ADMIN),
        signing_private=ADMIN if role == "admin" else BACKUP,
        sealing_public=sealing_public(),
        sealing_private=None if role == "backup" else SEALING_PRIVATE,
    )


def founded() -> tuple[RepositoryId, bytes]:
    document = Founding(
        nonce=bytes(32).hex(),
        created=TIME,
        protection="sealed",
        key_location="repokey",
        admin_key=keys.public_of(ADMIN).hex(),
        sealing_key=sealing_public().hex(),
    )
    return founding.encode(document, ADMIN)


def entries() -> list[Entry]:
    """One of each kind, and every field at least once; in the order of names."""
    one, other = blake3(b"1").digest(), blake3(b"2").digest()
    base: dict[str, Any] = {"uid": 1000, "gid": 100, "user": "ann", "group": "users", "mtime": TIME}
    return [
        Entry(b"device", 0o020666, 0, 0, "root", "root", TIME, 0, b"", rdev=259),
        Entry(b"empty", mode=0o100600, size=0, content=b"", **base),
        Entry(
            b"every",
            mode=0o104755,
            size=10,
            content=one,
            link=bytes(range(8)),
            ctime=TIME + 1,
            atime=TIME - 1,
            birthtime=-1,
            xattrs={b"user.b": b"\x00\xff", b"user.empty": b""},
            acl_access=b"user::rwx\nuser:bob:r--:1001\ngroup::r-x\nmask::r-x\nother::r-x",
            flags=0x40,
            **base,
        ),
        Entry(
            b"folder",
            mode=0o040755,
            size=0,
            content=other,
            acl_default=b"user::rwx\ngroup::r-x\nother::---",
            **base,
        ),
        Entry(b"implied", 0o040755, 0, 0, None, None, 0, 0, other, implied=True),
        Entry(b"link", mode=0o120777, size=0, content=b"", target=b"../\xff", **base),
        Entry(b"pipe", mode=0o010644, size=0, content=b"", **base),
        Entry(
            b"sparse\xff",
            mode=0o100644,
            size=1 << 20,
            content=one + HOLE + other,
            sizes=[10, (1 << 20) - 17, 7],
            **base,
        ),
    ]


def meta() -> ArchiveMeta:
    root = Entry(b"", 0o040755, 0, 0, None, None, 0, 0, blake3(b"tree").digest(), implied=True)
    return ArchiveMeta(
        name="daily-\udcff",
        start=TIME,
        end=TIME + 5_000_000_000,
        root=trees.encode_root(root),
        hostname="laptop",
        username="ann",
        comment="the first",
        command_line=["strongroom", "create", "::daily-\udcff", "/home"],
        cwd="/",
        files=3,
        original=1000,
        deduplicated=500,
        chunker=[262144, 1048576, 4194304],
    )


def build(recorded: Recorded) -> Recorded:
    repository, config = founded()
    sealed = {
        name: recorded.get("session", {}).get(name, {}).get("sealed") for name in ("aes256gcm", "chacha20")
    }

    def fixed() -> SessionWriter:
        return session(repository, sealed["aes256gcm"])

    vectors: Recorded = {
        "inputs": {
            "id_key": ID_KEY.hex(),
            "chunker_seed": SEED,
            "admin_signing_private": ADMIN.hex(),
            "backup_signing_private": BACKUP.hex(),
            "sealing_private": SEALING_PRIVATE.hex(),
            "sealing_public": sealing_public().hex(),
            "session_id": SESSION_ID.hex(),
            "session_key": SESSION_KEY.hex(),
            "time": TIME,
            "passphrase": PASSPHRASE,
        },
        "hashes": {
            "data": b"strongroom".hex(),
            "plain": hashing.plain_hash(b"strongroom").hex(),
            "chunk_id": hashing.chunk_hasher(ID_KEY)(b"strongroom").hex(),
            "name_tag": hashing.name_tag(ID_KEY, "strongroom").hex(),
            "admin_key_id": hashing.key_id(keys.public_of(ADMIN)).hex(),
        },
        "config": {"id": repository.hex(), "bytes": config.hex()},
    }
    with random_is(bytes(range(16)), bytes(range(12))):
        wrapped = keys.wrap(secrets(repository), PASSPHRASE)
    with random_is(bytes(range(12))):
        bare = keys.wrap(secrets(repository, "backup"), None)
    vectors["key-file"] = {"admin": wrapped.hex(), "backup-unwrapped": bare.hex()}
    short = bytes(range(40))
    vectors["key-backup"] = {
        "key": short.hex(),
        "letters": checked_text.encode(b"strongroom"),
        "file": keybackup.export_file(short, repository),
        "paper": keybackup.export_paper(short, repository),
        "qr": keyqr.payloads(short, repository),
    }
    writers = {"aes256gcm": fixed(), "chacha20": session(repository, sealed["chacha20"], aes=False)}
    vectors["session"] = {name: _session(writer) for name, writer in writers.items()}
    vectors["session"]["plain"] = _session(plain_session(repository))
    plains = _bundle_plains(recorded)
    vectors["bundle"] = plains
    pack_id, pack, table = _pack(plains, fixed)
    vectors["pack"] = {"id": pack_id.hex(), "bytes": pack.hex()}
    vectors["parity"] = {"percent": 5, "bytes": b"".join(parity.encode(pack_id, pack, 5)).hex()}
    index_id, index = packs.encode_index([table])
    vectors["index"] = {"id": index_id.hex(), "bytes": index.hex()}
    vectors["refs"], root = _refs()
    archive_id, archive = archives.encode(meta(), root, fixed())
    vectors["archive"] = {"id": archive_id.hex(), "bytes": archive.hex()}
    vectors["tree"] = {"bytes": b"".join(trees.encode_tree(entries())).hex()}
    vectors["log"] = _log(repository, archive_id, pack_id, index_id)
    return vectors


def _session(writer: SessionWriter) -> Recorded:
    plain = b"sixteen bytes!!!"
    out = bytearray(len(plain) + sealing.OVERHEAD)
    for _ in range(2):  # the second bundle shows the counter
        writer.encrypt_into(DATA, memoryview(plain), memoryview(out))
    return {
        "algorithm": writer.sealed.algorithm,
        "sealed": writer.sealed.sealed.hex(),
        "plain": plain.hex(),
        "second_data_bundle": out.hex(),
    }


def _bundle_plains(recorded: Recorded) -> Recorded:
    plains = {}
    for words in COMPRESSIONS:
        known = recorded.get("bundle", {}).get(words)
        if known is None or words == "none":
            known = bytes(bundles.BundleEncoder(parse_compression(words)).encode(CHUNKS)).hex()
        plains[words] = known
    return plains


def _pack(plains: Recorded, fixed: Callable[[], SessionWriter]) -> tuple[packs.PackId, bytes, IndexedPack]:
    chunk_id = hashing.chunk_hasher(ID_KEY)
    complete: list[PackBuffer] = []
    filler = PackFiller(fixed, 1 << 20, 1 << 20, 1, complete.append)
    filler.add(DATA, b"".join(map(chunk_id, CHUNKS)), memoryview(bytes.fromhex(plains["zstd,3"])))
    segment = b"".join(trees.encode_tree(entries()))
    tree = bundles.BundleEncoder(parse_compression("none")).encode([segment])
    filler.add(TREE, chunk_id(segment), tree)
    filler.finish()
    part = filler.take(complete[0])
    assert part is not None
    body = part.buffer[: part.used]
    hasher = hashing.Hasher()
    hasher.update(body)
    table, trailer = finish_pack(complete[0], hasher)
    return packs.PackId(table.pack), body + trailer, table


def _refs() -> tuple[Recorded, RefsId]:
    stored: dict[RefsId, bytes] = {}
    writer = RefsWriter(stored.__setitem__, lambda _: False)
    for number in range(REFS_COUNT):
        writer.add(blake3(number.to_bytes(4, "little")).digest())
    root = writer.finish()
    blocks = [block.hex() for block in stored]
    return {"count": REFS_COUNT, "blocks": blocks, "root": root.hex(), "root_bytes": stored[root].hex()}, root


def _log(repository: RepositoryId, archive: ArchiveId, pack: bytes, index: bytes) -> list[Recorded]:
    admin, backup = secrets(repository), secrets(repository, "backup")
    server = ServerKey("server", SERVER)
    state = LogState(repository, admin.admin_public)
    times = itertools.count(TIME, 1_000_000_000)
    written = ArchiveBody(archive, hashing.name_tag(ID_KEY, meta().name), pack, index, 1234, 4, REFS_COUNT)
    renamed_id = blake3(b"renamed").digest()
    moved = blake3(b"moved").digest()
    freed = FreeingBody(renamed_id, pack, index, moved, moved, moved, 1000, 1234, sources=[[3]])
    renamed = ArchiveBody(
        renamed_id, hashing.name_tag(ID_KEY, "weekly"), b"", b"", 0, 0, REFS_COUNT, replaces=archive
    )
    recreated = ArchiveBody(
        blake3(b"recreated").digest(), renamed.name_tag, b"", b"", 0, 0, REFS_COUNT, replaces=renamed_id
    )
    again = ArchiveBody(
        blake3(b"again").digest(), hashing.name_tag(ID_KEY, "again"), b"", b"", 0, 0, REFS_COUNT
    )
    steps: list[tuple[log.Kind, log.Body, Signer]] = [
        ("init", InitBody("admin", admin.public()), admin),
        ("key-add", KeyAddBody("backup", "backup", backup.public()), admin),
        ("archive", written, backup),
        ("rename", renamed, admin),
        ("delete", ArchivesBody([renamed_id]), backup),
        ("undelete", ArchivesBody([renamed_id]), admin),
        ("recreate", recreated, admin),
        ("key-revoke", KeyRevokeBody(backup.key_id(), TIME), admin),
        ("key-add", KeyAddBody("server", "server", server.public()), admin),
        ("delete", ArchivesBody([recreated.archive]), server),
        ("compact", freed, server),
        ("repair", FreeingBody(strays=moved), admin),
        ("recompress", again, admin),
    ]
    records = []
    for kind, body, signer in steps:
        blob = log.sign(state, kind, body, signer, next(times))
        taken = state.apply(blob)
        records.append(
            {
                "name": log.name(taken.seq),
                "kind": kind,
                "record": blob.hex(),
                "hash": taken.hash.hex(),
                "stored": stamp(blob, TIME + taken.seq).hex(),
            }
        )
    return records
