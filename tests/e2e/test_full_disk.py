"""A disk without a free byte: deleting works, on this machine and on a server, and says what it took."""

import os
import subprocess
from pathlib import Path

import pytest

from program import Program, patterned
from programfixtures import Disk
from sshd import direct_rsh
from strongroom.store import reserve
from strongroom.store.local import LocalStore
from strongroom.store.reserve import Reserved

RESERVE = 300_000


def fill(disk: Path) -> None:
    """To the last byte, through whatever is kept and shared."""
    number = len(list(disk.glob("ballast*")))
    with open(disk / f"ballast{number}", "wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 16, 1 << 12, 1):
            try:
                while stream.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    with pytest.raises(OSError, match="space"), open(disk / "one more", "wb", buffering=0) as stream:
        stream.write(b"x")
    (disk / "one more").unlink()


def three_archives(program: Program, src: Path) -> None:
    for number, name in enumerate("abc"):
        (src / name).write_bytes(patterned(20_000, number))
        program("create", f"::{name}", "src").ok()


def large_reserve() -> None:
    reserve.DEFAULT = reserve.LEAST = RESERVE


@pytest.fixture
def full(program: Program, src: Path, small_disk: Disk) -> Program:
    """Everything on one disk that is full: repository, cache, keys, and what was seen."""
    disk = small_disk("full", "12m")
    program.env |= {"STRONGROOM_REPO": str(disk / "repo"), "STRONGROOM_BASE_DIR": str(disk / "base")}
    program.start("init", "-e", "repokey", before=large_reserve).wait().ok()
    three_archives(program, src)
    fill(disk)
    return program


def test_delete_and_prune_work_on_a_full_disk_and_say_so(full: Program) -> None:
    before = LocalStore(str(full.repo)).reserve()
    assert before == Reserved(RESERVE, RESERVE)
    done = full("create", "::d", "src")
    assert done.code == 2 and "space" in done.sentence().lower()
    done = full("delete", "::a")
    assert done.code == 1 and "is full" in done.err and "compact" in done.err, done
    done = full("prune", "--keep-last", "1")
    assert done.code == 1 and "is full" in done.err, done
    assert full.names() == ["c"]
    left = LocalStore(str(full.repo)).reserve().left
    assert RESERVE // 2 < left <= RESERVE, "what was not needed is kept again"
    full("check", "--verify-data").ok()
    assert full("undelete", "::a").code == 1
    assert full.names() == ["a", "c"]


def test_compact_works_on_a_full_disk_and_makes_room(full: Program) -> None:
    assert full("delete", "::a", "b").code == 1
    ballast = sorted(full.repo.parent.glob("ballast*"))
    before = full.stored()
    done = full("compact", "--quarantine", "0", "--threshold", "0")
    assert done.code in (0, 1) and full.stored() < before, done
    assert sorted(full.repo.parent.glob("ballast*")) == ballast
    full("check", "--verify-data").ok()
    assert (full.extract("c") / "src/a").read_bytes() == patterned(20_000, 0)
    assert full("compact", "--quarantine", "0").code in (0, 1)


def test_the_reserve_is_refilled_when_there_is_room_again(full: Program) -> None:
    assert full("delete", "::a").code == 1
    (full.repo.parent / "ballast0").unlink()
    full("delete", "::b").ok()
    assert LocalStore(str(full.repo)).reserve() == Reserved(RESERVE, RESERVE)
    full("create", "::d", "src").ok()


def test_whoever_frees_may_use_what_is_kept(full: Program) -> None:
    store = LocalStore(str(full.repo))
    with store.spending():
        store.put(f"leases/{'a' * 32}", [bytes(100_000)])
    assert 0 < store.reserve().left < RESERVE
    with store.spending():
        store.delete(f"leases/{'a' * 32}")
    assert store.reserve() == Reserved(RESERVE, RESERVE)


def test_a_reserve_of_another_size_or_none(tmp_path: Path) -> None:
    store = LocalStore.create(str(tmp_path / "repo"), reserve=0)
    assert store.reserve() == Reserved(0, 0)
    (tmp_path / "repo/.reserve/size").write_text("50000\n")
    store.close()
    assert store.reserve() == Reserved(50_000, 50_000)
    (tmp_path / "repo/.reserve/size").write_text("what?\n")
    assert store.reserve() == Reserved(50_000, 0)


@pytest.mark.parametrize(
    "words",
    [(), ("--append-only",), ("--storage-quota", "100M"), ("--append-only", "--storage-quota", "100M")],
)
def test_deleting_on_a_full_server(
    program: Program, src: Path, small_disk: Disk, words: tuple[str, ...]
) -> None:
    disk = small_disk("server", "12m")
    program.env["STRONGROOM_RSH"] = direct_rsh(program.root, *words)
    program.env["STRONGROOM_REPO"] = f"ssh://server{disk}/repo"
    program("init", "-e", "repokey").ok()
    three_archives(program, src)
    fill(disk)
    assert "space" in program("create", "::d", "src").sentence().lower()
    done = program("delete", "::a")
    assert done.code == 1 and "is full" in done.err, done
    assert program.names() == ["b", "c"]
    program("check", "--verify-data").ok()
    subprocess.run(["mount", "-o", "remount,size=30m", str(disk)], check=True)
    (disk / "ballast0").unlink()
    program("create", "::d", "src").ok()


def test_deleting_with_the_quota_used_up(program: Program, src: Path) -> None:
    folder = program.root / "server"
    folder.mkdir()
    program.env["STRONGROOM_RSH"] = direct_rsh(program.root, "--append-only", "--storage-quota", "10M")
    program.env["STRONGROOM_REPO"] = f"ssh://server{folder}/repo"
    program("init", "-e", "repokey").ok()
    (src / "big").write_bytes(patterned(9_700_000))
    program("create", "::a", "src").ok()
    for number in range(40):
        (src / "more").write_bytes(patterned(20_000, number))
        if program("create", f"::b{number}", "src").code:
            break
    else:
        pytest.fail("the quota holds nobody back")
    while program("rename", f"::{program.names()[0]}", f"x{os.urandom(4).hex()}").code == 0:
        pass
    assert "quota" in program("rename", f"::{program.names()[0]}", "y").sentence()
    kept = program.names()
    program("delete", f"::{kept[0]}").ok()
    assert program.names() == kept[1:]
