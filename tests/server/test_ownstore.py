"""The owner's writes and removals are counted, beside clients' sessions, and never refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.crypto import hashing
from strongroom.errors import ObjectExists, ObjectMissing, QuotaExceeded
from strongroom.server.ownstore import OwnStore, counted_folders
from strongroom.server.quota import BLOCK, Quota, count
from strongroom.store.local import LocalStore


@pytest.fixture
def repo(tmp_path: Path) -> str:
    (tmp_path / "client/deep").mkdir(parents=True)
    store = LocalStore.create(str(tmp_path / "client/deep/repo"))
    store.put("config", [b"founded"])
    return store.path


def home_of(repo: str) -> str:
    return os.path.dirname(os.path.dirname(repo))


def own(repo: str) -> OwnStore:
    return OwnStore(repo, counted_folders(home_of(repo), repo))


def test_a_running_session_sees_at_once_what_the_owner_added_and_freed(repo: str) -> None:
    session = Quota(home_of(repo), 10 * BLOCK)
    session.reserve(1)  # it has counted, and counts on no more
    store = own(repo)
    store.put("index/1", [bytes(5 * BLOCK), b"x"])
    store.append_record("log/00000000000000000001", b"record")
    with pytest.raises(QuotaExceeded, match=f"{8 * BLOCK} used"):
        session.reserve(2 * BLOCK)
    store.delete("index/1")
    session.reserve(7 * BLOCK)
    with pytest.raises(QuotaExceeded):
        session.reserve(1)
    assert session.used() == count(home_of(repo)) == 2 * BLOCK
    session.close()
    store.close()


def test_what_was_mended_is_counted_as_it_is_now(repo: str) -> None:
    session = Quota(home_of(repo), 10 * BLOCK)
    session.reserve(0)
    store = own(repo)
    blob = bytes(5 * BLOCK)
    name = "packs/00/" + hashing.plain_hash(blob).hex()
    damaged = Path(repo) / name
    damaged.parent.mkdir(parents=True)
    store.mend(name, [blob])  # nothing was there
    damaged.write_bytes(bytes(9 * BLOCK))
    session.used()
    store.mend(name, [blob])
    assert used(repo) == count(home_of(repo)) == 6 * BLOCK
    damaged.write_bytes(b"")
    session.used()
    store.mend(name, [blob])
    assert used(repo) == count(home_of(repo)) == 6 * BLOCK
    session.close()
    store.close()


def used(repo: str) -> int:
    return int((Path(home_of(repo)) / ".quota/used").read_text())


def test_the_reserve_takes_no_part_of_the_quota(repo: str) -> None:
    session = Quota(home_of(repo), 10 * BLOCK)
    session.reserve(0)
    store = own(repo)
    with store.spending():
        store.release_reserve()
        store.put("index/1", [b"x"])
        store.append_record("log/00000000000000000001", b"record")
    assert store.reserve().left > 10 * BLOCK
    assert used(repo) == count(home_of(repo)) == session.used() == 3 * BLOCK
    session.close()
    store.close()


def test_the_owner_is_not_held_to_the_quota(repo: str) -> None:
    session = Quota(repo, BLOCK)
    store = own(repo)
    store.put("index/1", [bytes(9 * BLOCK)])
    with pytest.raises(QuotaExceeded, match=f"{10 * BLOCK} used"):
        session.reserve(0)
    session.close()
    store.close()


def test_what_fails_is_not_counted(repo: str) -> None:
    session = Quota(home_of(repo), 10 * BLOCK)
    session.reserve(0)
    store = own(repo)
    with pytest.raises(ObjectExists):
        store.put("config", [b"another"])
    with pytest.raises(ObjectMissing):
        store.delete("index/1")
    session.reserve(8 * BLOCK)
    session.close()
    store.close()


def test_every_folder_that_a_session_may_count_is_counted(repo: str) -> None:
    home = home_of(repo)
    assert counted_folders(repo, repo) == [repo]
    assert counted_folders(home, repo) == [home, repo]
    between = Quota(os.path.dirname(repo), BLOCK)
    assert counted_folders(home, repo) == [home, os.path.dirname(repo), repo]
    between.close()


_CHURN = """
import sys
from strongroom.server.ownstore import OwnStore, counted_folders
home, repo = sys.argv[1:]
store = OwnStore(repo, counted_folders(home, repo))
number = 0
while True:
    number += 1
    store.put(f"index/{number}", [bytes(5000)])
    if number % 3:
        store.delete(f"index/{number}")
    if number == 5:
        print("going", flush=True)
"""


def test_a_session_that_counts_after_the_owner_was_killed_is_right(repo: str) -> None:
    words = [sys.executable, "-c", _CHURN, home_of(repo), repo]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"going\n"
        process.kill()
    session = Quota(home_of(repo), 1 << 30)
    session.reserve(1)
    assert session.used() == count(home_of(repo))
    store = own(repo)
    store.put("index/after", [b""])
    assert session.used() == count(home_of(repo))
    session.close()
    store.close()
