import os
import pty
import signal
import subprocess
from pathlib import Path

from founded import founded_at, pack_name
from rawclient import RawClient
from sshd import PROGRAM
from strongroom.store import wire


def test_a_terminal_is_told_what_this_program_is() -> None:
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [*PROGRAM, "serve"], stdin=theirs, capture_output=True, text=True, check=False, timeout=60
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert "started by sshd" in done.stderr and done.stdout == ""


def test_a_server_that_is_told_to_end_leaves_nothing_half_done(tmp_path: Path) -> None:
    founded_at(tmp_path / "repo")
    with RawClient(["--storage-quota", "100M"]) as client:
        client.greet()
        assert client.open(tmp_path / "repo") == wire.Done()
        number = client.request(wire.Put(pack_name(b"x"), 50_000_000))
        client.data(number, bytes(1_000_000))
        assert isinstance(client.ask(wire.List("")), wire.Page)  # it has taken the upload in
        client.process.send_signal(signal.SIGTERM)
        assert client.process.wait(timeout=60) == 128 + signal.SIGTERM
    assert os.listdir(tmp_path / "repo/tmp") == []
    assert sorted(os.listdir(tmp_path / "repo/.quota")) == ["lock", "used"]


def test_the_repositorys_own_quota_counts_where_it_is_smaller(tmp_path: Path) -> None:
    founded_at(tmp_path / "repo", storage_quota=20_000)
    for words in ([], ["--storage-quota", "100M"]):
        with RawClient(words) as client:
            client.greet()
            assert client.open(tmp_path / "repo") == wire.Done()
            reply = client.put(pack_name(bytes(20_000)), bytes(20_000))
            assert isinstance(reply, wire.Failed) and "quota of 20000 bytes" in reply.text


def test_two_quotas_hold_both(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    founded_at(tmp_path / "mine/one", storage_quota=9_000_000)
    founded_at(tmp_path / "mine/two")
    for repository, size, fits in (
        ("one", 9_000_000, False),
        ("two", 8_900_000, True),
        ("one", 2_000_000, False),
    ):
        with RawClient(["--restrict-to-path", str(tmp_path / "mine"), "--storage-quota", "10M"]) as client:
            client.greet()
            assert client.open(tmp_path / "mine" / repository) == wire.Done()
            reply = client.put(pack_name(bytes(size)), bytes(size))
            assert isinstance(reply, wire.Done) == fits, reply
