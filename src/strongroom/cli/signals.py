"""Signals: the first Ctrl-C asks, the second insists."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from strongroom.reporting import StopFlag

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal ended the run; the exit code is 128 + `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def name(self) -> str:
        return signal.Signals(self.number).name


class Signals:
    """What the handlers share with the command under way."""

    def __init__(self, stop: StopFlag, on_stop: Callable[[], None], on_info: Callable[[], None]) -> None:
        self.stop = stop
        self._on_stop = on_stop
        self._on_info = on_info
        self._graceful = False

    @contextmanager
    def graceful(self) -> Iterator[None]:
        """Within, the first signal only sets the stop flag: the command looks at it and finishes."""
        self._graceful = True
        try:
            yield
        finally:
            self._graceful = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle SIGINT, SIGTERM, SIGHUP, SIGUSR1 and, where it exists, SIGINFO. Main thread only."""
        wanted = dict.fromkeys(_ENDING, self._end)
        wanted[signal.SIGUSR1] = self._inform
        if hasattr(signal, "SIGINFO"):
            wanted[signal.SIGINFO] = self._inform
        before = {}
        for number, handler in wanted.items():
            # `nohup` ignores SIGHUP; that is to be respected
            if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGUSR1:
                before[number] = signal.signal(number, handler)
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)

    def _end(self, number: int, frame: FrameType | None) -> None:
        first = not self.stop.requested
        self.stop.requested, self.stop.signal = True, number
        if not (first and self._graceful):
            raise Interrupted(number)
        self._on_stop()

    def _inform(self, number: int, frame: FrameType | None) -> None:
        self._on_info()
