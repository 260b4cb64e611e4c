"""A disk without a free byte: deleting works, on this machine and on a server, and says what it took."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from program import Program, patterned
from programfixtures import Disk
from server.hosted import Hosted, over_ssh
from sshd import direct_rsh, needs_sshd, running, serve_command
from strongroom.store import reserve
from strongroom.store.local import LocalStore
from strongroom.store.reserve import Reserved
from strongroom.store.ssh import SshStore

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


@pytest.fixture
def far(program: Program, tmp_path: Path) -> Iterator[Program]:
    """The program of a machine that reaches a server by ssh; without a repository yet."""
    home = tmp_path / "sshd"
    home.mkdir()
    with running(home) as sshd:
        sshd.allow("laptop", serve_command())
        program.env |= {
            "STRONGROOM_RSH": sshd.rsh("laptop"),
            "STRONGROOM_REPO": sshd.url(str(tmp_path / "repo")),
        }
        yield program


def halves(program: Program, src: Path, sizes: list[int]) -> None:
    """For each size a pack of which half, so many bytes, is used when the archive `first` is freed."""
    for number, size in enumerate(sizes):
        (src / "a").write_bytes(patterned(size, 2 * number))
        (src / f"kept{number}").write_bytes(patterned(size, 2 * number + 1))
        program("create", f"::first{number}", "src").ok()
    (src / "a").unlink()
    program("create", "::kept", "src").ok()


@needs_sshd
def test_compacting_a_full_server_in_rounds_that_fit(far: Program, src: Path, small_disk: Disk) -> None:
    disk = small_disk("server", "24m")
    far.env["STRONGROOM_REPO"] = far.env["STRONGROOM_REPO"].replace("/repo", "/server/repo")
    far("init", "-e", "repokey", "--reserve", "4M").ok()
    halves(far, src, [1_600_000, 1_700_000, 1_800_000])
    fill(disk)
    assert far("delete", "-a", "first*").code == 1
    done = far("compact", "--quarantine", "0", "--stats")
    assert "Archives freed: 3" in done.err and done.code == 0, done
    moved = next(line for line in done.err.splitlines() if "moved" in line)
    assert float(moved.split()[2]) > 5 and moved.endswith("MB"), "more than is kept"
    assert LocalStore(str(disk / "repo")).reserve() == Reserved(4_000_000, 4_000_000)
    far("check", "--verify-data").ok()
    assert (far.extract("kept") / "src/kept1").read_bytes() == patterned(1_700_000, 3)
    far("create", "::again", "src").ok()


@needs_sshd
def test_compact_says_what_it_had_no_room_for(far: Program, src: Path, small_disk: Disk) -> None:
    disk = small_disk("server", "24m")
    far.env["STRONGROOM_REPO"] = far.env["STRONGROOM_REPO"].replace("/repo", "/server/repo")
    far("init", "-e", "repokey", "--reserve", "0.3M").ok()
    halves(far, src, [1_600_000])
    (src / "gone").write_bytes(patterned(200_000, 9))
    far("create", "::gone", "src").ok()
    fill(disk)
    assert far("delete", "::first0", "gone").code == 1
    done = far("compact", "--quarantine", "0", "--stats")
    assert done.code == 1 and "no room to copy what is used" in done.err, done
    assert "Archives freed: 2" in done.err and "Data moved:     0 B" in done.err
    assert not list((disk / "repo/tmp").iterdir())
    (disk / "ballast0").unlink()
    done = far("compact", "--quarantine", "0", "--stats")
    assert done.code == 0, done
    moved = next(line for line in done.err.splitlines() if "moved" in line).split()
    assert 1.6 <= float(moved[2]) < 3.2 and moved[3] == "MB", "what is used of two packs, and not all of it"
    far("check", "--verify-data").ok()


@pytest.mark.parametrize("base", ["elsewhere", "on the full disk, too"])
@pytest.mark.parametrize("known", [True, False], ids=["counted before", "never counted"])
def test_a_servers_owner_prunes_and_compacts_when_its_disk_is_full(
    program: Program, src: Path, small_disk: Disk, base: str, known: bool
) -> None:
    """For clients that only append nobody else can."""
    disk = small_disk("server", "24m")
    program.env["HOME"] = str(program.root)
    if base != "elsewhere":
        program.env["STRONGROOM_BASE_DIR"] = str(disk / "owner")
    server = Hosted(program, disk / "srv")
    server("init", str(server.folder)).ok()
    laptop = over_ssh(server, "laptop", "--reserve", "4M")
    laptop.env["STRONGROOM_BASE_DIR"] = str(program.root / "laptop base")
    halves(laptop, src, [1_600_000, 1_700_000, 1_800_000])
    if known:
        server("prune", "laptop", "--keep-within", "1d").ok()
    else:
        shutil.rmtree(server.folder / "laptop/.quota")
    fill(disk)
    (src / "new").write_bytes(patterned(300_000, 77))
    assert "No space left" in laptop("create", "::x", "src").err
    assert server("usage").out.startswith("laptop ") and "sound" in server("verify").out
    told = server("prune", "laptop", "--keep-last", "1")
    assert told.code == 1 and "deleted 3 of 4 archives" in told.out and "is full" in told.err, told
    done = server("compact", "laptop", "--quarantine", "0", "--stats").ok()
    assert "Archives freed: 3" in done.err
    moved = next(line for line in done.err.splitlines() if "moved" in line)
    assert float(moved.split()[2]) > 5 and moved.endswith("MB"), "more than is kept"
    server("verify").ok()
    laptop("check", "--verify-data").ok()
    laptop("create", "::again", "src").ok()


def test_compacting_with_the_quota_used_up(program: Program, src: Path) -> None:
    folder = program.root / "server"
    folder.mkdir()
    program.env["STRONGROOM_RSH"] = direct_rsh(program.root, "--storage-quota", "12M")
    program.env["STRONGROOM_REPO"] = f"ssh://server{folder}/repo"
    program("init", "-e", "repokey", "--reserve", "4M").ok()
    halves(program, src, [1_500_000, 1_700_000, 1_800_000])
    program("delete", "-a", "first*").ok()
    (src / "more").write_bytes(patterned(3_000_000, 9))
    assert "quota" in program("create", "::more", "src").sentence()
    done = program("compact", "--quarantine", "0", "--stats")
    assert done.code == 0 and "Archives freed: 3" in done.err, done
    program("check", "--verify-data").ok()


def test_a_reserve_is_chosen_at_init(program: Program, src: Path, tmp_path: Path) -> None:
    program("init", "-e", "repokey", "--reserve", "2M").ok()
    assert LocalStore(str(program.repo)).reserve() == Reserved(2_000_000, 2_000_000)
    assert "Kept for a full disk: 2.00 MB" in program("info").ok().out
    assert program("info", "--json").ok().json["reserve"] == {"kept": 2_000_000, "wanted": 2_000_000}
    far = program.another("far", STRONGROOM_RSH=direct_rsh(program.root))
    far.env["STRONGROOM_REPO"] = f"ssh://server{tmp_path}/repo"
    far("init", "-e", "repokey", "--reserve", "0").ok()
    assert LocalStore(str(tmp_path / "repo")).reserve() == Reserved(0, 0)
    assert "Kept for a full disk: 0 B" in far("info").ok().out


def test_a_reserve_leaves_most_of_a_disk_free(program: Program, small_disk: Disk) -> None:
    disk = small_disk("disk", "8m")
    program.env["STRONGROOM_REPO"] = str(disk / "repo")
    done = program("init", "-e", "none", "--reserve", "3T")
    assert done.code == 0 and "no room for more" in done.err
    assert 1_000_000 < LocalStore(str(disk / "repo")).reserve().left <= (8 << 20) // 4


def dies_after(method: str, name: str) -> Callable[[], None]:
    """For `before`: the program is killed as soon as the server has done that with the object."""

    def arm() -> None:
        true = getattr(SshStore, method)

        def deadly(store: SshStore, done: str, *rest: object) -> None:
            true(store, done, *rest)
            if done.startswith(name):
                os.kill(os.getpid(), signal.SIGKILL)

        setattr(SshStore, method, deadly)

    return arm


@pytest.mark.parametrize("name", ["packs/", "config", "keys/", "log/00000000000000000001"])
def test_a_killed_deletion_of_a_distant_repository_is_finished(
    program: Program, src: Path, tmp_path: Path, name: str
) -> None:
    program.env |= {
        "STRONGROOM_RSH": direct_rsh(program.root),
        "STRONGROOM_REPO": f"ssh://server{tmp_path}/repo",
    }
    program("init", "-e", "repokey").ok()
    (src / "a").write_bytes(patterned(20_000))
    program("create", "::a", "src").ok()
    assert (
        program.start("delete", "--force", before=dies_after("delete", name)).wait().code == -signal.SIGKILL
    )
    if name != "packs/":
        assert "interrupted" in program("create", "::b", "src").sentence()
        assert program("delete", "--dry-run").code == 0
        refused = program.another(
            "other", STRONGROOM_RSH=direct_rsh(program.root, "--append-only", name="weak")
        )
        assert refused("delete", "--force").code == 2
        assert list((tmp_path / "repo/log").iterdir())
    program("delete", "--force").ok()
    left = [path for path in (tmp_path / "repo").rglob("*") if not path.is_dir()]
    assert not left, "not the reserve either"
    assert "config" in program("delete", "--force").sentence()
    program("init", "-e", "none").ok()


@pytest.mark.parametrize("name", ["keys/", "config"])
def test_a_killed_init_of_a_distant_repository_is_run_again(
    program: Program, src: Path, tmp_path: Path, name: str
) -> None:
    program.env |= {
        "STRONGROOM_RSH": direct_rsh(program.root),
        "STRONGROOM_REPO": f"ssh://server{tmp_path}/repo",
    }
    words = ("init", "-e", "repokey")
    assert program.start(*words, before=dies_after("put", name)).wait().code == -signal.SIGKILL
    program(*words).ok()
    (src / "a").write_bytes(b"hello")
    program("create", "::a", "src").ok()
    assert program.names() == ["a"]
