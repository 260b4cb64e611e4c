"""The client's end, against a real `strongroom serve` process, and against programs that are none."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from founded import Founded
from sshd import direct_rsh, distant_rsh, script
from strongroom import __version__
from strongroom.errors import (
    CommandError,
    ConnectionBroken,
    ConnectionLost,
    Damaged,
    ObjectExists,
    ObjectMissing,
    PathNotAllowed,
    RepositoryMissing,
    StoreRefused,
)
from strongroom.store import wire
from strongroom.store.local import LocalStore
from strongroom.store.location import Location, parse_location
from strongroom.store.protocol import Range
from strongroom.store.ssh import SshOptions, SshStore, ssh_command


def pack(data: bytes) -> str:
    name = blake3(data).hexdigest()
    return f"packs/{name[:2]}/{name}"


def at(path: Path) -> Location:
    return Location("ssh", str(path), host="nowhere")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SshStore]:
    store = SshStore.create(at(tmp_path / "repo"), SshOptions(rsh=direct_rsh(tmp_path)))
    yield store
    store.close()


def test_what_is_put_is_got_from_many_threads(store: SshStore) -> None:
    objects = [os.urandom(size) for size in (0, 1, 100, wire.MAX_DATA, wire.MAX_DATA + 1, 3_000_000)] * 3
    objects = [data + bytes([number]) for number, data in enumerate(objects)]
    failures = []

    def work(data: bytes) -> None:
        try:
            half = len(data) // 2
            store.put(pack(data), [data[:half], bytearray(data[half:])])
            assert store.get(pack(data)) == data
            assert store.get(pack(data), 1, 10) == data[1:11]
            assert store.get(pack(data), len(data) - 1) == data[-1:]
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(data,)) for data in objects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    ranges = [Range(pack(data), n, 50_000 if n % 2 else None) for n, data in enumerate(objects)]
    expected = [data[n : n + 50_000] if n % 2 else data[n:] for n, data in enumerate(objects)]
    assert list(store.get_many(ranges)) == expected
    assert [found.name for found in store.list("packs/")] == sorted(map(pack, objects))


def test_the_server_keeps_what_it_acknowledged(store: SshStore, tmp_path: Path) -> None:
    store.put(pack(b"data"), [b"da", b"ta"])
    assert LocalStore(str(tmp_path / "repo")).get(pack(b"data")) == b"data"
    with pytest.raises(ObjectExists):
        store.put(pack(b"data"), [b"data"])
    store.delete(pack(b"data"))
    with pytest.raises(ObjectMissing):
        store.get(pack(b"data"))
    with pytest.raises(ObjectMissing):
        store.delete(pack(b"data"))


def test_an_upload_refused_early_does_not_disturb_the_next(store: SshStore) -> None:
    big = os.urandom(20_000_000)
    with pytest.raises(Damaged, match="arrived damaged"):
        store.put(pack(b"other"), [big])
    store.put(pack(big), [big])
    for _ in range(3):
        with pytest.raises(ObjectExists):
            store.put(pack(big), [big])
    with pytest.raises(StoreRefused):
        store.put("packs/ab/nonsense", [big])
    assert store.get(pack(big), 19_999_990) == big[-10:]


def test_a_listing_longer_than_a_page_comes_whole(store: SshStore, tmp_path: Path) -> None:
    folder = tmp_path / "repo/index"
    folder.mkdir()
    names = sorted(blake3(b"%d" % number).hexdigest() for number in range(2 * wire.PAGE + 5))
    for name in names:
        (folder / name).touch()
    assert [found.name for found in store.list("")] == [f"index/{name}" for name in names]
    listing = store.list("index/")
    next(listing)
    del listing  # given up half way: the connection goes on
    assert list(store.list("packs/")) == []


def test_distance_costs_no_round_trip_an_object(tmp_path: Path) -> None:
    store = SshStore.create(at(tmp_path / "repo"), SshOptions(rsh=distant_rsh(tmp_path, 0.1)))
    objects = [os.urandom(20_000) for _ in range(64)]
    start = time.monotonic()
    threads = [
        threading.Thread(
            target=lambda mine: [store.put(pack(data), [data]) for data in mine], args=(objects[n::16],)
        )
        for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(store.get_many([Range(pack(data)) for data in objects * 2])) == objects * 2
    taken = time.monotonic() - start
    store.close()
    assert taken < 64 * 0.2 / 2  # 192 round trips of 0.2 s, one after the other, are 38 s


def test_buffers_are_free_again_after_put(store: SshStore) -> None:
    buffer = bytearray(b"x" * 1_000_000)
    store.put(pack(buffer), [memoryview(buffer)])
    buffer.clear()  # BufferError if somebody still held a view


def test_a_range_given_up_half_way_leaves_the_connection_usable(store: SshStore) -> None:
    data = os.urandom(5_000_000)
    store.put(pack(data), [data])
    parts = store.get_many([Range(pack(data))] * 20)
    assert next(parts) == data
    parts.close()
    assert store.get(pack(data)) == data


def test_opening_says_what_the_server_said(tmp_path: Path) -> None:
    rsh = direct_rsh(tmp_path, "--restrict-to-path", str(tmp_path / "mine"))
    shown: list[str] = []
    with pytest.raises(PathNotAllowed, match="outside"):
        SshStore.open(at(tmp_path / "other"), SshOptions(rsh=rsh, on_stderr=shown.append))
    assert shown == []  # the server's own log, on the same pipe, is not for the user
    with pytest.raises(RepositoryMissing, match="mine"):
        SshStore.open(at(tmp_path / "mine"), SshOptions(rsh=rsh))


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("echo Welcome to the server; cat >/dev/null", ConnectionBroken, "Welcome to the server.*bashrc"),
        ("printf x; sleep 60", ConnectionBroken, "'x'"),
        ("exec cat", ConnectionBroken, "strongroom client"),
        (
            "exec /nonexistent/strongroom serve",
            ConnectionLost,
            "no `strongroom` in the search path.*remote-path",
        ),
        (
            "echo Permission denied >&2; exit 255",
            ConnectionLost,
            "could not reach or lost.*Permission denied",
        ),
        ("exit 3", ConnectionLost, "code 3 before it said hello"),
        ("kill -9 $$", ConnectionLost, "killed by signal 9"),
        ("printf 'strongroom server\\n'; exit 0", ConnectionLost, "ended with code 0 before"),
        (
            "printf 'strongroom server\\n\\377\\0\\0\\0\\0\\377\\377\\377\\377'",
            ConnectionBroken,
            "frame of kind 255",
        ),
    ],
)
def test_whoever_answers_in_place_of_a_server_is_named(
    tmp_path: Path, text: str, kind: type[Exception], words: str
) -> None:
    said: list[str] = []
    with pytest.raises(kind, match=words):
        SshStore.open(at(tmp_path), SshOptions(rsh=script(tmp_path, text), on_stderr=said.append))


def test_a_server_of_another_time_is_told_apart(tmp_path: Path) -> None:
    hello = wire.FROM_SERVER_MAGIC + wire.message(
        wire.HELLO, 0, wire.Hello(7, 9, "strongroom 99\x1b[2J", 8, 8)
    )
    (tmp_path / "hello").write_bytes(hello)
    rsh = script(tmp_path, f"cat {tmp_path}/hello; cat >/dev/null")
    with pytest.raises(
        ConnectionBroken, match=r"strongroom 99\?\[2J with protocol 7 to 9.*upgrade this side"
    ):
        SshStore.open(at(tmp_path), SshOptions(rsh=rsh))


def test_what_ssh_prints_reaches_the_user_without_what_steers_a_terminal(tmp_path: Path) -> None:
    shown: list[str] = []
    text = "printf 'Warning: \\033[31mhost key\\nsecond\\n' >&2; printf '%02000d' 1 >&2; exit 255"
    with pytest.raises(ConnectionLost, match="Warning"):
        SshStore.open(at(tmp_path), SshOptions(rsh=script(tmp_path, text), on_stderr=shown.append))
    assert shown[:2] == ["Warning: ?[31mhost key", "second"]
    assert len(shown[2]) == 500


def test_ctrl_c_at_the_terminal_does_not_cut_the_connection(tmp_path: Path) -> None:
    """The signal goes to every process of the group; ssh must not be the one that obeys."""
    shown: list[str] = []
    with pytest.raises(ConnectionLost, match="code 7"):
        rsh = script(tmp_path, "kill -INT $$; grep SigIgn /proc/$$/status >&2; exit 7")
        SshStore.open(at(tmp_path), SshOptions(rsh=rsh, on_stderr=shown.append))
    assert int(shown[0].split()[1], 16) & 1 << (signal.SIGINT - 1)


def test_a_missing_ssh_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost, match="no-such-ssh is not installed here"):
        SshStore.open(at(tmp_path), SshOptions(rsh="no-such-ssh -v"))


def test_a_server_that_stalls_is_given_up(tmp_path: Path) -> None:
    hello = wire.FROM_SERVER_MAGIC + wire.message(wire.HELLO, 0, wire.Hello(1, 1, "stuck", 8, 8))
    (tmp_path / "hello").write_bytes(hello)
    (tmp_path / "opened").write_bytes(wire.message(wire.REPLY, 1, wire.Done()))
    # It opens the repository, then neither reads nor answers, and will not go.
    reading = until_open(tmp_path)
    rsh = script(tmp_path, f"trap '' TERM; cd {tmp_path}; cat hello; {reading}; cat opened; exec sleep 600")
    store = SshStore.open(at(tmp_path), SshOptions(rsh=rsh, stall_timeout=0.2))
    start = time.monotonic()
    with pytest.raises(ConnectionLost, match="has not moved"):
        store.put(pack(b"x"), [bytes(8_000_000)])
    with pytest.raises(ConnectionLost, match="has not moved"):
        store.get("config")
    store.close()
    assert time.monotonic() - start < 30


def until_open(path: Path) -> str:
    """A command that reads what the client says first, up to the end of its first request."""
    hello = wire.Hello(1, 1, f"strongroom {__version__}", wire.MAX_IN_FLIGHT, wire.MAX_UPLOADS)
    opening = wire.Open(os.fsencode(path), False, False)
    said = (
        wire.FROM_CLIENT_MAGIC + wire.message(wire.HELLO, 0, hello) + wire.message(wire.REQUEST, 1, opening)
    )
    return f"head -c {len(said)} >/dev/null"


def hostile(tmp_path: Path, *replies: bytes) -> SshStore:
    """A server that has all its answers ready."""
    hello = wire.FROM_SERVER_MAGIC + wire.message(wire.HELLO, 0, wire.Hello(1, 1, "evil", 8, 8))
    (tmp_path / "hello").write_bytes(hello)
    (tmp_path / "opened").write_bytes(wire.message(wire.REPLY, 1, wire.Done()))
    (tmp_path / "more").write_bytes(b"".join(replies))
    reading = f"{until_open(tmp_path)}; cat opened; head -c 10 >/dev/null"
    rsh = script(tmp_path, f"cd {tmp_path}; cat hello; {reading}; cat more; cat >/dev/null")
    return SshStore.open(at(tmp_path), SshOptions(rsh=rsh))


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        ([wire.frame(wire.DATA, 2, bytes(11))], "more than it was asked"),
        ([wire.frame(wire.DATA, 2, b"x"), wire.frame(wire.DATA, 2, b"x")], "too small"),
        ([wire.frame(wire.DATA, 2, b"")], "too small"),
        ([wire.frame(wire.DATA, 9, b"x")], "not open"),
        ([wire.message(wire.REPLY, 9, wire.Done())], "not open"),
        ([wire.frame(wire.REPLY, 2, b"\xc1")], "not part of the protocol"),
        ([wire.frame(wire.REQUEST, 2, b"")], "not part of the protocol"),
        ([wire.header(wire.REPLY, 2, 2**31)], "not part of the protocol"),
        ([wire.message(wire.REPLY, 2, wire.Page([], True))] * 2, "twice"),
        ([wire.message(wire.REPLY, 0, wire.Failed("StoreFailed", "bye\n\x1b]0;"))], r"bye\?\?\]0;"),
    ],
)
def test_a_hostile_server_breaks_the_connection_and_nothing_else(
    tmp_path: Path, replies: list[bytes], words: str
) -> None:
    store = hostile(tmp_path, *replies)
    with pytest.raises(Exception, match=words):
        store.get("index/" + "0" * 64, 0, 10)
        store.get("index/" + "0" * 64, 0, 10)
    store.close()


def test_a_listing_out_of_order_is_refused(tmp_path: Path) -> None:
    for entries in ([("index/b", 1), ("index/a", 1)], [("packs/a", 1)], [("index/../x", 1)]):
        store = hostile(tmp_path, wire.message(wire.REPLY, 2, wire.Page(entries, False)))
        listing = store.list("index/")
        with pytest.raises(ConnectionBroken, match="out of order"):
            list(listing)
        store.close()


def test_a_closed_store_says_so(store: SshStore) -> None:
    store.close()
    store.close()
    with pytest.raises(ConnectionLost, match="closed"):
        store.get("config")


def test_no_process_thread_or_descriptor_stays(tmp_path: Path) -> None:
    rsh = direct_rsh(tmp_path)
    store = SshStore.create(at(tmp_path / "repo"), SshOptions(rsh=rsh))
    store.put("config", [Founded().config])
    store.close()
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for number in range(2):
        SshStore.create(at(tmp_path / f"repo{number}"), SshOptions(rsh=rsh)).close()
        with pytest.raises(RepositoryMissing):
            SshStore.open(at(tmp_path / "none"), SshOptions(rsh=rsh))
        with pytest.raises(ConnectionLost):
            SshStore.open(at(tmp_path), SshOptions(rsh=script(tmp_path, "exit 3", "bad")))
        broken = SshStore.open(at(tmp_path / "repo"), SshOptions(rsh=rsh))
        broken._connection._carrier.process.kill()
        with pytest.raises(ConnectionLost):
            broken.get("config")
        broken.close()
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


def test_uploads_keep_to_the_rate(tmp_path: Path) -> None:
    options = SshOptions(rsh=direct_rsh(tmp_path), upload_ratelimit=400)
    store = SshStore.create(at(tmp_path / "repo"), options)
    data = os.urandom(400 * 1024)
    start = time.monotonic()
    store.put(pack(data), [data])
    store.put(pack(data[:-1]), [data[:-1]])
    taken = time.monotonic() - start
    store.close()
    assert 0.7 < taken < 6  # 800 KiB; what was saved up before the first piece is a second's worth


def test_the_words_that_start_the_server() -> None:
    def words(text: str, **options: str) -> list[str]:
        return ssh_command(parse_location(text), SshOptions(**options))  # type: ignore[arg-type]

    assert words("ssh://me@host:77/./repo")[-4:] == ["-p", "77", "me@host", "strongroom serve"]
    assert "ServerAliveInterval=20" in words("host:repo")
    assert words("host:repo", rsh="ssh -o 'A B'", remote_path="sudo sr") == [
        "ssh",
        "-o",
        "A B",
        "host",
        "sudo sr serve",
    ]
    for bad in ("'", " ", "\t"):
        with pytest.raises(CommandError):
            words("host:repo", rsh=bad)


def test_options_come_from_either_environment() -> None:
    both = {
        "BORG_RSH": "ssh -4",
        "STRONGROOM_RSH": "ssh -6",
        "BORG_REMOTE_PATH": "borg",
        "BORG_UPLOAD_RATELIMIT": "10",
    }
    assert SshOptions.of(both) == SshOptions("ssh -6", "borg", 10, 0)
    assert SshOptions.of({}) == SshOptions()
    with pytest.raises(CommandError, match="UPLOAD_BUFFER"):
        SshOptions.of({"STRONGROOM_UPLOAD_BUFFER": "many"})
