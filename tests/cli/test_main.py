"""The whole program, without a repository: start-up, failures, signals, exit codes."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from strongroom import __version__
from strongroom.cli import arguments, main
from strongroom.cli.commands import version
from strongroom.cli.failures import explain
from strongroom.cli.signals import Interrupted, Signals
from strongroom.errors import ArchiveMissing, Damaged, StoreFull
from strongroom.reporting import FILE_CHANGED, PERMISSION, Notice, StopFlag

HEAVY = ("lmdb", "cryptography", "rich", "msgspec", "blake3", "zstandard", "asyncio", "strongroom.repository")


def program(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
    return subprocess.run(
        [sys.executable, "-m", "strongroom", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["create", "--help"], ["list", "--help"]])
def test_help_and_version_load_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom strongroom.cli.main import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version() -> None:
    assert program("--version").stdout == f"strongroom {__version__}\n"
    assert program("version").stdout == f"{__version__} / {__version__}\n"


def test_every_topic_and_command_has_help() -> None:
    from strongroom.cli.commands.help import TOPICS, topic_text

    for topic in TOPICS:
        assert topic_text(topic).isascii() or topic == "compression"
        assert max(map(len, topic_text(topic).splitlines())) <= 100
    assert "STYLE" in program("help", "patterns").stdout
    assert program("help", "key", "export").stdout == program("key", "export", "--help").stdout
    assert program("help", "nonsense").returncode == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_completion_knows_commands_and_options(shell: str) -> None:
    done = program("completion", shell)
    assert done.returncode == 0
    assert "change-passphrase" in done.stdout and "exclude-if-present" in done.stdout


def test_errors_are_one_sentence_with_borgs_code(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    done = program("--show-rc", "list", missing)
    assert done.returncode == 2
    assert missing in done.stderr and len(done.stderr.splitlines()) == 2
    assert done.stderr.splitlines()[1] == "terminating with error status, rc 2"
    assert program("list", missing, BORG_EXIT_CODES="modern").returncode == 13
    assert program("list", "{nope}", STRONGROOM_EXIT_CODES="modern").returncode == 6
    assert "Traceback" not in done.stderr
    assert "Traceback" in program("--debug", "list", missing).stderr


# --- with a command of the test's own ---


def test_warnings_decide_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*kinds: tuple[str, int]) -> int:
        monkeypatch.setattr(
            version, "run", lambda session: [session.output.warn(Notice("x", *k)) for k in kinds]
        )
        return main.run(["version"])

    assert warn() == 0
    assert warn(FILE_CHANGED) == 1
    monkeypatch.setenv("BORG_EXIT_CODES", "modern")
    assert warn(FILE_CHANGED, FILE_CHANGED) == 100
    assert warn(FILE_CHANGED, PERMISSION) == 1


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def run(session: object) -> None:
        raise error

    monkeypatch.setattr(version, "run", run)
    return main.run(["version"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ArchiveMissing("Archive x does not exist."), 2, "Archive x does not exist."),
        (OSError(errno.ENOSPC, "No space left on device", "/srv"), 2, "/srv: No space left on device. Free"),
        (PermissionError(errno.EACCES, "Permission denied", b"/a\xff"), 2, "/a?: Permission denied."),
        (KeyboardInterrupt(), 130, "Stopped by SIGINT."),
        (Interrupted(signal.SIGTERM), 143, "Stopped by SIGTERM."),
        (MemoryError(), 2, "no memory"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 2, "Broken pipe."),
        (ZeroDivisionError("oops"), 2, "Internal error: ZeroDivisionError: oops."),
        (ExceptionGroup("workers", [StoreFull("The disk is full.")]), 2, "The disk is full."),
    ],
)
def test_failures_are_a_sentence(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert failing(monkeypatch, error) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown
    assert len(shown.splitlines()) == 1


def test_modern_codes_of_failures() -> None:
    assert explain(Damaged("x"), modern=True).code == 90
    assert explain(OSError(errno.ENOSPC, "full"), modern=True).code == 14
    assert explain(RuntimeError("x"), modern=True).is_bug


def test_an_error_wins_over_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(session: object) -> None:
        session.output.warn(Notice("x", *FILE_CHANGED))  # type: ignore[attr-defined]
        raise ArchiveMissing("gone")

    monkeypatch.setattr(version, "run", run)
    assert main.run(["version"]) == 2


def test_debug_adds_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(session: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(version, "run", run)
    main.run(["--debug", "version"])
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "Platform:" in shown
    monkeypatch.setenv("BORG_SHOW_SYSINFO", "no")
    main.run(["--debug", "version"])
    assert "Platform:" not in capsys.readouterr().err


def test_umask_is_set_before_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def run(session: object) -> None:
        seen.append(os.umask(0o22))

    monkeypatch.setattr(version, "run", run)
    before = os.umask(0o22)
    try:
        main.run(["version"])
        main.run(["--umask", "0027", "version"])
    finally:
        os.umask(before)
    assert seen == [0o077, 0o027]


def test_a_profile_can_be_written(tmp_path: Path) -> None:
    import pstats

    file = tmp_path / "profile"
    assert main.run(["--debug-profile", str(file), "version"]) == 0
    assert pstats.Stats(str(file)).total_calls > 0  # type: ignore[attr-defined]


def test_closed_standard_output_ends_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "strongroom", "version"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert done.returncode == 0
    assert done.stderr == b""


# --- signals ---


def test_the_first_signal_asks_and_the_second_insists() -> None:
    stop, said = StopFlag(), []
    signals = Signals(stop, lambda: said.append("stopping"), lambda: said.append("info"))
    with signals.installed(), signals.graceful():
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested and stop.signal == signal.SIGTERM
        assert said == ["stopping"]
        with pytest.raises(Interrupted) as end:
            signal.raise_signal(signal.SIGINT)
        assert end.value.number == signal.SIGINT


def test_commands_that_cannot_stop_cleanly_stop_at_once() -> None:
    signals = Signals(StopFlag(), lambda: None, lambda: None)
    with signals.installed(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_handlers_are_put_back_and_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        old = signal.getsignal(signal.SIGINT)
        signals = Signals(StopFlag(), lambda: None, lambda: None)
        with signals.installed():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGINT) is not old
        assert signal.getsignal(signal.SIGINT) is old
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_can_ask_for_progress() -> None:
    said: list[str] = []
    with Signals(StopFlag(), lambda: None, lambda: said.append("info")).installed():
        signal.raise_signal(signal.SIGUSR1)
    assert said == ["info"]


def test_a_clean_stop_still_exits_with_the_signal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(session: object) -> None:
        with session.signals.graceful():  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGINT)
            assert session.output.stop.requested  # type: ignore[attr-defined]

    monkeypatch.setattr(version, "run", run)
    assert main.run(["version"]) == 130
    assert "again stops at once" in capsys.readouterr().err


def test_modules_of_commands_have_what_is_expected_of_them() -> None:
    from importlib import import_module

    from strongroom.cli.commands import COMMANDS, GROUPS

    for command in COMMANDS:
        module: ModuleType | SimpleNamespace = import_module(f"strongroom.cli.commands.{command.module}")
        assert module.DESCRIPTION and module.EPILOG and callable(module.define) and callable(module.run)
        group = command.name.rpartition(" ")[0]
        assert not group or group in GROUPS
    assert arguments.build().format_help()
