"""Whole programs that read or write while another one moves and frees the packs that they know of."""

import io
import os
import signal
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mounting import mounted, needs_fuse
from program import Program, Running, patterned, wait_until
from sshd import direct_rsh
from strongroom.archive.chunking import MAXIMUM

FILES = 40
SIZE = 700_000


@pytest.fixture
def halved(sr: Program, src: Path) -> Program:
    """An archive `kept` that uses half of each of several packs; the other half is dead."""
    for number in range(FILES):
        (src / f"{number:02d}").write_bytes(patterned(SIZE, number))
        if number % 8 == 7:
            sr("create", f"::all{number}", "src").ok()
    for number in range(0, FILES, 2):
        (src / f"{number:02d}").unlink()
    sr("create", "::kept", "src").ok()
    sr("delete", "-a", "all*").ok()
    return sr


def compacted(program: Program) -> None:
    """By somebody with a cache of his own: whoever was stopped may hold the lock of the common one."""
    before = set(program.repo.glob("packs/*/*"))
    other = {"STRONGROOM_CACHE_DIR": str(program.root / "cache of another")}
    program("compact", "--quarantine", "0", "--threshold", "0", env=other).ok()
    after = set(program.repo.glob("packs/*/*"))
    assert len(before - after) >= 4 and after - before, "packs were moved"


def halt(running: Running, reached: Callable[[], bool]) -> None:
    """Stop a program in its midst."""
    wait_until(reached)
    running.signal(signal.SIGSTOP)


def test_extract_goes_on_when_its_packs_are_moved(halved: Program) -> None:
    out = halved.root / "out"
    out.mkdir()
    # opened by now: the writer waits for somebody who reads
    running = halved.start("extract", "::kept", cwd=out)
    halt(running, lambda: (out / "src").exists())
    compacted(halved)
    running.signal(signal.SIGCONT)
    running.wait().ok()
    for number in range(1, FILES, 2):
        assert (out / f"src/{number:02d}").read_bytes() == patterned(SIZE, number)


def test_extract_to_a_pipe_goes_on_when_its_packs_are_moved(halved: Program) -> None:
    reading, writing = os.pipe()
    running = halved.start("extract", "--stdout", "::kept", before=lambda: [os.dup2(writing, 1), None][1])
    os.close(writing)
    with open(reading, "rb") as stream:
        got = stream.read(1000)
        compacted(halved)
        got += stream.read()
    running.wait().ok()
    assert got == b"".join(patterned(SIZE, number) for number in range(1, FILES, 2))


@needs_fuse
def test_a_mount_goes_on_when_its_packs_are_moved_again_and_again(halved: Program) -> None:
    with mounted(halved, "::kept") as top:
        assert (top / "src/01").read_bytes() == patterned(SIZE, 1)
        compacted(halved)
        assert (top / "src/39").read_bytes() == patterned(SIZE, 39)
        for number in range(3):  # the same packs once more, at once
            (halved.cwd / "src/more").write_bytes(patterned(SIZE, 100 + number))
            halved("create", f"::more{number}", "src").ok()
        for number in range(1, FILES, 2):
            assert (top / f"src/{number:02d}").read_bytes() == patterned(SIZE, number)


def test_check_goes_on_when_its_packs_are_moved(halved: Program) -> None:
    running = halved.start("check", "--verify-data", "--progress")
    halt(running, lambda: bool(running.said()))
    compacted(halved)
    running.signal(signal.SIGCONT)
    running.wait().ok()


@pytest.mark.parametrize("sent", ["half of it", "nothing"])
@pytest.mark.parametrize("words", [("create",), ("import-tar", "--ignore-zeros")], ids=" ".join)
def test_what_comes_by_a_pipe_rests_on_nothing_that_is_freed(
    halved: Program, words: tuple[str, ...], sent: str
) -> None:
    """All of it was stored before, by archives that are freed while it comes."""
    wanted = content = b"".join(patterned(SIZE, number) for number in range(0, FILES, 2))
    if words[0] == "import-tar":
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            info = tarfile.TarInfo("stdin")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        content = packed.getvalue()
    halved(words[0], "::earlier", "-", *words[1:], stdin=content).ok()
    halved("delete", "::earlier").ok()
    reading, writing = os.pipe()

    def close() -> None:
        os.close(writing)

    running = halved.start(words[0], "::piped", "-", *words[1:], stdin=reading, before=close)
    os.close(reading)
    with open(writing, "wb", buffering=0) as stream:
        half = len(content) // 2 if sent == "half of it" else 1
        stream.write(content[:half])
        halved("compact", "--quarantine", "0", "--threshold", "0", before=close).ok()
        stream.write(content[half:])
    running.wait().ok()
    assert halved("extract", "--stdout", "::piped").ok().raw == wanted
    halved("check", "--verify-data").ok()


def test_what_comes_by_a_pipe_is_deduplicated_against_what_lives(halved: Program) -> None:
    content = b"".join(patterned(SIZE, number) for number in range(1, FILES, 2))
    halved("create", "::first", "-", stdin=content).ok()
    before = halved.stored()
    halved("create", "::second", "-", stdin=content + patterned(SIZE, 999)).ok()
    # what is new, and the chunk in which the old content ended
    assert SIZE < halved.stored() - before < MAXIMUM + 2 * SIZE < len(content)


def a_year_ahead() -> None:
    real = time.time_ns
    time.time_ns = lambda: real() + 365 * 24 * 3600 * 10**9


def test_an_administrators_clock_ends_no_quarantine_on_a_server(program: Program, src: Path) -> None:
    """Nor does it make one longer: what counts is the clock that stamped the deletion."""
    program.env |= {
        "STRONGROOM_RSH": direct_rsh(program.root),
        "STRONGROOM_REPO": f"ssh://server{program.root}/repo",
    }
    program("init", "-e", "repokey").ok()
    (src / "a").write_bytes(patterned(20_000))
    program("create", "::a", "src").ok()
    program("delete", "::a").ok()
    done = program.start("compact", "--list", before=a_year_ahead).wait().ok()
    assert "Waits for its quarantine to end: a " in done.err and "Freed" not in done.err
    program("undelete", "::a").ok()
    assert (program.extract("a") / "src/a").read_bytes() == patterned(20_000)
