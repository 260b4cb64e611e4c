"""Whole runs of the program: each in a process of its own, with folders of its own.

The process is forked from the tests', where everything is imported already: the real `main`, real
signals, users and limits, at a tenth of a fresh interpreter's cost.
"""

# ruff: noqa: SIM115, BLE001  # descriptors are handed to another process, which reports all errors

import contextlib
import faulthandler
import functools
import importlib
import itertools
import json
import os
import pkgutil
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import strongroom
from economy import make_repositories_cheap
from strongroom.cli import main
from strongroom.commands.mount import choose_libfuse

NOBODY = 65534
NOT_IMPORTED = ("strongroom.__main__", "strongroom.web")  # the one runs the program; few runs need the other
LEFTOVER_THREADS = 70  # exit code of a run that left threads behind
ESCAPED = 71  # of one that an exception got out of

# a user may not be able to read the interpreter's library: nothing must be left to import
for needed in (
    *("getpass", "encodings.ascii", "encodings.idna"),
    *("lmdb._envid", "zfec", "cryptography.hazmat.backends.openssl.backend"),
):
    importlib.import_module(needed)
choose_libfuse()
for module in pkgutil.walk_packages(strongroom.__path__, "strongroom."):
    if not module.name.startswith(NOT_IMPORTED):
        with contextlib.suppress(OSError if module.name.endswith(".fuse") else ()):  # no libfuse here
            importlib.import_module(module.name)


class Done(NamedTuple):
    code: int
    raw: bytes  # standard output
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode("utf-8", "surrogateescape")

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def letters(self) -> dict[str, str]:
        """Of `create --list`: the status letter of each path."""
        return {line[2:]: line[0] for line in self.err.splitlines() if line[1:2] == " "}

    def ok(self) -> "Done":
        assert self.code == 0, (self.code, self.err)
        return self

    def sentence(self) -> str:
        """The one line that an error is told in."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err and "Internal error" not in self.err, self.err
        assert len(lines[0]) > 10 and self.code not in (0, 1), self
        return lines[0]


@dataclass
class Running:
    pid: int
    out: Any
    err: Any
    usage: "resource.struct_rusage | None" = None  # once it has ended

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> Done:
        _, status, self.usage = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.pid = 0
        for stream in (self.out, self.err):
            stream.seek(0)
        done = Done(code, self.out.read(), self.err.read().decode("utf-8", "backslashreplace"))
        self.out.close()
        self.err.close()
        assert code not in (ESCAPED, LEFTOVER_THREADS), done.err
        return done

    def said(self) -> str:
        """Standard error up to now."""
        return os.pread(self.err.fileno(), 1 << 20, 0).decode("utf-8", "backslashreplace")


@dataclass
class Program:
    """Runs `strongroom`: `program("create", "::a", "src")`; `cwd` is where, `env` what is set."""

    root: Path
    cwd: Path
    env: dict[str, str]
    uid: int | None = None
    umask: int = 0o022
    called: str = "strongroom"
    running: list[Running] = field(default_factory=list)

    def __call__(self, *words: str | bytes | Path, **how: Any) -> Done:
        return self.start(*words, **how).wait()

    def start(
        self,
        *words: str | bytes | Path,
        cwd: str | bytes | Path | None = None,
        env: dict[str, str | None] | None = None,
        stdin: int | bytes | None = None,
        before: Callable[[], None] | None = None,
    ) -> Running:
        """`before` is called in the new process, to set limits and the like."""
        running = Running(0, tempfile.TemporaryFile(), tempfile.TemporaryFile())
        sent = None
        if isinstance(stdin, bytes):
            sent = tempfile.TemporaryFile()
            sent.write(stdin)
            sent.seek(0)
            stdin = sent.fileno()
        running.pid = os.fork()
        if not running.pid:
            code = ESCAPED
            try:
                self._child(running, [os.fsdecode(word) for word in words], cwd, env or {}, stdin, before)
                main.main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1 if end.code else 0
                # libfuse's own threads leave dummies behind
                left = [one for one in threading.enumerate() if not isinstance(one, threading._DummyThread)]
                if len(left) > 1:
                    code = LEFTOVER_THREADS
                    os.write(2, repr(threading.enumerate()).encode())
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                with contextlib.suppress(Exception):
                    sys.stdout.flush()
                with contextlib.suppress(Exception):
                    sys.stderr.flush()
                os._exit(code)
        if sent is not None:
            sent.close()
        self.running.append(running)
        return running

    def in_turn(self, *runs: Sequence[str | Path]) -> list[Done]:
        """Several runs in one process, which costs half as much; for what asks nothing of a process."""
        *earlier, last = runs
        files = [(tempfile.TemporaryFile(), tempfile.TemporaryFile()) for _ in earlier]
        codes = tempfile.TemporaryFile()

        def play() -> None:
            usual = os.dup(1), os.dup(2)
            try:
                for words, streams in zip(earlier, files, strict=True):
                    for number, stream in enumerate(streams, 1):
                        os.dup2(stream.fileno(), number)
                    code = main.run([os.fsdecode(word) for word in words])
                    os.write(codes.fileno(), b"%d\n" % code)
                    sys.stdout.flush()
            finally:  # what escapes from a run is told where the whole process tells it
                for number, stream in enumerate(usual, 1):
                    os.dup2(stream, number)

        done = self(*last, before=play)
        for stream in (codes, *itertools.chain(*files)):
            stream.seek(0)
        ended = codes.readlines()
        if len(ended) < len(files):
            raise AssertionError(_unended(runs[len(ended)], done, files[len(ended)]))
        found = [
            Done(int(code), out.read(), err.read().decode("utf-8", "backslashreplace"))
            for code, (out, err) in zip(ended, files, strict=True)
        ]
        return [*found, done]

    def _child(
        self,
        running: Running,
        words: list[str],
        cwd: str | bytes | Path | None,
        env: dict[str, str | None],
        stdin: int | None,
        before: Callable[[], None] | None,
    ) -> None:
        os.chdir(cwd or self.cwd)
        os.umask(self.umask)
        for name in [name for name in os.environ if name.startswith(("STRONGROOM_", "BORG_"))]:
            del os.environ[name]
        for name, value in (self.env | env).items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        os.dup2(os.open(os.devnull, os.O_RDONLY) if stdin is None else stdin, 0)
        os.dup2(running.out.fileno(), 1)
        os.dup2(running.err.fileno(), 2)
        sys.stdin = open(0, encoding="utf-8", closefd=False)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        sys.argv = [self.called, *words]
        faulthandler.enable(2)  # where a crash of compiled code came from
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        make_repositories_cheap()
        if before is not None:
            before()
        if self.uid is not None:
            os.setgroups([])
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)

    # --- what tests do again and again ---

    @property
    def repo(self) -> Path:
        return Path(self.env.get("STRONGROOM_REPO") or self.env["BORG_REPO"])

    def caches(self) -> list[Path]:
        return sorted((Path(self.env["STRONGROOM_BASE_DIR"]) / ".cache" / "strongroom").iterdir())

    def lose_cache(self) -> None:
        shutil.rmtree(Path(self.env["STRONGROOM_BASE_DIR"]) / ".cache", ignore_errors=True)

    def names(self) -> list[str]:
        return self("list", "--short").ok().out.split()

    def paths(self, archive: str) -> list[str]:
        return self("list", "--short", f"::{archive}").ok().out.splitlines()

    def extract(self, archive: str, *words: str, into: str = "out") -> Path:
        """The folder that it was restored to, emptied before."""
        place = self.root / into
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        self("extract", f"::{archive}", *words, cwd=place).ok()
        return place

    def stored(self) -> int:
        """Bytes of all packs."""
        return sum(path.stat().st_size for path in self.repo.glob("packs/*/*"))

    def another(self, name: str, **env: str) -> "Program":
        """The same on another machine: with a base folder of its own."""
        base = str(self.root / name)
        made = Program(self.root, self.cwd, self.env | {"STRONGROOM_BASE_DIR": base} | env, self.uid)
        made.running = self.running
        return made


def _unended(words: Sequence[str | Path], process: Done, streams: Sequence[Any]) -> str:
    """Why a run in a process with others gave no exit code: the process did, and what each had said."""
    how = f"exit code {process.code}" if process.code >= 0 else signal.Signals(-process.code).name
    out, err = (stream.read()[-3000:].decode("utf-8", "backslashreplace") for stream in streams)
    said = f"{err!r}, {process.err!r}, {out!r}"
    return f"{[*map(str, words)]} gave no exit code, its process ended by {how}: {said}"


def fast_folder() -> str | None:
    """Where syncing to disk costs nothing; None for the usual place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None


def make_program(root: Path) -> Program:
    work = root / "work"
    work.mkdir()
    env = {
        "STRONGROOM_BASE_DIR": str(root / "base"),
        "STRONGROOM_REPO": str(root / "repo"),
        "STRONGROOM_PASSPHRASE": "a secret",
    }
    return Program(root, work, env)


def end_all(program: Program) -> None:
    for running in program.running:
        if running.pid:
            os.kill(running.pid, signal.SIGKILL)
            os.waitpid(running.pid, 0)


def remove_tree(path: Path) -> None:
    """Whatever its depth, its permissions and its flags."""
    if not subprocess.run(["rm", "-rf", str(path)], capture_output=True, check=False).returncode:
        return
    subprocess.run(["chattr", "-R", "-f", "-i", "-a", str(path)], capture_output=True, check=False)
    subprocess.run(["chmod", "-R", "u+rwx", str(path)], capture_output=True, check=False)
    subprocess.run(["rm", "-rf", str(path)], check=True)


def wait_until(reached: Callable[[], bool], seconds: float = 60) -> None:
    """Give way to other processes until something is so."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "waited in vain"
        os.sched_yield()


def clock_ahead() -> None:
    """For `before`: the run happens ten seconds from now, when no file counts as just changed."""
    real = time.time_ns
    time.time_ns = lambda: real() + 10_000_000_000


@functools.lru_cache(maxsize=64)
def patterned(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)
