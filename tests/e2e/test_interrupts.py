"""Ctrl-C, kills and company: nothing is corrupted, and what was uploaded is not uploaded again."""

import json
import os
import random
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from program import Program, patterned, wait_until
from treefacts import differences, facts

SIZE = 4_000_000
FILES = 12


@pytest.fixture
def tree(src: Path) -> Path:
    for number in range(FILES):
        (src / f"{number:02}").write_bytes(patterned(SIZE, number))
    return src


def packs_of(program: Program) -> list[Path]:
    return list(program.repo.glob("packs/*/*"))


def act_at(name: str, act: Callable[[], object]) -> Callable[[], None]:
    """For `before`: something happens in the moment before a file of that name is opened."""

    def hook() -> None:
        real: Any = os.open

        def acting(path: Any, *rest: Any, **how: Any) -> int:
            if os.path.basename(os.fsdecode(path)) == name:
                act()
            return int(real(path, *rest, **how))

        os.open = acting

    return hook


def interrupt_at(name: str, number: int = signal.SIGINT) -> Callable[[], None]:
    return act_at(name, lambda: signal.raise_signal(number))


def continues(program: Program, tree: Path, archive: str = "next") -> int:
    """A run after the accident: everything is right. Returns the bytes of packs that it added."""
    program("check", "--verify-data").ok()
    before = program.stored()
    program("create", f"::{archive}", "src").ok()
    added = program.stored() - before
    program("check", "--verify-data").ok()
    assert differences(facts(tree), facts(program.extract(archive) / "src")) == []
    return added


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_ends_cleanly_and_the_next_run_goes_on(sr: Program, tree: Path, number: int) -> None:
    done = sr("create", "::a", "src", before=interrupt_at("06", number))
    assert done.code == 128 + number, done
    assert "Traceback" not in done.err and "Internal error" not in done.err
    assert sr.names() == [] and not list((sr.repo / "leases").glob("*"))
    kept = sr.stored()
    assert kept > 6 * SIZE
    assert continues(sr, tree) < (FILES + 1) * SIZE - kept
    assert sr.names() == ["next"]


def test_what_was_uploaded_is_told_to_be_taken_up(sr: Program, tree: Path) -> None:
    sr("create", "::a", "src", before=interrupt_at("06"))
    assert "Taking up" in sr("create", "--verbose", "::b", "src").ok().err


def test_a_signal_in_the_middle_of_a_large_file(sr: Program, src: Path) -> None:
    """One file that would take hours does not hold back the end."""
    (src / "huge").write_bytes(b"")
    os.truncate(src / "huge", 1 << 40)
    with open(src / "huge", "r+b") as stream:
        stream.write(b"x")
    seen: list[int] = []

    def hook() -> None:
        real: Any = os.lseek

        def no_holes(fd: int, at: int, how: int) -> int:
            if how == getattr(os, "SEEK_HOLE", -1):
                return 1 << 40  # a file system that tells no holes: everything is to be read
            return int(real(fd, at, how))

        os.lseek = no_holes
        read: Any = os.readv
        preadv: Any = os.preadv

        def reading(*words: Any) -> int:
            seen.append(1)
            if len(seen) == 3:
                signal.raise_signal(signal.SIGINT)
            assert len(seen) < 40, "goes on reading after the signal"
            return int((preadv if len(words) > 2 else read)(*words))

        os.readv, os.preadv = reading, reading

    done = sr("create", "::a", "src", before=hook)
    assert done.code == 130 and "Internal error" not in done.err, done.err
    assert "goes on" not in done.err
    sr("check", "--verify-data").ok()


def test_the_second_signal_ends_at_once(sr: Program, tree: Path) -> None:
    opened: list[int] = []

    def twice() -> None:
        opened.append(1)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    done = sr("create", "::a", "src", before=act_at("06", twice))
    assert done.code == 130 and "Traceback" not in done.err
    assert sr.names() == []
    continues(sr, tree)


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_any_moment(sr: Program, tree: Path, seed: int) -> None:
    """After so many calls that write: killed before the next one."""
    sr("create", "::first", "src/00").ok()
    dice = random.Random(seed)
    for round_number in range(3):
        left = [dice.randrange(1, 60)]

        def hook(left: list[int] = left) -> None:
            for name in ("fsync", "link", "mkdir", "unlink", "writev", "rename"):
                real: Any = getattr(os, name)

                def counted(*words: Any, real: Any = real, **how: Any) -> Any:
                    left[0] -= 1
                    if left[0] <= 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*words, **how)

                setattr(os, name, counted)

        done = sr("create", f"::killed{round_number}", "src", before=hook)
        assert done.code in (-9, 0)
        sr("check").ok()
    continues(sr, tree)
    assert set(sr.names()) >= {"first", "next"}


def test_init_killed_at_any_moment(program: Program) -> None:
    for step in range(1, 40, 2):
        program.env["STRONGROOM_REPO"] = str(program.root / f"repo{step}")
        left = [step]

        def hook(left: list[int] = left) -> None:
            for name in ("fsync", "link", "mkdir", "writev"):
                real: Any = getattr(os, name)

                def counted(*words: Any, real: Any = real, **how: Any) -> Any:
                    left[0] -= 1
                    if left[0] <= 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*words, **how)

                setattr(os, name, counted)

        done = program("init", "-e", "repokey", before=hook)
        again = program("init", "-e", "repokey")
        if again.code:
            # it is there: either whole, or it says what to do
            listed = program("list")
            assert listed.code == 0 or "init" in listed.sentence(), listed
        else:
            program("list").ok()
        if done.code == 0:
            return
    raise AssertionError("init never came to its end")


def test_killed_from_outside_while_it_uploads(sr: Program, tree: Path) -> None:
    running = sr.start("create", "::a", "src")
    wait_until(lambda: bool(packs_of(sr)))
    running.signal(signal.SIGKILL)
    assert running.wait().code in (-9, 0)
    kept = sr.stored()
    assert continues(sr, tree) <= (FILES + 1) * SIZE - kept


def test_a_lost_cache_after_a_kill(sr: Program, tree: Path) -> None:
    sr("create", "::a", "src", before=act_at("10", lambda: os.kill(os.getpid(), signal.SIGKILL)))
    sr.lose_cache()
    continues(sr, tree)


def test_an_upload_that_was_taken_away_is_made_again(sr: Program, tree: Path) -> None:
    """The server cleaned up what no record named: nothing relies on it."""
    sr("create", "::a", "src", before=interrupt_at("10"))
    for pack in packs_of(sr):
        pack.unlink()
    continues(sr, tree)


@pytest.mark.parametrize("shared_cache", [True, False])
def test_two_at_once_both_commit(sr: Program, tree: Path, shared_cache: bool) -> None:
    other = sr if shared_cache else sr.another("base2")
    both = [sr.start("create", "::one", "src"), other.start("create", "::two", "src")]
    for running in both:
        running.wait().ok()
    assert sorted(sr.names()) == ["one", "two"]
    sr("check", "--verify-data").ok()
    for archive in ("one", "two"):
        assert differences(facts(tree), facts(sr.extract(archive) / "src")) == []
    for program in (sr, other):
        assert program("create", "::{uuid4}", "src").ok()
    sr("check", "--verify-data").ok()


def test_one_is_killed_while_another_from_the_same_cache_goes_on(sr: Program, tree: Path) -> None:
    first, second = sr.start("create", "::one", "src"), sr.start("create", "::two", "src")
    wait_until(lambda: bool(packs_of(sr)))
    first.signal(signal.SIGKILL)
    first.wait()
    second.wait().ok()
    continues(sr, tree)


def test_two_of_the_same_name_at_once(sr: Program, tree: Path) -> None:
    both = [sr.start("create", "::same", "src/00"), sr.another("base2").start("create", "::same", "src/00")]
    codes = sorted(running.wait().code for running in both)
    assert codes in ([0, 2], [2, 0]) and sr.names() == ["same"]
    sr("check", "--verify-data").ok()


def test_many_writers_at_once(sr: Program, src: Path) -> None:
    (src / "f").write_text("x")
    machines = [sr.another(f"base{number}") for number in range(6)]
    for running in [one.start("create", f"::m{n}", "src") for n, one in enumerate(machines)]:
        running.wait().ok()
    assert len(sr.names()) == 6
    sr("check", "--verify-data").ok()


def test_extract_interrupted(sr: Program, tree: Path) -> None:
    sr("create", "::a", "src").ok()
    out = sr.root / "out"
    out.mkdir()
    done = sr("extract", "::a", cwd=out, before=interrupt_at("06"))
    assert done.code == 130 and "Traceback" not in done.err
    sr("extract", "::a", cwd=out).ok()
    assert differences(facts(tree), facts(out / "src")) == []


def test_a_reader_that_stops_reading(sr: Program, tree: Path) -> None:
    sr("create", "::a", "src").ok()
    read, write = os.pipe()
    os.close(read)

    def broken() -> None:
        os.dup2(write, 1)

    assert sr("extract", "--stdout", "::a", before=broken).code == 0
    assert sr("list", "::a", before=broken).code == 0
    os.close(write)


@pytest.mark.parametrize("words", [("extract", "--stdout", "::a"), ("export-tar", "::a", "-")])
def test_a_signal_ends_a_stream_that_nobody_reads(sr: Program, tree: Path, words: tuple[str, ...]) -> None:
    sr("create", "::a", "src").ok()
    read, write = os.pipe()

    def into_the_pipe() -> None:
        os.dup2(write, 1)

    def is_full() -> bool:
        return not select.select([], [write], [], 0)[1]

    running = sr.start(*words, before=into_the_pipe)
    wait_until(is_full)  # so it is in the middle of a write that ends with the signal alone
    running.signal(signal.SIGINT)
    done = running.wait()
    assert done.code == 130 and "Traceback" not in done.err
    os.close(read)
    os.close(write)


def test_log_json_tells_of_the_stop(sr: Program, tree: Path) -> None:
    done = sr("--log-json", "create", "::a", "src", before=interrupt_at("06"))
    assert done.code == 130
    for line in done.err.splitlines():
        assert json.loads(line)["type"]
