"""What `--progress` shows: pure functions from counters to lines, and the live display on a terminal."""

import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from strongroom.cli.formats import format_size
from strongroom.cli.printable import path_text
from strongroom.reporting import Progress

TERMINAL_INTERVAL = 0.1  # s between two frames
PLAIN_INTERVAL = 10.0  # s between two lines where nobody watches
JSON_INTERVAL = 0.2  # s, Borg's
_RATE_WINDOW = 5.0  # s that the shown rate is averaged over

Clock = Callable[[], float]


class Rate:
    """Bytes per second over the last few seconds."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()

    def update(self, done: int) -> float | None:
        """None until there is something to divide by."""
        now = self._clock()
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[0][0] > _RATE_WINDOW:
            self._samples.popleft()
        start, before = self._samples[0]
        return (done - before) / (now - start) if now > start else None


COUNTED = {"check.archives": "archives"}
"""Operations whose `original` and `total` count something else than bytes."""

ARCHIVING = {"create", "import-tar", "recreate"}
"""Operations whose progress is that of an archive that grows."""

_PERCENTS = {
    "extract": "{:5.1f}% Extracting",
    "export-tar": "{:5.1f}% Processing",
    "check.packs": "Checking segments {:.1f}%",
    "check.archives": "Checking archives {:.1f}%",
    "compact": "Compacting segments {:3.0f}%",
}
"""Borg's words, for those who watch for them."""


def lead(operation: str, state: Progress, *, iec: bool) -> str:
    """What Borg says of it, without the path."""
    if operation in ARCHIVING:
        sizes = (state.original, compressed(state), state.new)
        original, packed, new = (format_size(number, iec=iec) for number in sizes)
        return f"{original} O {packed} C {new} D {state.files} N"
    title = operation.replace("_", " ").replace(".", ": ").capitalize()
    if state.total is None:
        return title
    return _PERCENTS.get(operation, title + " {:.1f}%").format(percent(state))


def message(operation: str, state: Progress) -> str:
    """Borg's `message` of a percentage, as --log-json has it."""
    words = lead(operation, state, iec=False)
    return f"{words}: {path_text(state.path)}" if state.path else words


def percent(state: Progress) -> float:
    return min(100.0, 100 * state.original / state.total) if state.total else 100.0


def compressed(state: Progress) -> int:
    """Of what was stored before, nobody knows while it runs what it takes: of that, nothing is counted."""
    return max(state.compressed, state.new)


def parts(operation: str, state: Progress, rate: float | None, *, iec: bool) -> list[str]:
    """The figures worth showing, most important first: Borg's, and what it does not tell."""

    def size(number: int) -> str:
        return format_size(number, iec=iec)

    words = [lead(operation, state, iec=iec)]
    if operation in COUNTED:
        total = "" if state.total is None else f" of {state.total:,}"
        return [*words, f"{state.original:,}{total} {COUNTED[operation]}"]
    if state.total:
        words.append(f"{size(state.original)} of {size(state.total)}")
    elif operation not in ARCHIVING:
        words.append(size(state.original))
    if state.files and operation not in ARCHIVING:
        words.append(f"{state.files:,} files")
    if rate is not None:
        words.append(f"{size(int(rate))}/s")
        if state.total and rate > 0:
            words.append(f"{_clock_time((state.total - state.original) / rate)} left")
    if state.new and operation not in ARCHIVING:
        words.append(f"{size(state.new)} new")
    words += [f"{name} {count:,}" for name, count in sorted(state.extra.items())]
    return words


def fit(words: list[str], width: int) -> str:
    """As many of the words as fit into `width` columns."""
    line = ""
    for word in words:
        longer = f"{line} · {word}" if line else word
        if len(longer) > width:
            break
        line = longer
    return line


def shorten(text: str, width: int) -> str:
    """The text in at most `width` columns, its middle left out; wide characters count twice."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    if width < 8:
        return "…"[:width]
    head = set_cell_size(text, width // 3).rstrip()
    room = width - cell_len(head) - 1
    tail = text
    while cell_len(tail) > room:
        tail = tail[max(1, (cell_len(tail) - room) // 2) :]
    return f"{head}…{tail}"


def frame(operation: str, state: Progress, rate: float | None, width: int, *, iec: bool) -> str:
    """What a terminal of `width` columns shows: a line of figures, and one with the path."""
    lines = [fit(parts(operation, state, rate, iec=iec), width - 1)]
    if state.path:
        lines.append(shorten(path_text(state.path), width - 1))
    return "\n".join(lines)


def plain_line(operation: str, state: Progress, rate: float | None, *, iec: bool) -> str:
    """One line for a log file."""
    words = parts(operation, state, rate, iec=iec)
    return " · ".join([*words, path_text(state.path)] if state.path else words)


class LiveDisplay:
    """The moving lines at the bottom of a terminal; other output scrolls above them."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    @property
    def width(self) -> int:
        return self._console.width

    def show(self, text: str) -> None:
        from rich.text import Text

        self._live.update(Text(text, no_wrap=True, overflow="crop"), refresh=True)

    def print(self, text: str) -> None:
        from rich.text import Text

        self._console.print(Text(text, overflow="fold"))

    def close(self) -> None:
        self._live.stop()


def _clock_time(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
