import errno
import os
import resource
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from children import in_child
from strongroom.errors import (
    NotARepository,
    ObjectExists,
    ObjectMissing,
    ParentPathMissing,
    PathOccupied,
    RepositoryExists,
    RepositoryMissing,
    StoreFailed,
    StoreFull,
    StoreRefused,
)
from strongroom.store import publish as publishing
from strongroom.store.local import STALE_AFTER, LocalStore
from strongroom.store.protocol import Range
from strongroom.store.stamp import unstamp

PACK = "packs/ab/" + "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore.create(str(tmp_path / "repo"))


def leftovers(store: LocalStore) -> list[str]:
    return os.listdir(store.scratch) if os.path.isdir(store.scratch) else []


def test_what_is_put_is_got(store: LocalStore) -> None:
    store.put(PACK, [b"one", bytearray(b"two"), memoryview(b"three"), b""])
    assert store.get(PACK) == b"onetwothree"
    assert store.get(PACK, 3, 3) == b"two"
    assert store.get(PACK, 8) == b"ree"
    assert store.get(PACK, 9, 1 << 50) == b"ee"
    assert store.get(PACK, 1 << 40, 5) == b""
    assert list(store.get_many([Range(PACK, 0, 3), Range(PACK, 6, None)])) == [b"one", b"three"]
    assert store.size(PACK) == 11
    assert leftovers(store) == []


def test_many_parts_are_written_whole(store: LocalStore) -> None:
    parts = [bytes([n % 251]) * (n % 7) for n in range(5000)]
    store.put(PACK, parts)
    assert store.get(PACK) == b"".join(parts)


def test_an_object_is_never_replaced(store: LocalStore) -> None:
    store.put(PACK, [b"first"])
    with pytest.raises(ObjectExists):
        store.put(PACK, [b"second"])
    assert store.get(PACK) == b"first"


def test_of_many_writers_of_one_name_exactly_one_wins(store: LocalStore) -> None:
    outcome: list[int | None] = []
    barrier = threading.Barrier(8)

    def write(number: int) -> None:
        barrier.wait()
        try:
            store.put("log/" + "0" * 20, [b"%d" % number])
            outcome.append(number)
        except ObjectExists:
            outcome.append(None)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for number in outcome if number is not None]
    assert len(winners) == 1
    assert store.get("log/" + "0" * 20) == b"%d" % winners[0]
    assert leftovers(store) == []


def unsupported(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.EOPNOTSUPP, "not here")


@pytest.mark.parametrize("missing", [["_by_link"], ["_by_link", "_by_renameat2"]])
def test_without_hard_links_objects_still_appear_once(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, missing: list[str]
) -> None:
    for way in missing:
        monkeypatch.setattr(publishing, way, unsupported)
    store.put(PACK, [b"first"])
    upload = store.begin("log/" + "1" * 20)
    with upload:
        upload.write(b"late")
        store.put("log/" + "1" * 20, [b"early"])
        with pytest.raises(ObjectExists):
            upload.commit()
    assert store.get(PACK) == b"first"
    assert store.get("log/" + "1" * 20) == b"early"
    assert set(leftovers(store)) <= {"publish-lock"}


def test_an_upload_that_is_dropped_leaves_nothing(store: LocalStore) -> None:
    with store.begin(PACK) as upload:
        upload.write(b"half")
    assert leftovers(store) == []
    with pytest.raises(ObjectMissing):
        store.get(PACK)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a/",
        "A",
        "a.b",
        ".",
        "a\0b",
        "a\n",
        "é",
        "tmp/x",
        "tmp",
        "x" * 101,
        "/".join(["abcdefgh"] * 40),
        "a/b/c/d/e/f/g/h/i",
    ],
)
def test_names_that_could_lead_elsewhere_are_refused(store: LocalStore, name: str) -> None:
    for use in (
        lambda: store.get(name),
        lambda: store.put(name, [b"x"]),
        lambda: store.delete(name),
        lambda: store.append_record(name, b"x"),
        lambda: store.list(name + "/"),
    ):
        with pytest.raises(StoreRefused):
            use()


def test_list_is_in_name_order_and_leaves_out_what_is_no_object(store: LocalStore, tmp_path: Path) -> None:
    names = ["packs/a/1", "packs/a-b", "packs/a0", "packs/b/c/d", "index/1", "config"]
    for name in names:
        store.put(name, [name.encode()])
    root = Path(store.path)
    (root / "lost+found").mkdir()
    (root / "README").write_text("hello")
    (root / "packs/.hidden").write_text("x")
    (root / "tmp/0123").write_text("unfinished")
    assert [found.name for found in store.list("")] == sorted(names)
    assert list(store.list("packs/a/")) == [("packs/a/1", 9)]
    assert [found.name for found in store.list("packs/")] == sorted(
        n for n in names if n.startswith("packs/")
    )
    assert list(store.list("nothing/here/")) == []


def test_delete_removes_once(store: LocalStore) -> None:
    store.put(PACK, [b"x"])
    store.delete(PACK)
    for use in (lambda: store.delete(PACK), lambda: store.get(PACK), lambda: store.size(PACK)):
        with pytest.raises(ObjectMissing, match="ab"):
            use()


def test_a_folder_is_no_object(store: LocalStore) -> None:
    store.put(PACK, [b"x"])
    for use in (lambda: store.get("packs/ab"), lambda: store.delete("packs"), lambda: store.size("packs")):
        with pytest.raises(ObjectMissing):
            use()
    with pytest.raises(ObjectMissing):
        store.get(PACK + "/below")
    with pytest.raises(ObjectExists):
        store.put("packs/ab", [b"x"])
    with pytest.raises(StoreFailed):
        store.put(PACK + "/below", [b"x"])


def test_records_carry_the_stores_time(tmp_path: Path) -> None:
    store = LocalStore.create(str(tmp_path / "repo"), clock=lambda: 42)
    stored = store.append_record("log/" + "0" * 20, b"record")
    assert stored == store.get("log/" + "0" * 20)
    assert unstamp(stored) == (b"record", 42)
    with pytest.raises(ObjectExists):
        store.append_record("log/" + "0" * 20, b"other")


def test_modes_keep_others_out(store: LocalStore) -> None:
    store.put(PACK, [b"x"])
    root = Path(store.path)
    for folder in (root, root / "packs", root / "packs/ab", root / "tmp"):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE((root / PACK).stat().st_mode) == 0o600


def test_only_old_leftovers_are_removed(store: LocalStore) -> None:
    scratch = Path(store.scratch)
    scratch.mkdir()
    for name in ("old", "young"):
        (scratch / name).write_bytes(b"x")
    old = (scratch / "old").stat().st_mtime - STALE_AFTER - 60
    os.utime(scratch / "old", (old, old))
    LocalStore(store.path).put(PACK, [b"x"])
    assert leftovers(store) == ["young"]


def test_open_says_what_is_there_instead(tmp_path: Path) -> None:
    with pytest.raises(RepositoryMissing, match="nowhere"):
        LocalStore.open(str(tmp_path / "nowhere"))
    with pytest.raises(NotARepository, match="config"):
        LocalStore.open(str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(NotARepository):
        LocalStore.open(str(tmp_path / "file"))
    with pytest.raises(RepositoryMissing):
        LocalStore.open(str(tmp_path / "file" / "below"))


def test_create_takes_only_a_new_or_an_empty_folder(tmp_path: Path) -> None:
    store = LocalStore.create(str(tmp_path / "repo"))
    LocalStore.create(str(tmp_path / "repo"))  # a run that stopped at once may be repeated
    store.put("config", [b"x"])
    assert LocalStore.open(store.path).get("config") == b"x"
    with pytest.raises(RepositoryExists):
        LocalStore.create(store.path)
    with pytest.raises(PathOccupied):
        LocalStore.create(str(tmp_path))
    with pytest.raises(PathOccupied):
        LocalStore.create(store.path + "/config")
    with pytest.raises(ParentPathMissing):
        LocalStore.create(str(tmp_path / "a/b/c"))
    LocalStore.create(str(tmp_path / "a/b/c"), make_parents=True)


def test_a_repository_that_vanished_does_not_come_back_empty(store: LocalStore) -> None:
    shutil.rmtree(store.path)
    with pytest.raises(StoreFailed):
        store.put(PACK, [b"x"])
    assert not os.path.exists(store.path)


def test_a_full_disk_is_named_and_leaves_nothing(store: LocalStore) -> None:
    def work() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        with pytest.raises(StoreFull, match="packs"):
            store.put(PACK, [bytes(8192)])

    in_child(work)
    assert leftovers(store) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_missing_permission_is_named(tmp_path: Path) -> None:
    store = LocalStore.create(str(tmp_path / "repo"))
    store.put(PACK, [b"x"])

    def work() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        for use in (
            lambda: store.get(PACK),
            lambda: store.put("index/1", [b"x"]),
            lambda: store.delete(PACK),
            lambda: LocalStore.open(store.path),
            lambda: list(store.list("packs/")),
        ):
            with pytest.raises(StoreRefused, match="ermission"):
                use()

    in_child(work)


def test_no_descriptor_is_left_open(store: LocalStore) -> None:
    before = len(os.listdir("/proc/self/fd"))
    store.put(PACK, [b"x"])
    for bad in (
        lambda: store.put(PACK, [b"y"]),
        lambda: store.get("packs/none"),
        lambda: store.get("packs/ab"),
    ):
        with pytest.raises((ObjectExists, ObjectMissing)):
            bad()
    with store.begin("index/1") as upload:
        upload.write(b"dropped")
    next(iter(store.list("")))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_killed_writer_leaves_no_object(store: LocalStore) -> None:
    script = (
        "import sys, os, signal\n"
        "from strongroom.store.local import LocalStore\n"
        "upload = LocalStore(sys.argv[1]).begin(sys.argv[2])\n"
        "upload.write(b'half')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, store.path, PACK], check=False).returncode == -9
    assert list(store.list("")) == []
    store.put(PACK, [b"whole"])
    assert store.get(PACK) == b"whole"


def test_a_folder_larger_than_a_batch_is_listed_whole_and_in_order(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.store.local._BATCH", 7)
    names = [*(f"index/{n:03d}" for n in range(50)), "index/a/b", "index/a-b"]
    for name in names:
        store.put(name, [b"x"])
    assert [found.name for found in store.list("")] == sorted(names)


def test_an_interrupted_init_may_be_repeated(store: LocalStore) -> None:
    store.put("keys/" + "0" * 64, [b"a key"])
    LocalStore.create(store.path)
