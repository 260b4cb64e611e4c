"""The program: parse, run, and end with one sentence and Borg's exit code, whatever happens."""

import gc
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from strongroom import __version__
from strongroom.cli import arguments, identity
from strongroom.cli.exits import SIGNAL_BASE, return_code_line, warning_code

if TYPE_CHECKING:
    from strongroom.cli.environment import Environment
    from strongroom.cli.failures import Failure
    from strongroom.cli.output import Output
    from strongroom.cli.session import Session
    from strongroom.cli.signals import Signals


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the program with these words (without its name) and exit."""
    gc.set_threshold(50_000)  # a start makes many objects, which stay: 700 is too soon to look
    code = run(sys.argv[1:] if argv is None else argv)
    _let_go_of_stdout()
    background = sys.modules.get("strongroom.cli.background")
    if background is not None and background.left_to:
        # tidying up writes to all memory, which is shared with the child: 10 ms that somebody waits for
        os._exit(code)
    sys.exit(code)


def run(words: Sequence[str]) -> int:
    """Run the program; returns the exit code. Exits on its own only for help and usage errors."""
    args = arguments.parse(words)
    from strongroom.cli.environment import Environment
    from strongroom.cli.output import Output

    environment = Environment()
    output = Output(
        level=args.log_level,
        log_json=args.log_json,
        show_progress=args.progress,
        list_files=getattr(args, "output_list", False),
        statuses=getattr(args, "output_filter", None),
        iec=args.iec,
    )
    code = _guarded(args, environment, output)
    output.close()
    if args.show_rc:
        level, line = return_code_line(code)
        output.emit(level, line, name="strongroom.output.show-rc")
    return code


def _guarded(args: Namespace, environment: "Environment", output: "Output") -> int:
    from strongroom.cli.failures import explain
    from strongroom.cli.output import OutputClosed
    from strongroom.cli.signals import Signals

    modern = environment.modern_exit_codes
    signals = Signals(output.stop, lambda: _announce_stop(output), output.show_now)
    code = 0
    try:
        with signals.installed():
            code = _run_command(args, environment, output, signals)
            output.flush()
    except OutputClosed:
        pass  # `strongroom list | head`: whoever reads has enough, as with Borg
    except BaseException as error:  # the one place where everything ends
        if isinstance(error, SystemExit):
            raise
        _report(error, explain(error, modern=modern), args, environment, output)
        with suppress(OutputClosed, OSError):
            output.flush()
        if output.stop.signal is not None:
            return SIGNAL_BASE + output.stop.signal
        return explain(error, modern=modern).code
    if output.stop.signal is not None:
        return SIGNAL_BASE + output.stop.signal
    return code or warning_code((notice.code for notice in output.notices), modern=modern)


def _run_command(args: Namespace, environment: "Environment", output: "Output", signals: "Signals") -> int:
    """The exit code that the command asks for; 0 lets the warnings decide."""
    load_msgspec()
    from strongroom.cli.instead import told_of
    from strongroom.cli.session import Session

    os.umask(args.umask)
    if args.show_version:
        words = identity.version_shown(__version__)
        output.emit("info", words, name="strongroom.output.show-version")
    for level, sentence in told_of(args.command.name, args.words):
        output.log(level, sentence)
    module = import_module(f"strongroom.cli.commands.{args.command.module}")
    session = Session(args, environment, output, signals)
    try:
        if args.debug_profile:
            _profiled(args, module.run, session)
        else:
            module.run(session)
    finally:
        session.end()
    return session.exit_code


def _profiled(args: Namespace, run: "Callable[[Session], None]", session: "Session") -> None:
    import cProfile

    with open(args.debug_profile, "wb"):  # a wrong name is told now, not after the run
        pass
    profiler = cProfile.Profile()
    try:
        profiler.runcall(run, session)
    finally:
        profiler.dump_stats(args.debug_profile)


def load_msgspec() -> None:
    """As where typing_extensions is not installed, which it can do without: that one takes longer to load."""
    absent = "typing_extensions" not in sys.modules
    if absent:
        sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # the import system's "not there"
    try:
        import_module("msgspec")
    finally:
        if absent:
            del sys.modules["typing_extensions"]


def _report(
    error: BaseException, failure: "Failure", args: Namespace, environment: "Environment", output: "Output"
) -> None:
    from strongroom.cli.failures import details

    with suppress(OSError):  # standard error may be what broke
        output.close()
        output.log("error", failure.sentence, msgid=failure.msgid)
        if args.log_level == "debug":
            sysinfo = failure.is_bug and environment.is_yes("SHOW_SYSINFO", default=True)
            output.log("debug", details(error, sysinfo=sysinfo))


def _announce_stop(output: "Output") -> None:
    output.log("warning", "Stopping as soon as it is safe; the same signal again stops at once.")


def _let_go_of_stdout() -> None:
    """Keep the interpreter from failing on a closed pipe while it shuts down."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
