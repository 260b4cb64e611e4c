import os
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.errors import QuotaExceeded, StoreRefused
from strongroom.server.quota import BLOCK, Quota, charge, count
from strongroom.store.local import LocalStore

MB = 1_000_000


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore.create(str(tmp_path / "client/repo"), make_parents=True)


def put(quota: Quota, store: LocalStore, name: str, size: int) -> None:
    quota.reserve(size)
    with store.begin(name) as upload:
        upload.write(bytes(size))
        upload.sync()
        with quota.settle(size):
            upload.publish()


def folder_of(store: LocalStore) -> str:
    return os.path.dirname(store.path)


def test_an_object_is_charged_whole_blocks() -> None:
    assert [charge(size) for size in (0, 1, BLOCK, BLOCK + 1)] == [BLOCK, BLOCK, BLOCK, 2 * BLOCK]


def test_the_last_byte_fits_and_the_next_does_not(store: LocalStore) -> None:
    quota = Quota(folder_of(store), 10 * BLOCK)
    put(quota, store, "index/1", 9 * BLOCK)
    with pytest.raises(QuotaExceeded, match=str(10 * BLOCK)):
        quota.reserve(BLOCK + 1)
    put(quota, store, "index/2", BLOCK)
    with pytest.raises(QuotaExceeded):
        quota.reserve(0)
    assert quota.used() == 10 * BLOCK
    quota.close()


def test_what_is_dropped_or_deleted_is_free_again(store: LocalStore) -> None:
    quota = Quota(folder_of(store), 2 * BLOCK)
    put(quota, store, "index/1", BLOCK)
    quota.reserve(1)
    quota.release(1)
    quota.reserve(1)
    with pytest.raises(RuntimeError), quota.settle(1):
        raise RuntimeError
    put(quota, store, "index/2", BLOCK)
    with quota.freeing(BLOCK):
        store.delete("index/1")
    put(quota, store, "index/3", BLOCK)
    assert quota.used() == 2 * BLOCK
    quota.close()


def test_sessions_see_each_others_reservations(store: LocalStore) -> None:
    one, two = Quota(folder_of(store), 4 * BLOCK), Quota(folder_of(store), 4 * BLOCK)
    one.reserve(3 * BLOCK)
    with pytest.raises(QuotaExceeded):
        two.reserve(2 * BLOCK)
    two.reserve(BLOCK)
    one.close()  # its uploads were dropped
    two.reserve(3 * BLOCK)
    two.close()
    assert sorted(os.listdir(os.path.join(folder_of(store), ".quota"))) == ["lock", "used"]


def test_uploads_into_a_repository_without_a_config_yet_are_counted_once(store: LocalStore) -> None:
    """Two machines make theirs in one folder at the same time."""
    limit = 10 * BLOCK
    one, two = Quota(folder_of(store), limit), Quota(folder_of(store), limit)
    one.reserve(4 * BLOCK)
    with store.begin("index/1") as upload:
        upload.write(bytes(4 * BLOCK))
        two.reserve(6 * BLOCK)  # counts what is there; the rest has been reserved
        upload.sync()
        with one.settle(4 * BLOCK):
            upload.publish()
    assert one.used() == two.used() == 4 * BLOCK
    one.close()
    two.close()


def test_a_repository_called_tmp_counts(tmp_path: Path) -> None:
    inner = LocalStore.create(str(tmp_path / "client/tmp"), make_parents=True)
    inner.put("config", [bytes(2 * BLOCK)])
    inner.put("index/1", [bytes(3 * BLOCK)])
    with inner.begin("index/2") as upload:
        upload.write(bytes(7 * BLOCK))
        assert count(str(tmp_path / "client")) == 5 * BLOCK


CHILD = """
import os, sys
from strongroom.errors import QuotaExceeded
from strongroom.server.quota import Quota
from strongroom.store.local import LocalStore
quota, store = Quota(sys.argv[1], int(sys.argv[2])), LocalStore(sys.argv[1] + "/repo")
sys.stdin.readline()
for number in range(1000):
    try:
        quota.reserve(8192)
    except QuotaExceeded:
        break
    with store.begin(f"index/{os.getpid()}-{number}") as upload:
        upload.write(bytes(8192))
        with quota.settle(8192):
            upload.publish()
print(number)
"""


def test_racing_sessions_fill_the_quota_exactly(store: LocalStore) -> None:
    # only a folder with a config is a repository, whose unfinished uploads are not objects yet
    Path(store.path, "config").write_text("x")
    folder, limit = folder_of(store), BLOCK + 60 * 8192 + 100
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, folder, str(limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    stored = [int(child.communicate(timeout=60)[0]) for child in children]
    assert sum(stored) == 60
    assert count(folder) == BLOCK + 60 * 8192


def test_a_killed_session_costs_nothing_afterwards(store: LocalStore) -> None:
    script = (
        "import os, signal, sys\nfrom strongroom.server.quota import Quota\n"
        "Quota(sys.argv[1], 1 << 30).reserve(1 << 29)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    living = Quota(folder_of(store), 10 * BLOCK)
    living.reserve(BLOCK)
    subprocess.run([sys.executable, "-c", script, folder_of(store)], check=False)
    living.reserve(9 * BLOCK)
    living.close()


def test_what_was_removed_or_added_by_hand_counts_from_the_next_session_on(store: LocalStore) -> None:
    for name in ("index/1", "index/2"):
        store.put(name, [bytes(BLOCK)])
    first = Quota(folder_of(store), 3 * BLOCK)
    put(first, store, "index/3", BLOCK)
    with pytest.raises(QuotaExceeded):
        first.reserve(1)
    first.close()
    os.unlink(os.path.join(store.path, "index/1"))
    second = Quota(folder_of(store), 3 * BLOCK)
    second.reserve(1)
    second.close()


def test_no_folder_is_overlooked(tmp_path: Path) -> None:
    for path in (
        "repo/config",
        "tmp/config",
        "tmp/packs/1",
        "repo/tmp/nested/index/1",
        "deep/er/x",
        "repo/tmp/half",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    (tmp_path / "deep/link").symlink_to("/usr")
    assert count(str(tmp_path)) == 5 * BLOCK  # all but the unfinished upload


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreRefused, match=str(tmp_path)):
        Quota(str(tmp_path), MB)
