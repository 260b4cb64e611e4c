"""A client that sends anything at all: the server answers or hangs up, and nothing else happens."""

import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from economy import times
from founded import founded_at, pack_name
from rawclient import RawClient, failed
from strongroom.server.host import Host, ServeOptions
from strongroom.server.journal import Journal
from strongroom.server.policy import Restriction
from strongroom.server.session import Session
from strongroom.store import wire

HELLO = wire.FROM_CLIENT_MAGIC + wire.message(wire.HELLO, 0, wire.Hello(1, 1, "raw", 128, 16))
GOOD = b"a good pack"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A client's folder with a repository in it, and next to it what must stay as it is."""
    home = tmp_path_factory.mktemp("server")
    (home / "mine").mkdir()
    (home / "mine" / "sub").mkdir()
    founded_at(home / "mine/repo")
    founded_at(home / "theirs")
    (home / "secret").write_text("secret")
    return home


def snapshot(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and ".quota" not in path.parts
    }


def serve(home: Path, data: bytes) -> tuple[int, bytes]:
    """A whole session in this process: what the client sends, then its end; the code and the answer."""
    options = ServeOptions(frozenset({Restriction.APPEND_ONLY}), 1 << 20, [str(home / "mine")])
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, True)
        answer = bytearray()
        session = Session(Host(options), Journal("fuzz"), io.BufferedReader(io.BytesIO(data)), writing)  # type: ignore[arg-type]
        code = run_and_read(session, reading, answer)
    finally:
        os.close(reading)
        os.close(writing)
    return code, bytes(answer)


def run_and_read(session: Session, reading: int, answer: bytearray) -> int:
    import threading

    done = threading.Event()

    def read() -> None:
        import select

        while not done.is_set() or select.select([reading], [], [], 0)[0]:
            if select.select([reading], [], [], 0.01)[0]:
                answer.extend(os.read(reading, 1 << 20))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        return session.run()
    finally:
        done.set()
        reader.join()


def names() -> st.SearchStrategy[str]:
    good = [pack_name(GOOD), "config", "log/" + "0" * 19 + "1", "log/" + "0" * 19 + "2", "leases/" + "a" * 32]
    bad = ["../secret", "/etc/passwd", "packs/../../secret", "tmp/x", "", "packs/", "\0", ".quota/used"]
    return st.sampled_from(good + bad) | st.text(max_size=30)


def requests(home: Path) -> st.SearchStrategy[msgspec.Struct]:
    paths = st.sampled_from(
        [
            os.fsencode(home / tail)
            for tail in ("mine/repo", "mine/new", "theirs", "mine/../theirs", "mine/repo/packs")
        ]
        + [b"", b"~", b"\0", b"x" * 5000]
    )
    sizes = st.integers(0, 40) | st.sampled_from([len(GOOD), wire.MAX_OBJECT, wire.MAX_OBJECT + 1, -1, 2**63])
    return st.one_of(
        st.builds(wire.Open, paths, st.booleans(), st.booleans()),
        st.builds(wire.Get, names(), sizes, st.none() | sizes),
        st.builds(wire.Put, names(), sizes),
        st.builds(wire.Append, names(), sizes),
        st.builds(wire.List, names() | st.sampled_from(["", "packs/", "log/", "../"])),
        st.builds(wire.Delete, names()),
    )


def frames(home: Path) -> st.SearchStrategy[bytes]:
    ids = st.integers(0, 6) | st.just(2**32 - 1)
    whole = st.one_of(
        st.builds(lambda n, r: wire.message(wire.REQUEST, n, r), ids, requests(home)),
        st.builds(lambda n, d: wire.frame(wire.DATA, n, d), ids, st.just(GOOD) | st.binary(max_size=40)),
        st.builds(lambda n, k: wire.frame(k, n), ids, st.sampled_from([wire.NEXT, wire.CANCEL])),
        st.builds(lambda n, d: wire.frame(wire.REQUEST, n, d), ids, st.binary(max_size=60)),
    )
    torn = st.builds(struct.Struct(">BII").pack, st.integers(0, 255), ids, st.integers(0, 2**32 - 1))
    return st.lists(whole | whole | whole | torn | st.binary(max_size=20), max_size=12).map(b"".join)


@settings(max_examples=times(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_sequence_of_frames_harms_what_is_there(place: Path, data: st.DataObject) -> None:
    before = snapshot(place)
    opening = wire.message(wire.REQUEST, 1, wire.Open(os.fsencode(place / "mine/repo"), False, False))
    start = data.draw(st.sampled_from([HELLO + opening, HELLO, wire.FROM_CLIENT_MAGIC, b""]))
    code, answer = serve(place, start + data.draw(frames(place)))
    assert code in (0, 1, 2)
    after = snapshot(place)
    assert {name: after.get(name) for name in before} == before
    added = {name for name in after.keys() - before.keys() if "/tmp/" not in name}
    for name in added:
        # All that such a client can add is what any client may: whole objects of its own.
        assert name.startswith("mine/")
        if "/packs/" in name:
            assert blake3(after[name]).hexdigest() == name.rsplit("/", 1)[1]
    assert not [name for name in after if "/tmp/" in name and "publish-lock" not in name]
    assert b"server failed" not in answer


@settings(max_examples=times(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=200))
def test_noise_gets_a_sentence(place: Path, noise: bytes) -> None:
    assume(not noise.startswith(wire.FROM_CLIENT_MAGIC))
    code, answer = serve(place, noise)
    assert code == (1 if not noise else 2)
    if noise:
        assert b"for strongroom clients only" in answer


@pytest.fixture
def client(place: Path) -> Iterator[RawClient]:
    with RawClient(["--restrict-to-path", str(place / "mine"), "--storage-quota", "10M"]) as client:
        client.greet()
        yield client


def peak_memory(client: RawClient) -> int:
    """Bytes, of the server's process."""
    for line in Path(f"/proc/{client.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


def test_a_client_of_another_time_is_told(place: Path) -> None:
    with RawClient() as client:
        hello = wire.Hello(7, 9, "strongroom 99", 128, 16)
        client.send(wire.FROM_CLIENT_MAGIC + wire.message(wire.HELLO, 0, hello))
        assert client.output.read(len(wire.FROM_SERVER_MAGIC)) == wire.FROM_SERVER_MAGIC
        greeting = wire.read_frame(client.output, wire.FROM_SERVER)
        assert greeting is not None and greeting.kind == wire.HELLO
        assert failed(
            client.reply(0), "ConnectionBroken", "protocol 7 to 9, this side has 1 to 1: upgrade this side"
        )
        assert client.leave() == 2


@pytest.mark.parametrize("kind", [*range(7), 255])
def test_a_gigabyte_frame_is_refused_before_it_is_read(client: RawClient, kind: int) -> None:
    client.send(struct.pack(">BII", kind, 1, 1 << 30) + bytes(10_000_000))
    assert "not part of the protocol" in client.farewell().text
    assert client.process.wait() == 2


def test_gigabyte_promises_cost_no_memory(client: RawClient, place: Path) -> None:
    assert client.open(place / "mine/repo") == wire.Done()
    before = peak_memory(client)
    big = "packs/" + "aa" + "/" + "aa" * 32
    assert failed(client.ask(wire.Put(big, wire.MAX_OBJECT)), "QuotaExceeded")
    client.number += 1
    client.send(wire.message(wire.REQUEST, client.number, wire.Append("log/" + "0" * 19 + "2", 1 << 30)))
    assert failed(client.reply(client.number), "StoreRefused")
    assert isinstance(client.ask(wire.Get("config", 0, wire.MAX_OBJECT)), wire.Done)
    assert failed(client.ask(wire.Put(pack_name(b"x"), 60 << 20)), "QuotaExceeded")
    client.data(client.number, bytes(60 << 20))  # still on its way when it was refused: read past
    assert isinstance(client.ask(wire.List("")), wire.Page)
    assert peak_memory(client) - before < 20 << 20


def test_a_flood_of_requests_is_cut_off(client: RawClient, place: Path) -> None:
    assert client.open(place / "mine/repo") == wire.Done()
    flood = b"".join(
        wire.message(wire.REQUEST, number, wire.Put(pack_name(b"%d" % number), 1))
        for number in range(2, 2000)
    )
    client.send(flood)
    while (frame := wire.read_frame(client.output, wire.FROM_SERVER)) is not None:
        last = frame
    assert last.request == 0
    assert failed(wire.read_reply(last.payload), "ConnectionBroken", "too many")
    assert client.leave() == 2
    assert not list((place / "mine/repo/tmp").iterdir())


def test_log_records_held_in_memory_are_bounded(client: RawClient, place: Path) -> None:
    assert client.open(place / "mine/repo") == wire.Done()
    for _ in range(5):
        client.data(client.request(wire.Append("log/" + "0" * 19 + "2", 16 << 20)), bytes((16 << 20) - 1))
    for number in (4, 5, 6):
        assert failed(client.reply(number), "StoreRefused", "too many log records")
    assert peak_memory(client) < 200 << 20
    client.send(wire.frame(wire.CANCEL, 2))
    assert failed(client.reply(2), "StoreFailed", "cancelled")
    assert failed(client.append("log/" + "0" * 19 + "2", b"no record"), "LogBroken")


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([wire.frame(wire.DATA, 1, b"x")], "data for no upload"),
        ([wire.frame(wire.NEXT, 1)], "no page"),
        ([wire.frame(wire.HELLO, 0)], "second hello"),
        ([wire.message(wire.REQUEST, 0, wire.List(""))], "numbered upwards"),
        (
            [wire.message(wire.REQUEST, 9, wire.List("")), wire.message(wire.REQUEST, 9, wire.List(""))],
            "upwards",
        ),
        ([wire.frame(wire.REQUEST, 6, b"\x93\x02\xa1x\x00")], "not part of the protocol"),
        ([wire.frame(wire.REQUEST, 6, b"\x92\x06\xa1\xff")], "not part of the protocol"),
        ([wire.frame(wire.REQUEST, 6, b"\x91" * 8000)], "not part of the protocol"),
        (
            [wire.message(wire.REQUEST, 6, wire.Put(pack_name(GOOD), 3)), wire.frame(wire.DATA, 6, b"more")],
            "announced number",
        ),
    ],
)
def test_broken_rules_end_the_session(
    client: RawClient, place: Path, messages: list[bytes], words: str
) -> None:
    client.send(wire.message(wire.REQUEST, 5, wire.Open(os.fsencode(place / "mine/repo"), False, False)))
    client.send(b"".join(messages))
    while (frame := wire.read_frame(client.output, wire.FROM_SERVER)) is not None:
        last = frame
    reply = wire.read_reply(last.payload)
    assert last.request == 0
    assert failed(reply, "ConnectionBroken", words)
    assert client.leave() == 2


def test_nothing_is_done_before_a_repository_is_open(client: RawClient) -> None:
    for request in (wire.Get("config", 0, None), wire.Put("config", 0), wire.List(""), wire.Delete("config")):
        assert failed(client.ask(request), "StoreRefused", "no repository is open")
    assert failed(client.ask(wire.Append("log/" + "0" * 19 + "1", 5)), "StoreRefused", "no repository")


def test_a_repository_is_opened_once(client: RawClient, place: Path) -> None:
    assert client.open(place / "mine/repo") == wire.Done()
    assert failed(client.open(place / "mine/repo"), "StoreRefused", "open already")


def test_half_an_upload_leaves_nothing(client: RawClient, place: Path) -> None:
    assert client.open(place / "mine/repo") == wire.Done()
    for number in range(10):
        client.data(client.request(wire.Put(pack_name(b"%d" % number), 1_000_000)), bytes(300_000))
    assert client.leave() == 0
    assert not list((place / "mine/repo/tmp").iterdir())
    assert sorted(os.listdir(place / "mine/.quota")) == ["lock", "used"]


def test_a_cancelled_upload_leaves_nothing_and_frees_its_room(client: RawClient, place: Path) -> None:
    assert client.open(place / "mine/repo") == wire.Done()
    for _ in range(10):
        number = client.request(wire.Put(pack_name(GOOD), 9_000_000))
        client.data(number, bytes(1000))
        client.send(wire.frame(wire.CANCEL, number))
        assert failed(client.reply(number), "StoreFailed", "cancelled")
    assert not list((place / "mine/repo/tmp").iterdir())


def test_a_client_that_reads_nothing_blocks_only_itself(place: Path) -> None:
    """It asks for far more than the pipe holds, reads none of it, and leaves: the server ends."""
    with RawClient(["--restrict-to-path", str(place / "mine")]) as client:
        client.greet()
        assert client.open(place / "mine/repo") == wire.Done()
        blob = os.urandom(4_000_000)
        assert client.put(pack_name(blob), blob) == wire.Done()
        for _ in range(50):
            client.request(wire.Get(pack_name(blob), 0, None))
        # Uploads go on although no answer can get through.
        number = client.request(wire.Put(pack_name(GOOD + b"2"), len(GOOD) + 1))
        client.data(number, GOOD + b"2")
        client.output.close()
        client.input.close()
        assert client.process.wait(timeout=30) in (0, 1)
    assert (place / "mine/repo" / pack_name(GOOD + b"2")).read_bytes() == GOOD + b"2"
