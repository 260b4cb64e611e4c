"""All that the program says: results on standard output, everything else on standard error."""

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import BinaryIO, TextIO, cast

from strongroom.cli import identity
from strongroom.cli import progress as view
from strongroom.cli.printable import path_text, printable_lines, without_surrogates
from strongroom.reporting import Notice, Progress, StopFlag

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

BORG_MSGIDS = {
    "check.packs": "repository.check",
    "check.archives": "check.rebuild_refcounts",
    "compact": "repository.compact_segments",
    "export-tar": "extract",
}
"""Operations that Borg has too, under names that front ends know."""


class OutputClosed(Exception):
    """Nobody reads standard output any more: `strongroom list | head`."""


class Output:
    """The reporter of the command line, the log, and the results.

    `level` is the least level of log messages that are shown; `statuses` limits `--list` to these
    status letters. Notices are collected: the exit code depends on them.
    """

    def __init__(
        self,
        *,
        level: str = "warning",
        log_json: bool = False,
        show_progress: bool = False,
        list_files: bool = False,
        statuses: str | None = None,
        iec: bool = False,
        stdout: BinaryIO | None = None,
        stderr: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stop = StopFlag()
        self.notices: list[Notice] = []
        self.wants_files = list_files
        self.log_json = log_json
        self._level = LEVELS[level]
        self._statuses = statuses
        self._show_progress = show_progress
        self._iec = iec
        self.dated = False  # each line begins with the time: for a log file
        self.letters: dict[str, str] = {}  # to show in place of these status letters
        self._stdout = stdout if stdout is not None else sys.stdout.buffer
        self._stderr = stderr if stderr is not None else sys.stderr
        self._clock = clock
        # reentrant: a signal handler may print while the main thread does
        self._lock = threading.RLock()
        self._last: tuple[str, Progress] | None = None
        self._operations: dict[str, int] = {}
        self._rate = view.Rate(clock)
        self._due = 0.0
        self._live: view.LiveDisplay | None = None

    # --- results ---

    def write(self, text: str) -> None:
        """To standard output. Surrogates become the bytes that they stand for."""
        self.write_bytes(text.encode("utf-8", "surrogateescape"))

    def write_bytes(self, data: bytes | bytearray | memoryview) -> None:
        try:
            self._stdout.write(data)
        except BrokenPipeError as error:
            raise OutputClosed from error

    def flush(self) -> None:
        try:
            self._stdout.flush()
        except BrokenPipeError as error:
            raise OutputClosed from error

    @property
    def stream(self) -> BinaryIO:
        """Standard output for bulk data; raises `OutputClosed` as `write` does."""
        return cast("BinaryIO", _Guarded(self))

    @property
    def stdout_is_terminal(self) -> bool:
        return self._stdout.isatty()

    # --- Reporter ---

    def file(self, status: str, path: bytes) -> None:
        status = self.letters.get(status, status)
        if not self.wants_files or (self._statuses is not None and status not in self._statuses):
            return
        if not status:  # a command whose list has no letters: extract
            self.emit("info", os.fsdecode(path), name="strongroom.output.list")
        elif self.log_json:
            self._json({"type": "file_status", "status": status, "path": _json_path(path)})
        else:
            self._line(f"{status} {path_text(path)}")

    def warn(self, notice: Notice) -> None:
        self.notices.append(notice)
        self.log("warning", notice.text, msgid=notice.msgid)

    def info(self, text: str) -> None:
        self.log("info", text)

    def progress(self, operation: str, state: Progress, finished: bool = False) -> None:
        self._last = (operation, state)
        if not self._show_progress:
            return
        now = self._clock()
        if not finished and now < self._due:
            return
        with self._lock:
            if self.log_json:
                self._due = now + view.JSON_INTERVAL
                self._json(self._progress_record(operation, state, finished))
            elif self._stderr.isatty() and os.environ.get("TERM") != "dumb":
                self._due = now + view.TERMINAL_INTERVAL
                self._show_live(operation, state, finished)
            elif self._due or finished:  # the first call says nothing worth a line
                self._due = now + view.PLAIN_INTERVAL
                rate = self._rate.update(state.original)
                self._line(view.plain_line(operation, state, rate, iec=self._iec))
            else:
                self._due = now + view.PLAIN_INTERVAL
            if finished:
                self._due = 0.0
                self._rate = view.Rate(self._clock)

    # --- the log ---

    def log(self, level: str, text: str, *, msgid: str | None = None, name: str = "strongroom") -> None:
        """A message of that level, if it is to be shown."""
        if LEVELS[level] >= self._level:
            self.emit(level, identity.advice_as_called(text), msgid=msgid, name=name)

    def block(self, lines: list[str], *, name: str = "strongroom.output.stats") -> None:
        """Lines that belong together; one message each with --log-json, as Borg's statistics are."""
        if not self.log_json:
            lines = ["\n".join(lines)]
        for line in lines:
            self.emit("info", line, name=name)

    def outcome(self, text: str, *, unexpected: bool) -> None:
        if unexpected:
            self.emit("info", text)
        else:
            self.info(text)

    def emit(self, level: str, text: str, *, msgid: str | None = None, name: str = "strongroom") -> None:
        """A message that an option asked for, whatever the log level: --list, --stats, --show-rc."""
        if self.log_json:
            record: dict[str, object] = {
                "type": "log_message",
                "time": time.time(),
                "message": without_surrogates(text),
                "levelname": level.upper(),
                "name": identity.logger(name),
            }
            if msgid:
                record["msgid"] = msgid
            self._json(record)
        else:
            self._line(printable_lines(text))

    def question(self, kind: str, text: str, *, prompt: bool = False, **more: object) -> None:
        """A part of a dialogue; Borg's `question_*` messages with --log-json."""
        if self.log_json:
            self._json({"type": f"question_{kind}", "message": text, **more})
        elif prompt:
            with self._lock:
                self._end_live()
                self._stderr.write(text)
                self._stderr.flush()
        else:
            self._line(text)

    def show_now(self) -> None:
        """The state of the operation under way, for SIGUSR1 and SIGINFO."""
        if self._last is not None:
            operation, state = self._last
            self.emit("info", view.plain_line(operation, state, None, iec=self._iec))

    def close(self) -> None:
        """Take moving lines off the terminal."""
        with self._lock:
            self._end_live()

    # --- how it is written ---

    def _line(self, text: str) -> None:
        if self.dated:
            text = f"{time.strftime('%F %T')} {text}"
        with self._lock:
            try:
                if self._live is not None:
                    self._live.print(text)
                else:
                    self._stderr.write(text + "\n")
                    self._stderr.flush()
            except BrokenPipeError:
                self._live = None  # nobody listens; the work goes on

    def _json(self, record: dict[str, object]) -> None:
        with self._lock:
            try:
                import json

                self._stderr.write(json.dumps(record) + "\n")
                self._stderr.flush()
            except BrokenPipeError:
                self._live = None

    def _show_live(self, operation: str, state: Progress, finished: bool) -> None:
        if finished:
            self._end_live()
            return
        if self._live is None:
            self._live = view.LiveDisplay(self._stderr)
        rate = self._rate.update(state.original)
        self._live.show(view.frame(operation, state, rate, self._live.width, iec=self._iec))

    def _end_live(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.close()

    def _progress_record(self, operation: str, state: Progress, finished: bool) -> dict[str, object]:
        common: dict[str, object] = {"time": time.time(), "finished": finished}
        if operation in view.ARCHIVING:
            if finished:
                return common | {"type": "archive_progress"}
            return common | {
                "type": "archive_progress",
                "original_size": state.original,
                "compressed_size": view.compressed(state),
                "deduplicated_size": state.new,
                "nfiles": state.files,
                "path": _json_path(state.path),
            }
        # Borg numbers the operations of a run
        number = self._operations.setdefault(operation, len(self._operations) + 1)
        common |= {"operation": number, "msgid": BORG_MSGIDS.get(operation, operation)}
        if state.total is None:
            record = common | {"type": "progress_message"}
            return record if finished else record | {"message": f"{operation}: {_json_path(state.path)}"}
        record = common | {"type": "progress_percent"}
        if finished:
            return record
        path = _json_path(state.path)
        return record | {
            "message": view.message(operation, state),
            "current": state.original,
            "total": state.total,
            "info": [path] if path else None,
        }


class _Guarded:
    """As much of a binary stream as a writer of bulk data needs."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self._output.write_bytes(data)
        return len(data)

    def flush(self) -> None:
        self._output.flush()


def _json_path(path: bytes) -> str:
    return path.decode("utf-8", "replace")
