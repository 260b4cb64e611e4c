"""Leases: who waits for whom, and who never has to."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from strongroom.errors import LockTimeout, StoreRefused
from strongroom.repository import leases
from strongroom.repository.leases import Lease, break_leases, exclusive_lease, held, lull, shared_lease
from strongroom.store.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    made = LocalStore.create(str(tmp_path / "repo"))
    yield made
    made.close()


def plant(store: LocalStore, kind: str = "exclusive", host: str = "elsewhere", pid: int = 1) -> str:
    name = f"leases/{os.urandom(16).hex()}"
    store.put(name, [msgspec.msgpack.encode(Lease(kind, "with-lock", host, pid, 1_700_000_000 * 10**9))])
    return name


def test_writers_share(store: LocalStore) -> None:
    with shared_lease(store, "create"), shared_lease(store, "create"):
        assert len(held(store)) == 2
    assert held(store) == []


def test_an_exclusive_lease_keeps_writers_out_and_says_who_holds_it(store: LocalStore) -> None:
    plant(store)
    words = r"with-lock.*process 1 on elsewhere, since 2023-11-14.*break-lock"
    with pytest.raises(LockTimeout, match=words), shared_lease(store, "create"):
        pytest.fail("not alone")
    with pytest.raises(LockTimeout):
        leases.respect_exclusive(store)
    assert len(held(store)) == 1, "the one that gave up holds nothing"


def test_a_writer_keeps_an_exclusive_lease_out(store: LocalStore) -> None:
    with shared_lease(store, "create"):
        with pytest.raises(LockTimeout, match="create"), exclusive_lease(store, "with-lock"):
            pytest.fail("not alone")
        assert len(held(store)) == 1
    with exclusive_lease(store, "with-lock"):
        assert [one.is_exclusive for one in held(store)] == [True]
    assert held(store) == []


def test_who_waits_long_enough_gets_it(store: LocalStore) -> None:
    name = plant(store)
    timer = threading.Timer(0.1, store.delete, [name])
    timer.start()
    with shared_lease(store, "create", wait=30):
        assert len(held(store)) == 1
    timer.join()


def test_several_that_want_to_be_alone_are_so_one_after_the_other(store: LocalStore) -> None:
    inside: list[int] = []
    most: list[int] = []

    def want(number: int) -> None:
        with exclusive_lease(store, f"number {number}", wait=60):
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

    threads = [threading.Thread(target=want, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1] and held(store) == []


def test_what_a_killed_process_of_this_machine_left_is_cleared_away(store: LocalStore) -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    plant(store, host=socket.gethostname(), pid=pid)
    elsewhere = plant(store, kind="shared", pid=pid)
    with shared_lease(store, "create"):
        assert len(held(store)) == 2
    assert [one.name for one in held(store)] == [elsewhere]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"\xff" * 100,
        b"\x00" * 5000,
        msgspec.msgpack.encode({"kind": "exclusive"}),
        msgspec.msgpack.encode(Lease("exclusive", "x", "y", -1, 0)),
        msgspec.msgpack.encode(Lease("exclusive", "x", "y", 1 << 40, 0)),
        msgspec.msgpack.encode(Lease("exclusive", "x", "y", 1, 1 << 63)),
    ],
)
def test_what_cannot_be_read_holds_nobody_back(store: LocalStore, rubbish: bytes) -> None:
    store.put(f"leases/{'a' * 32}", [rubbish])
    with shared_lease(store, "create"):
        pass
    assert "unreadable" in held(store)[0].describe()
    assert [one.lease for one in break_leases(store)] == [None]
    assert held(store) == []


def test_millions_of_planted_leases_are_not_all_read(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_MOST", 5)
    for _ in range(9):
        plant(store, kind="shared")
    assert len(held(store)) == 5
    assert len(break_leases(store)) == 9


class Refusing(LocalStore):
    def put(self, name: str, parts: object) -> None:
        raise StoreRefused("read-only")


def test_a_store_that_takes_no_leases_is_written_to_without_one(store: LocalStore) -> None:
    refusing = Refusing(store.path)
    with shared_lease(refusing, "create"):
        assert held(store) == []
    with pytest.raises(StoreRefused), exclusive_lease(refusing, "with-lock"):
        pytest.fail("not alone")


def test_a_lull_is_waited_for_and_told_of(store: LocalStore) -> None:
    with shared_lease(store, "compact"):
        assert lull(store, 0) == [], "our own is none"
        name = plant(store, kind="shared")
        assert [one.name for one in lull(store, 0)] == [name]
        timer = threading.Timer(0.1, store.delete, [name])
        timer.start()
        assert lull(store, 30) == []
        timer.join()
