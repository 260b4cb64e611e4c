"""Processes that restore small files, each of which costs the interpreter more than the disk.

The one who walks the archive gives portions away, and stays the only one who decides and tells: a file with
which anything is odd comes back to it, to be restored where damage, full disks and races are dealt with. So
does all that a process had which has ended.
"""

import contextlib
import gc
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable

import msgspec

from strongroom.archive.fetching import Fetched, Fetcher
from strongroom.archive.finishing import Shortfalls
from strongroom.archive.forking import fork_off
from strongroom.archive.hand import Hand
from strongroom.archive.options import RestoreOptions
from strongroom.archive.portions import Given, Outcome, Part, divided, framed, receive
from strongroom.archive.targets import FileTarget
from strongroom.archive.window import BundleJob
from strongroom.errors import StrongroomError
from strongroom.ids import ID_SIZE
from strongroom.repository.reading import BundleReader
from strongroom.store.protocol import CONNECTION

_MOST = 8  # processes; more than one can walk for
_LARGEST = 256 << 10  # bytes of a file; what is larger costs the interpreter nothing by comparison
_WORTH_IT = 16  # files for which a bundle is opened once more
_decoder = msgspec.msgpack.Decoder(Outcome)


class Crew:
    """The processes, seen from the one that forked them. For one thread; to be dismissed in the end."""

    def __init__(
        self,
        reader: BundleReader,
        options: RestoreOptions,
        size: int,
        fell_short: Callable[[Shortfalls], None],
        tell: Callable[[str], None],
    ) -> None:
        """Forks `size` times; beside threads, and where the system has no room for it, there are fewer.

        Those of a connection wait for the system, and hold no lock that is needed here.
        """
        self._members: list[_Member] = []
        self._fell_short = fell_short
        self._tell = tell
        here = threading.current_thread()
        if any(one is not here and not one.name.startswith(CONNECTION) for one in threading.enumerate()):
            return
        gc.freeze()  # what is looked through for garbage would be copied to each of them
        with contextlib.suppress(OSError):  # too many processes, or too little memory: it is not needed
            for _ in range(min(size, _MOST)):
                self._members.append(_hire(reader, options))

    def dismiss(self) -> None:
        for member in self._members:
            member.dismiss()
        self._members = []

    def take(
        self, jobs: list[BundleJob], empty: list[FileTarget], fetcher: Fetcher | None
    ) -> tuple[list[Part], list[BundleJob], list[FileTarget]]:
        """What is under way now, and what is not for the crew. `empty` files have no content.

        With a `fetcher` the crew gets the stored bytes, for it has no connection.
        """
        if not self._members:
            return [], jobs, empty
        suited, other_jobs = _sorted_out(jobs)
        parts = list(divided(suited, filter(_is_suited, empty)))
        if fetcher is None:
            for part in parts:
                self._give(part)
        else:
            ordered = [[fetcher.order(job) for job in part.jobs] for part in parts]
            for part, fetched in zip(parts, ordered, strict=True):
                if _is_equipped(part, fetched, fetcher):
                    self._give(part)
        return parts, other_jobs, [target for target in empty if not _is_suited(target)]

    def _give(self, part: Part) -> None:
        """To the one that has the least to do."""
        for member in list(self._members):
            if not member.listen():
                self._lose(member)
        message = framed(part.portion)
        while self._members:
            idlest = min(self._members, key=lambda one: one.files)
            if idlest.give(part, message):
                break
            self._lose(idlest)
        part.portion.shares.clear()  # they may hold bundles

    def _lose(self, member: "_Member") -> None:
        """It has ended before its time: what it has not told of comes back."""
        self._members.remove(member)
        member.dismiss()
        self._tell("A process that restored files has ended before its time: what it had is restored anew.")

    def wait(self, part: Part) -> None:
        """Until it is known how it went."""
        for member in list(self._members):
            while member.has(part):
                if not member.hear():
                    self._lose(member)
                    break
        if part.outcome is None:
            return
        for number, identity, ctime in part.outcome.made:
            part.targets[number].identity, part.targets[number].ctime = identity, ctime
        self._fell_short(part.outcome.shortfalls)


def _is_equipped(part: Part, fetched: list[Fetched], fetcher: Fetcher) -> bool:
    """With all that it takes to open its bundles. What does not come is met again by who asks once more."""
    complete = True
    for share, job, one in zip(part.portion.shares, part.jobs, fetched, strict=True):
        try:
            share.given = Given(fetcher.sessions(job), bytes(one.take()))
        except StrongroomError:
            complete = False
        finally:
            one.release()
    return complete


def _sorted_out(jobs: list[BundleJob]) -> tuple[list[BundleJob], list[BundleJob]]:
    """What is for the crew, and what is not. A bundle that is worth it is opened for both."""
    suited, others = [], []
    for job in jobs:
        uses = [use for use in job.uses if _is_suited(use.target)]
        if len(uses) == len(job.uses):
            suited.append(job)
        elif len(uses) < _WORTH_IT:
            others.append(job)
        else:
            suited.append(msgspec.structs.replace(job, uses=uses))
            rest = [use for use in job.uses if not _is_suited(use.target)]
            others.append(msgspec.structs.replace(job, uses=rest))
    return suited, others


def _is_suited(target: FileTarget) -> bool:
    """Of one chunk at the most, and of one name."""
    entry = target.entry
    small = entry.size <= _LARGEST and entry.sizes is None and len(entry.content) <= ID_SIZE
    return small and entry.link is None and not target.kept


class _Member:
    def __init__(self, pid: int, end: socket.socket) -> None:
        self._pid = pid
        self._end = end
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN | select.POLLOUT)
        self._parts: deque[Part] = deque()  # that it has, in the order in which it answers
        self.files = 0  # in them

    def has(self, part: Part) -> bool:
        return part in self._parts

    def give(self, part: Part, message: bytes) -> bool:
        """False if it is gone."""
        left, descriptors = memoryview(message), part.descriptors
        try:
            while left:
                # two that both waited to be read from would wait for ever
                if self._has_answered(None):
                    if not self.hear():
                        return False
                    continue
                with contextlib.suppress(BlockingIOError):
                    sent = socket.send_fds(self._end, [left], descriptors, socket.MSG_DONTWAIT)
                    left, descriptors = left[sent:], []
        except OSError:
            return False
        self._parts.append(part)
        self.files += len(part.targets)
        return True

    def listen(self) -> bool:
        """Take the answers that are there. False if it is gone."""
        while self._has_answered(0):
            if not self.hear():
                return False
        return True

    def _has_answered(self, timeout: float | None) -> bool:
        """Waits until it has, or takes more."""
        return any(found & ~select.POLLOUT for _, found in self._poll.poll(timeout))

    def hear(self) -> bool:
        """Wait for the next answer. False if it is gone."""
        try:
            outcome = _decoder.decode(receive(self._end)[0])
        except (OSError, msgspec.DecodeError):
            return False
        if not self._parts:
            return False
        part = self._parts.popleft()
        part.outcome = outcome
        self.files -= len(part.targets)
        return True

    def dismiss(self) -> None:
        """It ends with the bundle that it has in hand."""
        self._end.close()
        os.waitpid(self._pid, 0)


def _hire(reader: BundleReader, options: RestoreOptions) -> _Member:
    near, far = socket.socketpair()
    with far:
        try:
            pid = fork_off(far.fileno(), lambda: Hand(far, reader, options).run())
        except OSError:
            near.close()
            raise
    return _Member(pid, near)
