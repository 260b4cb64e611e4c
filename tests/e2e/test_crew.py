"""Small files are restored by processes of their own: whatever befalls them, nothing is lost or untold."""

import contextlib
import errno
import os
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from program import Done, Program, patterned, wait_until
from programfixtures import Disk
from sshd import direct_rsh
from strongroom.archive import crew, unpack
from strongroom.archive.fetching import Fetcher
from strongroom.archive.hand import Hand
from strongroom.archive.portions import Outcome, Portion
from strongroom.archive.targets import FileTarget
from strongroom.archive.window import BundleJob
from strongroom.commands import extract
from strongroom.store.ssh import SshStore
from treefacts import differences, facts

FOLDERS, EACH = 90, 8


@pytest.fixture(autouse=True)
def several_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one core there is no crew."""
    monkeypatch.setattr(extract, "cpu_threads", lambda: 2)


@pytest.fixture
def tree(src: Path) -> Path:
    """Of small files, some of which are none for the crew."""
    for number in range(FOLDERS):
        folder = src / f"{number:02}"
        folder.mkdir()
        for one in range(EACH):
            (folder / str(one)).write_bytes(patterned(2_000, one * FOLDERS + number))
        (folder / "empty").touch(mode=0o640)
    (src / "00" / "attributed").write_text("text")
    os.setxattr(src / "00" / "attributed", "user.long", bytes(3_000))
    os.link(src / "00" / "0", src / "89" / "linked")
    os.symlink("0", src / "01" / "symlink")
    (src / "02" / "large").write_bytes(patterned(3_000_000, 1))
    (src / "03" / "again").write_bytes(patterned(2_000, 5))
    with (src / "04" / "sparse").open("wb") as stream:
        stream.truncate(1 << 20)
    os.utime(src / "05" / "1", ns=(1, 123_456_789))
    (src / "06" / "2").chmod(0o4711)
    (src / "07").chmod(0o555)
    return src


@pytest.fixture
def filled(sr: Program, tree: Path) -> Program:
    sr("create", "::a", "src").ok()
    return sr


def working(log: Path, then: Callable[[Portion], None] = lambda _: None) -> Callable[[], None]:
    """For `before`: each process notes the portions that it gets; what else it does with them is `then`."""

    def hook() -> None:
        real = Hand._restore

        def restore(hand: Hand, portion: Portion, descriptors: list[int]) -> Outcome:
            with log.open("a") as stream:
                stream.write(f"{os.getpid()} {len(portion.files)}\n")
            then(portion)
            return real(hand, portion, descriptors)

        Hand._restore = restore  # type: ignore[method-assign]

    return hook


def noted(log: Path) -> tuple[set[int], int]:
    """The processes, and the files that they got."""
    rows = [tuple(map(int, line.split())) for line in log.read_text().splitlines()]
    return {process for process, _ in rows}, sum(files for _, files in rows)


def extracted(program: Program, *words: str, before: Callable[[], None] | None = None) -> Done:
    (program.root / "out").mkdir(exist_ok=True)
    return program("extract", "--to", program.root / "out", *words, "::a", before=before)


def assert_same(program: Program) -> None:
    assert differences(facts(program.cwd / "src"), facts(program.root / "out" / "src")) == []


@pytest.mark.parametrize("words", [(), ("--sparse",), ("--continue",), ("--numeric-ids", "--list")])
def test_what_they_restore_is_as_it_was(filled: Program, words: tuple[str, ...]) -> None:
    log = filled.root / "log"
    extracted(filled, *words, before=working(log)).ok()
    assert_same(filled)
    assert noted(log)[1] == FOLDERS * (EACH + 1) - 1 + 2  # without the two names of one file; two more


@pytest.fixture
def far(filled: Program) -> Program:
    move_away(filled)
    return filled


def move_away(program: Program) -> None:
    """Its repository, behind a connection."""
    program.env |= {
        "STRONGROOM_RSH": direct_rsh(program.root),
        "STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "STRONGROOM_REPO": f"ssh://far{program.repo}",
    }
    program("list").ok()  # it asks about the new place once


def test_what_is_far_is_fetched_for_them(far: Program) -> None:
    log = far.root / "log"
    extracted(far, before=working(log)).ok()
    assert_same(far)
    assert noted(log)[1] == FOLDERS * (EACH + 1) - 1 + 2


def test_several_bundles_are_under_way_at_once(sr: Program, src: Path) -> None:
    """Else each would cost the time that a question takes there and back."""
    for number in range(10):
        (src / str(number)).write_bytes(patterned(2_000_000, number))
    sr("create", "::a", "src").ok()
    together, first = threading.Barrier(6), iter(range(6))

    def meet() -> None:
        real = Fetcher._fetch

        def fetch(fetcher: Fetcher, job: BundleJob) -> Any:
            if next(first, None) is not None:
                together.wait(timeout=60)  # breaks, and with it the restore, unless others come
            return real(fetcher, job)

        Fetcher._fetch = fetch  # type: ignore[method-assign]

    move_away(sr)
    extracted(sr, before=meet).ok()
    assert_same(sr)


def test_a_connection_that_ends_ends_it(far: Program) -> None:
    log = far.root / "log"

    def hang_up() -> None:
        working(log)()
        real, left = SshStore.get, [4]

        def get(store: SshStore, *words: Any) -> bytes:
            left[0] -= 1
            if left[0] < 0:
                store._connection.close()
            return real(store, *words)

        SshStore.get = get  # type: ignore[method-assign]

    done = extracted(far, before=hang_up)
    assert done.code > 1 and "Traceback" not in done.err and "Internal error" not in done.err
    assert not log.exists() or not any(map(is_alive, noted(log)[0]))
    extracted(far, "--continue").ok()
    assert_same(far)


def test_for_few_files_there_are_none(sr: Program, src: Path) -> None:
    for number in range(20):
        (src / str(number)).write_text("text")
    sr("create", "::a", "src").ok()
    extracted(sr, before=working(sr.root / "log")).ok()
    assert_same(sr)
    assert not (sr.root / "log").exists()


def test_one_that_is_killed_costs_nothing(filled: Program) -> None:
    log = filled.root / "log"

    def die(portion: Portion) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    done = extracted(filled, "--verbose", before=working(log, die)).ok()
    assert_same(filled)
    assert done.err.count("ended before its time") == len(noted(log)[0]) > 0


def test_one_that_ends_in_the_middle_costs_nothing(filled: Program) -> None:
    log = filled.root / "log"
    finish: Any = Hand._finish

    def end_soon(portion: Portion) -> None:
        left = [10]

        def ending(hand: Hand, target: FileTarget) -> None:
            finish(hand, target)
            left[0] -= 1
            if not left[0]:
                os._exit(1)

        Hand._finish = ending  # type: ignore[method-assign]

    done = extracted(filled, before=working(log, end_soon)).ok()
    assert done.err == ""
    assert_same(filled)


def test_where_there_can_be_none_it_goes_without(filled: Program) -> None:
    def refuse() -> None:
        def fork() -> int:
            raise OSError(errno.EAGAIN, "no more processes")

        crew.os.fork = fork  # type: ignore[attr-defined]

    extracted(filled, before=refuse).ok()
    assert_same(filled)


def test_beside_threads_there_are_none(filled: Program) -> None:
    """Whoever forks beside threads may copy a lock that nobody will ever open."""
    log = filled.root / "log"

    def pretend() -> None:
        working(log)()
        crew.threading.enumerate = lambda: [threading.Thread()]  # type: ignore[attr-defined]

    extracted(filled, before=pretend).ok()
    assert_same(filled)
    assert not log.exists()


@pytest.mark.parametrize("place", ["filled", "far"])
def test_damage_is_told_as_ever(request: pytest.FixtureRequest, place: str) -> None:
    """Of all files that a damaged bundle holds, and of no other."""
    filled: Program = request.getfixturevalue(place)
    pack = max(filled.root.glob("repo/packs/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[-500_000] ^= 1
    pack.write_bytes(content)

    def without() -> None:
        unpack._FEW = 10**9

    alone = filled("extract", "--to", filled.root, "::a", before=without)
    (filled.root / "src").rename(filled.root / "alone")
    log = filled.root / "log"
    done = extracted(filled, before=working(log))
    assert done.code == alone.code == 1
    assert sorted(done.err.splitlines()) == sorted(alone.err.splitlines())
    assert 10 < len(done.err.splitlines()) < FOLDERS * EACH and noted(log)[1]
    assert differences(facts(filled.root / "alone"), facts(filled.root / "out" / "src")) == []


def test_what_cannot_be_made_is_told_once(filled: Program) -> None:
    place = filled.root / "out" / "src" / "10" / "3"
    place.mkdir(parents=True)
    (place / "mine").write_text("in the way")
    done = extracted(filled)
    assert done.code == 1
    assert [line for line in done.err.splitlines() if "10/3" in line] == done.err.splitlines()
    assert len(done.err.splitlines()) == 1 and (place / "mine").read_text() == "in the way"
    assert (filled.root / "out/src/10/4").read_bytes() == (filled.cwd / "src/10/4").read_bytes()


def test_what_cannot_be_restored_of_them_is_counted(filled: Program) -> None:
    def refuse() -> None:
        def chown(*_: object, **__: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        os.chown = chown

    done = extracted(filled, before=refuse)
    assert done.code == 1
    every = sum(1 for _ in (filled.cwd / "src").rglob("*"))  # and the top, less the second name
    assert f"and {every - 1} more" in done.err


def test_a_full_disk_ends_it(filled: Program, small_disk: Disk) -> None:
    place = small_disk("small", "900k")
    done = filled("extract", "--to", place, "::a")
    assert "No space left" in done.sentence() and done.code == 2


def test_they_end_with_the_one_that_called_them(filled: Program) -> None:
    log = filled.root / "log"

    def wait(portion: Portion) -> None:
        os.kill(os.getppid(), signal.SIGKILL)

    done = extracted(filled, before=working(log, wait))
    assert done.code == -signal.SIGKILL
    wait_until(lambda: not any(map(is_alive, noted(log)[0])))
    extracted(filled, "--continue").ok()
    assert_same(filled)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_user_asks_it_to_stop(filled: Program) -> None:
    log = filled.root / "log"

    def interrupt(portion: Portion) -> None:
        with contextlib.suppress(FileExistsError):  # once: the second one ends it where it stands
            (filled.root / "asked").touch(exist_ok=False)
            os.kill(os.getppid(), signal.SIGINT)

    done = extracted(filled, before=working(log, interrupt))
    wait_until(lambda: not any(map(is_alive, noted(log)[0])))
    assert done.code == 128 + signal.SIGINT or done.code == 0  # 0: all was under way already
    extracted(filled, "--continue").ok()
    assert_same(filled)


def test_a_user_who_may_open_few_files(user: Program) -> None:
    """Descriptors on their way to another process count as open, unless root sends them."""
    src = user.cwd / "src"
    for number in range(700):
        (src / f"{number}").mkdir(parents=True)
        (src / f"{number}" / "file").write_text(f"{number}")
        os.chown(src / f"{number}", user.uid or 0, user.uid or 0)
        os.chown(src / f"{number}" / "file", user.uid or 0, user.uid or 0)
    os.chown(src, user.uid or 0, user.uid or 0)
    user("create", "::a", "src").ok()
    log = user.root / "log"

    def limit() -> None:
        working(log)()
        unpack._FEW = 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))

    out = user.root / "out"
    out.mkdir()
    os.chown(out, user.uid or 0, user.uid or 0)
    user("extract", "--to", out, "::a", before=limit).ok()
    assert differences(facts(src), facts(out / "src")) == []
    assert noted(log)[1] == 700
