"""Every request, sent raw, to a server under every restriction."""

from pathlib import Path

import msgspec
import pytest
from blake3 import blake3

from founded import archive_body, archive_name, founded_at
from rawclient import RawClient, failed
from strongroom.errors import StoreRefused
from strongroom.repository.log import name as record_name
from strongroom.server.objects import AREAS
from strongroom.server.policy import Restriction, Verb, check
from strongroom.store import wire
from strongroom.store.local import LocalStore

OLD, NEW = b"old", b"new"


def object_name(area: str, data: bytes) -> str:
    digest = blake3(data).hexdigest()
    match area:
        case "config":
            return "config"
        case "packs" | "refs":
            return f"{area}/{digest[:2]}/{digest}"
        case "leases":
            return f"leases/{digest[:32]}"
        case "log":
            return record_name(1 if data == OLD else 2)
    return f"{area}/{digest}"


def requests(blob: bytes) -> list[tuple[Verb, str, msgspec.Struct, bytes]]:
    """One of each kind, none of which the repository itself would refuse."""
    found: list[tuple[Verb, str, msgspec.Struct, bytes]] = []
    for area in AREAS:
        old, new = object_name(area, OLD), object_name(area, NEW)
        body = blob if area == "log" else NEW
        found.append((Verb.GET, old, wire.Get(old, 0, None), b""))
        found.append((Verb.LIST, f"{area}/", wire.List(f"{area}/"), b""))
        found.append((Verb.PUT, new, wire.Put(new, len(body)), body))
        found.append((Verb.APPEND, new, wire.Append(new, len(body)), body))
    found += [(Verb.DELETE, name, wire.Delete(name), b"") for name in (object_name(a, OLD) for a in AREAS)]
    return found


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["append-only"],
        ["read-only"],
        ["write-only"],
        ["append-only", "read-only"],
        ["append-only", "write-only"],
    ],
)
def test_the_server_does_what_the_policy_says_for_every_request(tmp_path: Path, words: list[str]) -> None:
    founded = founded_at(tmp_path / "repo")
    store = LocalStore(str(tmp_path / "repo"))
    for area in AREAS.keys() - {"config", "log"}:
        store.put(object_name(area, OLD), [OLD])
    store.put(archive_name(b"new archive"), [b"new archive"])
    _, blob = founded.record("archive", archive_body(b"new archive"))
    restrictions = [Restriction(word) for word in words]
    refusals = 0
    with RawClient([f"--{word}" for word in words]) as client:
        client.greet()
        assert client.open(tmp_path / "repo") == wire.Done()
        for verb, target, request, body in requests(blob):
            before = {found.name: found.size for found in store.list("")}
            reply = client.ask(request, body)
            after = {found.name: found.size for found in store.list("")}
            try:
                check(verb, target, restrictions)
            except StoreRefused as error:
                refusals += 1
                assert failed(reply, type(error).__name__, str(error)), (verb, target, reply)
                assert after == before
                continue
            if (verb, target) == (Verb.PUT, "config"):
                assert failed(reply, "ObjectExists")
                continue
            assert not isinstance(reply, wire.Failed), (verb, target, reply)
            changed = {Verb.PUT: {target}, Verb.APPEND: {target}, Verb.DELETE: {target}}.get(verb, set())
            assert before.keys() ^ after.keys() == changed
        assert client.leave() == 0
        # One line for the operator each: who, what, why.
        lines = [line for line in client.said().splitlines() if " refused: " in line]
    assert len([line for line in lines if "exists already" not in line]) == refusals
    assert all(line.startswith("strongroom server log: user ") for line in lines)


@pytest.mark.parametrize("words", [[], ["--write-only"]])
def test_a_repository_that_was_made_append_only_is_so_for_every_client(
    tmp_path: Path, words: list[str]
) -> None:
    founded_at(tmp_path / "repo", append_only=True)
    with RawClient(words) as client:
        client.greet()
        assert client.open(tmp_path / "repo") == wire.Done()
        assert client.put(object_name("keys", NEW), NEW) == wire.Done()
        for name in ("config", record_name(1), object_name("keys", NEW)):
            assert failed(client.ask(wire.Delete(name)), "StoreRefused", "append-only")


@pytest.mark.parametrize(
    ("words", "may"), [([], True), (["append-only"], True), (["read-only"], False), (["write-only"], True)]
)
def test_who_may_create_a_repository(tmp_path: Path, words: list[str], may: bool) -> None:
    with RawClient([f"--{word}" for word in words]) as client:
        client.greet()
        reply = client.open(tmp_path / "new", create=True)
        assert (reply == wire.Done()) == may
        assert (tmp_path / "new").exists() == may


def test_a_refusal_names_the_client_in_every_log(tmp_path: Path) -> None:
    founded_at(tmp_path / "repo")
    log = tmp_path / "serve.log"
    with RawClient(["--append-only", "--client", "laptop", "--log-file", str(log)]) as client:
        client.greet()
        assert client.open(tmp_path / "repo") == wire.Done()
        reply = client.ask(wire.Delete("config"))
        assert failed(reply, "StoreRefused", "append-only")
        said = client.said()
    for text in (said, log.read_text()):
        assert len(text.splitlines()) == 1
        assert "laptop" in text and "delete 'config'" in text and "append-only access" in text
    assert log.stat().st_mode & 0o077 == 0


def test_a_client_cannot_write_lines_into_the_log(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    with RawClient(["--restrict-to-path", str(tmp_path / "x"), "--log-file", str(log)]) as client:
        client.greet()
        client.open("evil\nstrongroom server log: root: all is well\x1b[2J")
        for _ in range(1100):
            client.ask(wire.Delete("nonsense"))
    lines = log.read_text().split("\n")
    assert len(lines) <= 1001 and all("\x1b" not in line for line in lines)
    assert not any(line.endswith("all is well") for line in lines)
    assert "too many lines" in lines[999]
