"""What the library says while it works: an interface that it calls and the front end implements.

The front end loads this for every word that is typed: nothing here may need a library.
"""

from typing import NamedTuple, Protocol


class Notice(NamedTuple):
    """A warning: the run goes on, the exit code becomes 1 (or `code`, with modern exit codes).

    `msgid` and `code` are Borg's names and numbers for the same condition.
    """

    text: str
    msgid: str = "BackupWarning"
    code: int = 1


FILE_CHANGED = ("FileChangedWarning", 100)
PATTERN_NEVER_MATCHED = ("IncludePatternNeverMatchedWarning", 101)
BACKUP_ERROR = ("BackupError", 102)
FILE_RACED = ("BackupRaceConditionError", 103)
OS_ERROR = ("BackupOSError", 104)
PERMISSION = ("BackupPermissionError", 105)
IO_ERROR = ("BackupIOError", 106)
FILE_VANISHED = ("BackupFileNotFoundError", 107)
REPOSITORY_DAMAGED = ("IntegrityError", 1)  # something in it rotted, and the run goes on all the same


def counted(number: int, noun: str) -> str:
    """`1 pack`, `2 packs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class Progress:
    """Counters of a long operation; the owner updates them in place, the reporter reads them."""

    __slots__ = ("compressed", "extra", "files", "new", "original", "path", "total")

    def __init__(
        self,
        files: int = 0,
        original: int = 0,
        compressed: int = 0,
        new: int = 0,
        total: int | None = None,
        path: bytes = b"",
    ) -> None:
        self.files = files
        self.original = original  # bytes of plaintext seen
        self.compressed = compressed  # bytes of it as stored, shared or not
        self.new = new  # bytes added to the repository
        self.total = total  # bytes expected, where known
        self.path = path  # what is being worked on
        self.extra: dict[str, int] = {}


class StopFlag:
    """Set by the first Ctrl-C: long operations look at it between files, and finish cleanly."""

    __slots__ = ("requested", "signal")

    def __init__(self) -> None:
        self.requested = False
        self.signal: int | None = None  # which signal asked


class Reporter(Protocol):
    wants_files: bool
    """False lets hot loops skip the calls of `file`."""

    stop: StopFlag

    def file(self, status: str, path: bytes) -> None:
        """One line of `--list`: Borg's status letter and the path."""

    def warn(self, notice: Notice) -> None: ...

    def info(self, text: str) -> None:
        """For `--verbose`."""

    def outcome(self, text: str, *, unexpected: bool) -> None:
        """What a command came to; told without `--verbose` too if it is not what its name says."""

    def progress(self, operation: str, state: Progress, finished: bool = False) -> None:
        """Called often; the reporter throttles. `operation` is like "create", "check.verify_data"."""


class SilentReporter:
    """Keeps the warnings, drops the rest: for tests and for embedding."""

    wants_files = False

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.stop = StopFlag()

    def file(self, status: str, path: bytes) -> None: ...

    def warn(self, notice: Notice) -> None:
        self.notices.append(notice)

    def info(self, text: str) -> None: ...

    def outcome(self, text: str, *, unexpected: bool) -> None: ...

    def progress(self, operation: str, state: Progress, finished: bool = False) -> None: ...
