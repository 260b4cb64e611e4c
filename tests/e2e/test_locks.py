"""with-lock and break-lock, and those who wait for them."""

import os
import signal
from pathlib import Path

import pytest

from program import Program, wait_until


def leases(program: Program) -> list[Path]:
    return list((program.repo / "leases").glob("*"))


def test_the_commands_exit_code_is_passed_on(sr: Program) -> None:
    assert sr("with-lock", "::", "true").ok().out == ""
    assert sr("with-lock", "::", "sh", "-c", "exit 7").code == 7
    assert sr("with-lock", "::", "sh", "-c", "kill -9 $$").code == 128 + 9
    done = sr("with-lock", "::", "sh", "-c", "echo out; echo err >&2; echo ${STRONGROOM_PASSPHRASE-unset}")
    assert (done.out, done.err) == ("out\nunset\n", "err\n")
    assert "rc 7" in sr("with-lock", "--show-rc", "::", "sh", "-c", "exit 7").err
    assert "no-such-program" in sr("with-lock", "::", "no-such-program", "-x").sentence()
    assert sr("with-lock", "::").code == 2
    assert not leases(sr)


def test_nobody_else_writes_meanwhile_and_everybody_reads(sr: Program, src: Path) -> None:
    (src / "file").write_text("content")
    sr("create", "::before", "src").ok()
    os.mkfifo(sr.cwd / "go")
    running = sr.start("with-lock", "::", "sh", "-c", "echo begun; read line < go; exit 3")
    wait_until(lambda: os.pread(running.out.fileno(), 10, 0) == b"begun\n")
    modern = {"STRONGROOM_EXIT_CODES": "modern"}
    for words in (["create", "::b", "src"], ["delete", "::before"], ["rename", "::before", "b"]):
        refused = sr(*words, "--lock-wait", "0", env=modern)
        assert refused.code == 73 and "with-lock" in refused.sentence(), refused
    assert sr("with-lock", "--lock-wait", "0", "::", "true", env=modern).code == 73
    assert sr.names() == ["before"]
    waiting = sr.start("create", "--lock-wait", "60", "::after", "src")
    (sr.cwd / "go").write_text("\n")
    assert running.wait().code == 3
    waiting.wait().ok()
    assert sr.names() == ["before", "after"] and not leases(sr)


def test_break_lock_says_which(sr: Program, src: Path) -> None:
    os.mkfifo(sr.cwd / "go")
    running = sr.start("with-lock", "::", "sh", "-c", "echo begun; read line < go")
    wait_until(lambda: os.pread(running.out.fileno(), 10, 0) == b"begun\n")
    said = sr("break-lock").ok().err
    assert f"with-lock (exclusive), process {running.pid} on " in said
    sr("create", "--lock-wait", "0", "::a", "src").ok()
    (sr.cwd / "go").write_text("\n")
    running.wait().ok()
    assert sr("break-lock").ok().err == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_before_the_lock(sr: Program, number: int) -> None:
    script = f"trap 'ls {sr.repo}/leases | wc -l; exit 5' INT TERM; echo begun; while :; do sleep 0.01; done"
    running = sr.start("with-lock", "::", "sh", "-c", script)
    wait_until(lambda: os.pread(running.out.fileno(), 10, 0) == b"begun\n")
    running.signal(number)
    done = running.wait()
    assert done.code == 128 + number and done.out == "begun\n1\n"
    assert not leases(sr)


def test_a_killed_writer_on_this_machine_holds_nobody_back(sr: Program, src: Path) -> None:
    os.mkfifo(sr.cwd / "go")
    running = sr.start("with-lock", "::", "sh", "-c", "echo begun; read line < go")
    wait_until(lambda: os.pread(running.out.fileno(), 10, 0) == b"begun\n")
    running.signal(signal.SIGKILL)
    os.waitpid(running.pid, 0)
    running.pid = 0
    (sr.cwd / "go").write_text("\n")
    assert leases(sr)
    sr("create", "--lock-wait", "0", "::a", "src").ok()
    assert not leases(sr)
