"""Forged, replayed and misplaced log records, and objects that are not what their name says."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from economy import times
from founded import Founded, archive_body, archive_name, founded_at, pack_name
from rawclient import RawClient, failed
from strongroom.crypto import keys
from strongroom.repository import log
from strongroom.repository.log import ArchivesBody, InitBody, KeyAddBody, KeyRevokeBody
from strongroom.store import wire
from strongroom.store.local import LocalStore
from strongroom.store.stamp import unstamp

ARCHIVE = b"an archive object"


@pytest.fixture
def founded(tmp_path: Path) -> Founded:
    return founded_at(tmp_path / "repo")


@pytest.fixture
def client(founded: Founded, tmp_path: Path) -> Iterator[RawClient]:
    with RawClient(["--append-only"]) as client:
        client.greet()
        assert client.open(tmp_path / "repo") == wire.Done()
        assert client.put(archive_name(ARCHIVE), ARCHIVE) == wire.Done()
        yield client


def log_of(tmp_path: Path) -> list[bytes]:
    store = LocalStore(str(tmp_path / "repo"))
    return [unstamp(store.get(found.name))[0] for found in store.list("log/")]


def test_a_record_that_continues_the_log_is_taken_and_stamped(
    client: RawClient, founded: Founded, tmp_path: Path
) -> None:
    name, blob = founded.record("archive", archive_body(ARCHIVE))
    reply = client.append(name, blob)
    assert isinstance(reply, wire.Stamped)
    stored = LocalStore(str(tmp_path / "repo")).get(name)
    assert unstamp(stored) == (blob, reply.stamp)


def refused(client: RawClient, name: str, blob: bytes, words: str, kind: str = "LogBroken") -> None:
    reply = client.append(name, blob)
    assert failed(reply, kind, words), reply


def test_a_replayed_record_is_refused_in_its_place_and_in_any_other(
    client: RawClient, founded: Founded, tmp_path: Path
) -> None:
    name, blob = founded.record("archive", archive_body(ARCHIVE))
    assert isinstance(client.append(name, blob), wire.Stamped)
    refused(client, name, blob, "exists already", "ObjectExists")
    refused(client, log.name(3), blob, "does not follow")
    refused(client, log.name(1), log_of(tmp_path)[0], "exists already", "ObjectExists")
    assert len(log_of(tmp_path)) == 2


def test_a_gap_and_an_impossible_number_are_refused(client: RawClient, founded: Founded) -> None:
    _, blob = founded.record("archive", archive_body(ARCHIVE))
    refused(client, log.name(3), blob, "gap")
    refused(client, log.name(10**19), blob, "gap")
    refused(client, log.name(0), blob, "exists", "ObjectExists")


def test_a_record_of_another_repository_is_refused(client: RawClient, tmp_path: Path) -> None:
    other = founded_at(tmp_path / "other")
    refused(client, *other.record("archive", archive_body(ARCHIVE)), "belongs to another repository")


def test_a_record_signed_by_a_stranger_is_refused(client: RawClient, founded: Founded) -> None:
    stranger = Founded()
    name, blob = founded.record("archive", archive_body(ARCHIVE), stranger.admin)
    refused(client, name, blob, "unknown key")


def test_a_record_that_names_the_admin_but_is_signed_otherwise_is_refused(
    client: RawClient, founded: Founded
) -> None:
    name, blob = founded.record("archive", archive_body(ARCHIVE))
    version, payload, signature = msgspec.msgpack.decode(blob)
    forged = keys.sign(keys.new_signing_key(), b"strongroom 1 log record\0" + payload)
    refused(client, name, msgspec.msgpack.encode([version, payload, forged]), "not signed")
    refused(client, name, msgspec.msgpack.encode([version, payload, bytes(64)]), "not signed")
    changed = bytearray(payload)
    changed[-1] ^= 1
    refused(client, name, msgspec.msgpack.encode([version, bytes(changed), signature]), "")


def test_a_second_founding_is_refused(client: RawClient, founded: Founded) -> None:
    refused(client, *founded.record("init", InitBody("admin", founded.state_admin)), "init")


def test_a_backup_key_adds_archives_but_no_keys(client: RawClient, founded: Founded, tmp_path: Path) -> None:
    backup = founded.new_key(LocalStore(str(tmp_path / "repo")), "backup")
    accomplice = keys.public_of(keys.new_signing_key())
    refused(client, *founded.record("key-add", KeyAddBody("x", "admin", accomplice), backup), "backup key")
    revoke = KeyRevokeBody(founded.admin.key_id(), None)
    refused(client, *founded.record("key-revoke", revoke, backup), "backup key")
    assert isinstance(client.append(*founded.record("archive", archive_body(ARCHIVE), backup)), wire.Stamped)


def test_a_revoked_key_signs_nothing_more(client: RawClient, founded: Founded, tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "repo"))
    backup = founded.new_key(store, "backup")
    founded.append(store, "key-revoke", KeyRevokeBody(backup.key_id(), None))
    refused(client, *founded.record("archive", archive_body(ARCHIVE), backup), "revoked")


def test_a_record_must_not_name_what_never_arrived(client: RawClient, founded: Founded) -> None:
    refused(client, *founded.record("archive", archive_body(b"never sent")), "not in the repository")
    body = archive_body(ARCHIVE, packs=bytes(32))
    refused(client, *founded.record("archive", body), f"packs/00/{'00' * 32}")
    # A refused record leaves no trace in what the server believes.
    assert isinstance(client.append(*founded.record("archive", archive_body(ARCHIVE))), wire.Stamped)


def test_a_tombstone_for_nothing_is_refused(client: RawClient, founded: Founded) -> None:
    refused(client, *founded.record("delete", ArchivesBody([bytes(32)])), "not there")


def test_after_another_writer_the_next_number_counts(
    client: RawClient, founded: Founded, tmp_path: Path
) -> None:
    mine = founded.record("archive", archive_body(ARCHIVE))
    founded.new_key(LocalStore(str(tmp_path / "repo")), "backup")
    refused(client, *mine, "exists", "ObjectExists")
    assert isinstance(client.append(*founded.record("archive", archive_body(ARCHIVE))), wire.Stamped)


@settings(max_examples=times(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_mangled_record_is_taken_and_none_stops_the_server(
    client: RawClient, founded: Founded, tmp_path: Path, data: st.DataObject
) -> None:
    name, blob = founded.record("archive", archive_body(ARCHIVE))
    mangled = bytearray(blob)
    for _ in range(data.draw(st.integers(1, 4))):
        mangled[data.draw(st.integers(0, len(mangled) - 1))] ^= data.draw(st.integers(1, 255))
    mangled = mangled[: data.draw(st.integers(1, len(mangled)))] + data.draw(st.binary(max_size=5))
    if bytes(mangled) == blob:
        return
    reply = client.append(name, bytes(mangled))
    assert isinstance(reply, wire.Failed)
    assert reply.kind in {"LogBroken", "VersionUnknown"}, reply
    assert len(log_of(tmp_path)) == 1


@pytest.mark.parametrize(
    "name", [pack_name(b"x"), f"keys/{'0' * 64}", f"index/{'0' * 64}", f"archives/{'0' * 64}"]
)
def test_an_object_with_a_false_name_is_refused_and_leaves_nothing(
    client: RawClient, tmp_path: Path, name: str
) -> None:
    assert failed(client.put(name, b"something else"), "Damaged", "arrived damaged")
    assert failed(client.ask(wire.Get(name, 0, None)), "ObjectMissing")
    assert not list((tmp_path / "repo/tmp").iterdir())


def test_nothing_is_overwritten(client: RawClient, founded: Founded) -> None:
    assert failed(client.put(archive_name(ARCHIVE), ARCHIVE), "ObjectExists")
    assert failed(client.put("config", Founded().config), "ObjectExists")
    assert client.put("leases/" + "a" * 32, b"first") == wire.Done()
    assert failed(client.put("leases/" + "a" * 32, b"second"), "ObjectExists")


def test_a_config_that_is_none_is_refused(tmp_path: Path) -> None:
    with RawClient() as client:
        client.greet()
        assert client.open(tmp_path / "new", create=True) == wire.Done()
        assert failed(client.put("config", b"[repository]"), "NotARepository")
        broken = bytearray(Founded().config)
        broken[60] ^= 1
        assert failed(client.put("config", bytes(broken)), "Damaged")
        _, blob = Founded().record("archive", archive_body(ARCHIVE))
        assert failed(client.append(log.name(1), blob), "NotARepository", "no config yet")
        assert client.put("config", Founded().config) == wire.Done()
