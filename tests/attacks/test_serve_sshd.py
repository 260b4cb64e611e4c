"""Two clients with their own keys, over a real sshd with forced commands."""

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from founded import Founded, archive_body, archive_name, pack_name
from sshd import Sshd, kill_children, needs_sshd, running, serve_command
from strongroom.errors import (
    ConnectionLost,
    ObjectExists,
    ObjectMissing,
    PathNotAllowed,
    QuotaExceeded,
    StoreRefused,
)
from strongroom.server.quota import count
from strongroom.store.local import LocalStore
from strongroom.store.location import parse_location
from strongroom.store.ssh import SshOptions, SshStore

pytestmark = needs_sshd

QUOTA = "40M"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def srv(sshd: Sshd, tmp_path: Path) -> Path:
    """The server's folder; `laptop` and `desk` have a folder each in it, and a line each for their key."""
    for name in ("laptop", "desk"):
        (tmp_path / name).mkdir()
        words = ["--append-only", "--restrict-to-path", str(tmp_path / name), "--storage-quota", QUOTA]
        sshd.allow(name, serve_command(*words, "--client", name, cd=tmp_path))
    return tmp_path


def options(sshd: Sshd, name: str) -> SshOptions:
    return SshOptions(rsh=sshd.rsh(name))


def create(sshd: Sshd, name: str, path: str) -> SshStore:
    return SshStore.create(parse_location(sshd.url(path)), options(sshd, name))


def connect(sshd: Sshd, name: str, path: str) -> SshStore:
    return SshStore.open(parse_location(sshd.url(path)), options(sshd, name))


def test_each_client_reaches_its_own_repository_and_no_other(sshd: Sshd, srv: Path) -> None:
    for name in ("laptop", "desk"):
        store = create(sshd, name, f"./{name}/repo")
        Founded().found(store)
        store.close()
    for path in ("./laptop/repo", str(srv / "laptop/repo"), "./desk/../laptop/repo", "~/.ssh", "/etc"):
        with pytest.raises(PathNotAllowed):
            connect(sshd, "desk", path)
    store = connect(sshd, "desk", str(srv / "desk/repo"))
    with pytest.raises(StoreRefused, match="append-only"):
        store.delete("config")
    store.close()


def test_what_the_client_asks_ssh_to_run_is_not_run(sshd: Sshd, srv: Path) -> None:
    """`SSH_ORIGINAL_COMMAND` neither widens the restrictions nor runs anything."""
    wide = SshOptions(
        rsh=sshd.rsh("desk"), remote_path="touch PWNED; strongroom --umask 0 serve --restrict-to-path /; "
    )
    with pytest.raises(PathNotAllowed):
        SshStore.create(parse_location(sshd.url("./laptop/x")), wide)
    store = SshStore.create(parse_location(sshd.url("./desk/repo")), wide)
    store.close()
    command = [
        *sshd.rsh("desk").split(),
        "-p",
        str(sshd.port),
        f"{sshd.user}@127.0.0.1",
        "cat",
        "/etc/passwd",
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
    assert b"root:" not in done.stdout
    assert done.stdout.startswith(b"strongroom server\n")
    assert not list(srv.rglob("PWNED"))


def run_ssh(sshd: Sshd, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [*sshd.rsh("desk").split(), "-p", str(sshd.port), *words]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)


def test_a_stranger_and_a_forward_get_nothing(sshd: Sshd, srv: Path) -> None:
    sshd.key("stranger")
    with pytest.raises(ConnectionLost, match=r"could not reach or lost.*Permission denied"):
        create(sshd, "stranger", "./desk/repo")
    done = run_ssh(sshd, "-W", f"127.0.0.1:{sshd.port}", f"{sshd.user}@127.0.0.1")
    assert (done.returncode, done.stdout) == (255, b"")  # not sshd's own greeting


def commit(store: SshStore, founded: Founded, archive: bytes) -> int:
    """As a writer does: object first, then the record, with the next number until one is free."""
    store.put(archive_name(archive), [archive])
    for attempt in range(100):
        try:
            founded.append(store, "archive", archive_body(archive))
            return attempt
        except ObjectExists:
            founded.catch_up(store)
    raise AssertionError


def test_two_clients_that_write_at_once_both_commit(sshd: Sshd, srv: Path) -> None:
    (srv / "shared").mkdir()
    for name in ("one", "two"):
        sshd.allow(name, serve_command("--append-only", "--restrict-to-path", str(srv / "shared")))
    founded = Founded()
    store = create(sshd, "one", str(srv / "shared/repo"))
    founded.found(store)
    stores = [store, connect(sshd, "two", str(srv / "shared/repo"))]
    barrier = threading.Barrier(2)
    failures: list[BaseException] = []

    def write(number: int) -> None:
        own = Founded()
        own.repository, own.admin, own.state = (
            founded.repository,
            founded.admin,
            type(founded.state)(founded.repository, founded.state_admin),
        )
        own.catch_up(stores[number])
        barrier.wait()
        try:
            for turn in range(5):
                commit(stores[number], own, b"%d-%d" % (number, turn))
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    founded.catch_up(store)
    assert founded.state.head.seq == 11
    assert len(founded.state.archives) == 10
    for one in stores:
        one.close()


def test_clients_racing_for_one_quota_fill_it_and_no_more(sshd: Sshd, srv: Path) -> None:
    stores = [create(sshd, "laptop", f"./laptop/repo{number}") for number in range(2)]
    stored = [0, 0]

    def fill(number: int) -> None:
        for turn in range(100):
            data = os.urandom(3_000_000) + bytes([number, turn])
            try:
                stores[number].put(pack_name(data), [data])
            except QuotaExceeded:
                return
            stored[number] += 1

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    used = count(str(srv / "laptop"))
    assert 40_000_000 - 2 * 3_004_096 < used <= 40_000_000
    assert sum(stored) == 13
    assert all(stored)


def upload_until_lost(store: SshStore, started: threading.Event) -> str:
    """Uploads without end; what the client is told when that breaks."""
    for turn in range(10_000):
        data = os.urandom(1_000_000) + b"%d" % turn
        try:
            store.put(pack_name(data), [data])
        except ConnectionLost as error:
            return str(error)
        started.set()
    raise AssertionError("the connection did not break")


@pytest.mark.parametrize(
    ("victim", "expected"),
    [
        ("strongroom", "the server program at .* was killed by signal 9|lost"),
        ("ssh", "ssh, which carried the connection"),
    ],
)
def test_a_broken_connection_says_who_died_and_the_next_run_goes_on(
    sshd: Sshd, srv: Path, victim: str, expected: str
) -> None:
    (srv / "endless").mkdir()
    sshd.allow(
        "endless",
        serve_command("--append-only", "--storage-quota", "4G", "--restrict-to-path", str(srv / "endless")),
    )
    store = create(sshd, "endless", str(srv / "endless/repo"))
    founded = Founded()
    founded.found(store)
    started = threading.Event()
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.append(upload_until_lost(store, started)))
    thread.start()
    assert started.wait(60)
    if victim == "ssh":
        os.kill(store._connection._carrier.process.pid, 9)
    else:
        assert sshd.process is not None
        assert kill_children(sshd.process, ["serve", str(srv / "endless")])
    thread.join(60)
    assert re.search(expected, told[0]), told
    with pytest.raises(ConnectionLost):
        store.get("config")
    store.close()

    after = connect(sshd, "endless", str(srv / "endless/repo"))
    arrived = [found.name for found in after.list("packs/")]
    assert arrived
    for name in arrived:
        assert pack_name(after.get(name)) == name  # whole, or not there
    data = b"after the crash"
    after.put(pack_name(data), [data])
    commit(after, founded, b"an archive")
    after.close()
    assert LocalStore(str(srv / "endless/repo")).get(pack_name(data)) == data
    used = int((srv / "endless/.quota/used").read_text())
    assert used == count(str(srv / "endless"))


def test_a_write_only_client_cannot_fetch_what_it_wrote(sshd: Sshd, srv: Path) -> None:
    sshd.allow("desk", serve_command("--write-only", "--restrict-to-path", str(srv / "desk")))
    store = create(sshd, "desk", str(srv / "desk/repo"))
    data = b"a pack"
    store.put(pack_name(data), [data])
    for name in (pack_name(data), pack_name(b"none")):
        with pytest.raises(StoreRefused, match="write-only"):
            store.get(name)
    with pytest.raises(ObjectMissing):
        store.get("config")
    store.close()
