"""The key of a server's owner: what it may not do, and what nobody else may do with it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from founded import Founded, archive_body, archive_name, founded_at
from rawclient import RawClient, failed
from strongroom.crypto import keys
from strongroom.crypto.keys import ServerKey
from strongroom.errors import ConnectionBroken, RoleInsufficient
from strongroom.ids import ArchiveId
from strongroom.repository import log
from strongroom.repository.log import ArchivesBody, Body, KeyAddBody, KeyRevokeBody, Kind
from strongroom.server import ownkey
from strongroom.store import wire
from strongroom.store.local import LocalStore

ARCHIVE, OTHER = b"an archive object", b"another one"
OWN = ServerKey("server", keys.new_signing_key())


@pytest.fixture
def founded(tmp_path: Path) -> Founded:
    """With an archive, and the server's key admitted."""
    (tmp_path / "srv/laptop").mkdir(parents=True)
    founded = founded_at(tmp_path / "srv/laptop/repo")
    store = LocalStore(str(tmp_path / "srv/laptop/repo"))
    for blob in (ARCHIVE, OTHER):
        store.put(archive_name(blob), [blob])
    founded.append(store, "archive", archive_body(ARCHIVE))
    founded.append(store, "key-add", KeyAddBody("server", "server", OWN.public()))
    return founded


@pytest.fixture
def client(founded: Founded, tmp_path: Path) -> Iterator[RawClient]:
    """As the forced command lets it in."""
    home = tmp_path / "srv/laptop"
    with RawClient(["--append-only", "--restrict-to-path", str(home)], cwd=home.parent) as client:
        client.greet()
        assert client.open(home / "repo") == wire.Done()
        yield client


def stranger_bodies(founded: Founded) -> dict[Kind, Body]:
    """What the key must not sign, each in itself in order."""
    mine = keys.new_signing_key()
    return {
        "archive": archive_body(OTHER),
        "rename": msgspec.structs.replace(archive_body(OTHER), replaces=archive_body(ARCHIVE).archive),
        "key-add": KeyAddBody("mine", "admin", keys.public_of(mine)),
        "key-revoke": KeyRevokeBody(founded.admin.key_id(), None),
        "undelete": ArchivesBody([archive_body(ARCHIVE).archive]),
    }


def test_it_signs_no_archive_no_key_and_no_undeletion(client: RawClient, founded: Founded) -> None:
    for kind, body in stranger_bodies(founded).items():
        with pytest.raises(RoleInsufficient):
            founded.state.check_may_sign(kind, OWN.key_id())
        name, blob = log.name(founded.state.head.seq + 1), log.sign(founded.state, kind, body, OWN, 0)
        assert failed(client.append(name, blob), "LogBroken", "is signed by a server key"), kind
    deleted = log.sign(founded.state, "delete", ArchivesBody([archive_body(ARCHIVE).archive]), OWN, 0)
    assert isinstance(client.append(log.name(founded.state.head.seq + 1), deleted), wire.Stamped)
    founded.state.apply(deleted)
    assert founded.state.archives[ArchiveId(archive_body(ARCHIVE).archive)].deleted is not None


def test_a_client_that_knows_the_public_half_signs_nothing_by_it(client: RawClient, founded: Founded) -> None:
    class Pretender:
        signing_private = keys.new_signing_key()

        def key_id(self) -> object:
            return OWN.key_id()

    body = ArchivesBody([archive_body(ARCHIVE).archive])
    blob = log.sign(founded.state, "delete", body, Pretender(), 0)  # type: ignore[arg-type]
    name = log.name(founded.state.head.seq + 1)
    assert failed(client.append(name, blob), "LogBroken", "is not signed by the key 'server'")


def test_a_client_cannot_fetch_the_private_half(client: RawClient, founded: Founded, tmp_path: Path) -> None:
    srv = tmp_path / "srv"
    ownkey.make(str(srv))
    for name in (".server.key", "../../.server.key", "../.server.key"):
        assert isinstance(client.ask(wire.Get(name, 0, None)), wire.Failed)
    with RawClient(["--append-only", "--restrict-to-path", str(srv / "laptop")], cwd=srv) as other:
        other.greet()
        assert failed(other.open(srv), "PathNotAllowed", "outside")


def test_an_append_only_client_stays_so_whatever_the_owner_may(client: RawClient) -> None:
    assert failed(client.ask(wire.Delete(archive_name(ARCHIVE))), "StoreRefused", "append-only")


@pytest.mark.parametrize("length", [1, 31, 33, 1000])
def test_a_server_that_offers_no_key_but_rubbish_is_not_spoken_to(length: int) -> None:
    hello = [1, 1, "evil", 8, 8, bytes(length)]
    with pytest.raises(ConnectionBroken):
        wire.read_hello(msgspec.msgpack.encode(hello))


def test_programs_without_the_offer_understand_each_other() -> None:
    old = wire.read_hello(msgspec.msgpack.encode([1, 1, "older", 8, 8]))
    assert old.server_key == b""
    newer = wire.read_hello(msgspec.msgpack.encode([1, 1, "newer", 8, 8, OWN.public(), 5, "what comes next"]))
    assert newer.server_key == OWN.public()


def test_the_private_half_is_in_no_representation() -> None:
    assert OWN.signing_private.hex() not in repr(OWN) and str(OWN.signing_private) not in repr(OWN)
