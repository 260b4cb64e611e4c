"""The recorded vectors: the program writes the same bytes and reads them, and the page shows them."""

import itertools
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from format import independent_reader
from format.conftest import open_at
from strongroom.archive import trees
from strongroom.archive.options import RestoreOptions
from strongroom.archive.patterns import PatternMatcher
from strongroom.commands.check import CheckOptions, check_repository
from strongroom.commands.extract import extract_archive
from strongroom.crypto import keybackup, keyformat, keyqr, keys
from strongroom.crypto.sealing import DATA, SealedSession, SealingKeyPair, SessionReader
from strongroom.errors import PassphraseWrong
from strongroom.ids import ArchiveId, ChunkId, IndexId, PackId, RefsId, RepositoryId
from strongroom.reporting import SilentReporter
from strongroom.repository import archives, bundles, founding, log, packs, parity, records, refs
from strongroom.repository.log import LogState
from strongroom.store.stamp import unstamp
from vectors import examples
from vectors.build import CHUNKS, COMPRESSIONS, PASSPHRASE, TIME, build, entries, meta, secrets
from vectors.make import ARCHIVE, HERE, PAGE, make_source

VECTORS: dict[str, Any] = json.loads((HERE / "vectors.json").read_text())


def raw(*path: str | int) -> bytes:
    value: Any = VECTORS
    for step in path:
        value = value[step]
    return bytes.fromhex(value)


REPOSITORY = RepositoryId(raw("config", "id"))


def reader() -> SessionReader:
    private = raw("inputs", "sealing_private")
    return SessionReader(REPOSITORY, SealingKeyPair(raw("inputs", "sealing_public"), private), False)


def test_the_program_writes_the_recorded_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyformat, "ARGON2_MEMORY", 64 * 1024)  # as users' programs do
    monkeypatch.setattr(keyformat, "ARGON2_PASSES", 3)
    assert build(VECTORS) == VECTORS


def test_the_page_shows_the_recorded_bytes() -> None:
    page = PAGE.read_text()
    assert examples.count(page) == page.count("<!-- example:") == 15
    assert examples.updated(page, VECTORS) == page


def test_the_config_is_read() -> None:
    identity, document = founding.decode(raw("config", "bytes"), "here")
    assert identity == REPOSITORY and document.created == TIME
    assert document.sealing_key == VECTORS["inputs"]["sealing_public"]


def test_key_files_are_unwrapped() -> None:
    file = keyformat.parse(raw("key-file", "admin"), "here")
    assert file.needs_passphrase and file.role == "admin"
    assert keys.unwrap(file, PASSPHRASE, "here") == secrets(REPOSITORY)
    with pytest.raises(PassphraseWrong):
        keys.unwrap(file, PASSPHRASE + " ", "here")
    bare = keyformat.parse(raw("key-file", "backup-unwrapped"), "here")
    assert keys.unwrap(bare, "", "here") == secrets(REPOSITORY, "backup")


def test_key_backups_are_read() -> None:
    recorded = VECTORS["key-backup"]
    key = bytes.fromhex(recorded["key"])
    assert keybackup.parse_file(recorded["file"], REPOSITORY) == (REPOSITORY, key)
    for text in (recorded["file"], recorded["paper"], "\n".join(recorded["qr"])):
        assert keyqr.parse_any(text, REPOSITORY) == key


@pytest.mark.parametrize("name", ["aes256gcm", "chacha20"])
def test_sealed_sessions_open(name: str) -> None:
    recorded = VECTORS["session"][name]
    session = SealedSession(
        raw("inputs", "session_id"), recorded["algorithm"], bytes.fromhex(recorded["sealed"])
    )
    stored = bytes.fromhex(recorded["second_data_bundle"])
    assert stored[:8] == bytes([1, 0, 0, 0, 0, 0, 0, 0])
    assert bytes(reader().decrypt(session, DATA, memoryview(stored))).hex() == recorded["plain"]
    info = b"strongroom 1 session key" + REPOSITORY + session.id + bytes([session.algorithm])
    opened = independent_reader.hpke_open(raw("inputs", "sealing_private"), session.sealed, info)
    assert opened == raw("inputs", "session_key")


@pytest.mark.parametrize("words", COMPRESSIONS)
def test_bundles_of_each_compression_are_read(words: str) -> None:
    plain = raw("bundle", words)
    assert plain[1] == COMPRESSIONS.index(words)
    assert [bytes(chunk) for chunk in bundles.decode(plain, len(CHUNKS))] == CHUNKS
    assert independent_reader.cut_bundle(plain) == CHUNKS


def test_pack_and_index_tell_the_same() -> None:
    pack, blob = PackId(raw("pack", "id")), raw("pack", "bytes")
    assert blake3(blob).digest() == pack
    trailer = packs.decode_trailer(blob, pack, len(blob))
    assert isinstance(trailer, packs.Trailer)
    (table,) = packs.decode_index(raw("index", "bytes"), IndexId(raw("index", "id")))
    assert (table.pack, table.size, table.bundles) == (pack, len(blob), trailer.bundles)
    chunk_ids = blake3(b"", key=raw("inputs", "id_key"))
    for bundle, expected in zip(trailer.bundles, (CHUNKS, [raw("tree", "bytes")]), strict=True):
        stored = memoryview(blob)[bundle.offset : bundle.offset + bundle.length]
        plain = reader().decrypt(trailer.sessions[bundle.session], bundle.kind, stored)
        found = [bytes(chunk) for chunk in bundles.decode(plain, len(expected))]
        assert found == expected
        hashed = [blake3(chunk, key=raw("inputs", "id_key")).digest() for chunk in found]
        assert b"".join(hashed) == bundle.chunks
    assert chunk_ids.digest() in trailer.bundles[0].chunks  # the empty chunk


def test_parity_gives_the_pack_back() -> None:
    pack, blob = PackId(raw("pack", "id")), raw("pack", "bytes")
    recorded = raw("parity", "bytes")
    assert b"".join(parity.encode(pack, blob, VECTORS["parity"]["percent"])) == recorded
    for start in range(0, len(blob), 700):
        damaged = blob[:start] + bytes(700) + blob[start + 700 :]
        assert parity.heal(pack, memoryview(bytearray(damaged)), recorded).blob == blob


def test_refs_of_two_levels() -> None:
    recorded = VECTORS["refs"]
    root = RefsId(bytes.fromhex(recorded["root"]))
    level, blocks = refs.decode(bytes.fromhex(recorded["root_bytes"]), root)
    assert level == 1 and [block.hex() for block in blocks] == recorded["blocks"][:-1]
    assert recorded["blocks"][-1] == recorded["root"]
    stored = {root: bytes.fromhex(recorded["root_bytes"])}
    ids = [blake3(n.to_bytes(4, "little")).digest() for n in range(recorded["count"])]
    start = 0
    for block in blocks:
        for end in range(start + 256, len(ids) + 1):
            blob = b"SRREFS\0\1\0" + b"".join(ids[start:end])
            if blake3(blob).digest() == block:
                stored[RefsId(block)], start = blob, end
                break
    assert list(refs.read_all(root, stored.__getitem__, len(ids))) == ids


def test_the_archive_object_is_opened() -> None:
    blob = raw("archive", "bytes")
    assert archives.open_meta(blob, ArchiveId(raw("archive", "id")), reader()) == meta()


def test_a_tree_with_every_field_is_read() -> None:
    found = trees.decode_segment(raw("tree", "bytes"), ChunkId(bytes(32)))
    assert found == entries()
    fields = trees.Entry.__struct_fields__
    unused = [name for name in fields if all(getattr(entry, name) in (None, b"", 0) for entry in found)]
    assert unused == []


def test_the_log_is_verified_record_by_record() -> None:
    state = LogState(REPOSITORY, keys.public_of(raw("inputs", "admin_signing_private")))
    for recorded, seq in zip(VECTORS["log"], itertools.count(1), strict=False):
        record, stamp = unstamp(bytes.fromhex(recorded["stored"]))
        assert record.hex() == recorded["record"] and stamp == TIME + seq
        taken = state.apply(record)
        assert (log.name(seq), taken.kind) == (recorded["name"], recorded["kind"])
        assert taken.hash.hex() == recorded["hash"] == blake3(record).hexdigest()
    assert {one["kind"] for one in VECTORS["log"]} == set(records.BODIES)
    assert state.archives.keys() != state.freed_archives.keys() and len(state.freed_archives) == 1
    assert [key.revoked is None for key in state.keys.values()] == [True, False, True]


@pytest.mark.parametrize("encryption", ["repokey", "none"])
def test_a_recorded_repository_is_read(encryption: str, tmp_path: Path) -> None:
    """By the program, and by the independent reader."""
    with tarfile.open(HERE / f"repository-{encryption}.tar.xz") as tar:
        tar.extractall(tmp_path, filter="data")
    make_source(tmp_path / "source")
    target = tmp_path / "target"
    target.mkdir()
    with open_at(tmp_path / "repository", tmp_path / "base", PASSPHRASE) as repository:
        result = check_repository(repository, CheckOptions(verify_data=True), SilentReporter())
        assert (result.problems, result.packs, result.archives) == ([], 1, 1)
        extract_archive(repository, ARCHIVE, PatternMatcher(), RestoreOptions(), target, SilentReporter())
    opened = independent_reader.Repository(tmp_path / "repository").open(PASSPHRASE)
    paths = {path.decode() for path, _, _ in opened.files(ARCHIVE)}
    source = {str(path.relative_to(tmp_path / "source")) for path in (tmp_path / "source").rglob("*")}
    assert paths == source
    for name in ("text", "empty", "folder/numbers", "folder/same"):
        assert (target / name).read_bytes() == (tmp_path / "source" / name).read_bytes()
    assert (target / "text").stat().st_mtime_ns == TIME
    assert (target / "text").stat().st_ino == (target / "folder/same").stat().st_ino
    assert (target / "link").readlink() == Path("folder/numbers")
