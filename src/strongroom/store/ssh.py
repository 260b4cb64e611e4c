"""A repository behind ssh: the Store protocol spoken to `strongroom serve`."""

import contextlib
import os
import shlex
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from strongroom.errors import CommandError, ConnectionBroken, StoreError, StoreRefused
from strongroom.store import wire
from strongroom.store.connection import STALL_TIMEOUT, Call, Connection
from strongroom.store.location import Location
from strongroom.store.names import check_hashed, check_name, check_prefix, is_name
from strongroom.store.protocol import Buffer, Listed, Range
from strongroom.store.reserve import Reserved
from strongroom.store.stamp import stamp

_AHEAD = 64  # requests of one get_many on their way
_AHEAD_BYTES = 32 << 20
_MAX_NUMBER = 1 << 20
_UNKNOWN = 4 << 20  # what a range without a length counts as

# Without these a network that goes silent is noticed after hours. The user's own --rsh has its own.
_DEFAULT_RSH = "ssh -o ServerAliveInterval=20 -o ServerAliveCountMax=6"


class SshOptions(msgspec.Struct, frozen=True):
    rsh: str | None = None  # command with its options, split like a shell does; None: ssh with keepalive
    remote_path: str | None = None  # the server's program; None: strongroom
    upload_ratelimit: int = 0  # KiB/s; 0: none
    upload_buffer: int = 0  # MiB held by the pipe to ssh; 0: the default
    stall_timeout: float = STALL_TIMEOUT  # seconds
    on_stderr: Callable[[str], None] | None = None  # what ssh and the server print; None: our standard error

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> "SshOptions":
        """From `STRONGROOM_RSH`, `_REMOTE_PATH`, `_UPLOAD_RATELIMIT`, `_UPLOAD_BUFFER`, or Borg's `BORG_…`.

        Raises `CommandError` where a number is none.
        """

        def word(name: str) -> str | None:
            return variables.get(f"STRONGROOM_{name}") or variables.get(f"BORG_{name}") or None

        def number(name: str) -> int:
            text = word(name) or "0"
            if not text.isdecimal() or int(text) > _MAX_NUMBER:
                raise CommandError(f"STRONGROOM_{name}={text!r} is no number of KiB/s or MiB")
            return int(text)

        return cls(word("RSH"), word("REMOTE_PATH"), number("UPLOAD_RATELIMIT"), number("UPLOAD_BUFFER"))


class SshStore:
    """`Store` over one ssh connection. Make it by `open` or `create`; `close` ends the connection.

    Besides the protocol's errors every method raises `ConnectionLost` and `ConnectionBroken`.
    """

    uploads = 4

    def __init__(self, location: Location, connection: Connection) -> None:
        self.location = location
        self._connection = connection

    @classmethod
    def open(cls, location: Location, options: SshOptions | None = None) -> "SshStore":
        """Raises `RepositoryMissing`, `NotARepository`, `PathNotAllowed`, `StoreError`."""
        return cls._start(location, options, wire.Open(_path(location), False, False))

    @classmethod
    def create(
        cls,
        location: Location,
        options: SshOptions | None = None,
        *,
        make_parents: bool = False,
        reserve: int | None = None,
    ) -> "SshStore":
        """`reserve` bytes of the disk are to be kept for deletions; a server may keep less.

        Raises `RepositoryExists`, `PathOccupied`, `ParentPathMissing`, `PathNotAllowed`, `StoreError`.
        """
        return cls._start(location, options, wire.Open(_path(location), True, make_parents, reserve))

    @classmethod
    def open_remains(cls, location: Location, options: SshOptions | None = None) -> "SshStore":
        """What an interrupted `delete` left, to be removed. Raises `NotARepository` where there is nothing,
        `RepositoryMissing`, `PathNotAllowed`, `StoreError`."""
        return cls._start(location, options, wire.Open(_path(location), False, False, remains=True))

    @classmethod
    def _start(cls, location: Location, options: SshOptions | None, request: wire.Open) -> "SshStore":
        options = options or SshOptions()
        connection = Connection(
            ssh_command(location, options),
            location.canonical(),
            upload_ratelimit=options.upload_ratelimit,
            upload_buffer=options.upload_buffer << 20,
            stall_timeout=options.stall_timeout,
            on_stderr=options.on_stderr,
        )
        store = cls(location, connection)
        try:
            connection.reply(connection.submit(request))
        except BaseException:
            connection.close()
            raise
        return store

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._connection.data(self._ask(Range(name, offset, length)))

    def get_many(self, ranges: Iterable[Range]) -> Iterator[bytes]:
        waiting: deque[tuple[Call, int]] = deque()
        ahead = 0
        try:
            for part in ranges:
                size = _UNKNOWN if part.length is None else part.length
                while waiting and (len(waiting) >= _AHEAD or ahead + size > _AHEAD_BYTES):
                    call, asked = waiting.popleft()
                    ahead -= asked
                    yield self._connection.data(call)
                waiting.append((self._ask(part), size))
                ahead += size
            while waiting:
                yield self._connection.data(waiting.popleft()[0])
        finally:
            for call, _ in waiting:
                self._connection.abandon(call)

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        size = _total(parts)
        call = self._connection.submit(wire.Put(check_name(name), size), body=parts)
        self._connection.reply(call)

    def mend(self, name: str, parts: Sequence[Buffer]) -> None:
        call = self._connection.submit(wire.Mend(check_hashed(name), _total(parts)), body=parts)
        self._connection.reply(call)

    def mend_record(self, name: str, record: bytes) -> None:
        call = self._connection.submit(wire.Mend(check_name(name), _total([record])), body=[record])
        self._connection.reply(call)

    def append_record(self, name: str, record: bytes) -> bytes:
        request = wire.Append(check_name(name), _total([record]))
        reply = self._connection.reply(self._connection.submit(request, body=[record]))
        if not isinstance(reply, wire.Stamped):
            raise ConnectionBroken("the server does not say when the record arrived")
        return stamp(record, reply.stamp)

    def append_records(self, name: str, records: Sequence[bytes]) -> None:
        body = msgspec.msgpack.encode(records)
        request = wire.Append(check_name(name), _total([body]), many=True)
        self._connection.reply(self._connection.submit(request, body=[body]))

    def list(self, prefix: str) -> Iterator[Listed]:
        return self._list(check_prefix(prefix))

    def _list(self, prefix: str) -> Iterator[Listed]:
        call = self._connection.submit(wire.List(prefix))
        last = ""
        finished = False
        try:
            while not finished:
                page = self._connection.reply(call)
                if not isinstance(page, wire.Page):
                    raise ConnectionBroken("the server does not answer a listing with one")
                finished = not page.more
                if page.more:
                    # The next page travels while this one is used.
                    self._connection.next_page(call)
                for name, size in page.entries:
                    # Order and place are part of the promise; a listing that never ends would not keep them.
                    if name <= last or not name.startswith(prefix) or not is_name(name):
                        raise ConnectionBroken("the server's listing is out of order")
                    last = name
                    yield Listed(name, size)
                if page.more and not page.entries:
                    raise ConnectionBroken("the server sends an empty page")
        finally:
            if not finished:
                self._connection.abandon(call)

    def delete(self, name: str) -> None:
        self._connection.reply(self._connection.submit(wire.Delete(check_name(name))))

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        # Who may remove nothing needs none of it: that is for the first deletion to hear.
        with contextlib.suppress(StoreRefused):
            self._ask_reserve(spend=True)
        try:
            yield
        finally:
            with contextlib.suppress(StoreError):
                self._ask_reserve(spend=False)

    def reserve(self) -> Reserved:
        return self._ask_reserve(spend=None)

    def _ask_reserve(self, *, spend: bool | None) -> Reserved:
        reply = self._connection.reply(self._connection.submit(wire.Reserve(spend)))
        if not isinstance(reply, wire.Reserved):
            raise ConnectionBroken("the server does not say what it keeps")
        return Reserved(reply.left, reply.wanted)

    def room(self) -> int:
        reply = self._connection.reply(self._connection.submit(wire.Room()))
        if not isinstance(reply, wire.Space):
            raise ConnectionBroken("the server does not say what fits in")
        return reply.room

    def now(self) -> int:
        """What the server said in its greeting, and the time since."""
        return self._connection.server_now()

    def describe(self) -> str:
        return self.location.canonical()

    @property
    def server_version(self) -> str:
        """Of the program at the other end, as it says."""
        return self._connection.server_program.removeprefix("strongroom ")

    @property
    def owner_key(self) -> bytes | None:
        return self._connection.server_key or None

    def close(self) -> None:
        self._connection.close()

    def _ask(self, part: Range) -> Call:
        if part.offset < 0 or (part.length is not None and part.length < 0):
            raise ValueError(f"a range of {part.name} from {part.offset}, {part.length} bytes long")
        length = None if part.length is None else min(part.length, wire.MAX_OBJECT)
        request = wire.Get(check_name(part.name), min(part.offset, wire.MAX_OFFSET), length)
        return self._connection.submit(request, limit=wire.MAX_OBJECT if length is None else length)


def _path(location: Location) -> bytes:
    return os.fsencode(location.path)


def ssh_command(location: Location, options: SshOptions) -> list[str]:
    """The words that start the server. Raises `CommandError` if `--rsh` cannot be split."""
    if location.host is None:
        raise ValueError("a location without a host")
    try:
        words = shlex.split(options.rsh or _DEFAULT_RSH)
    except ValueError as error:
        raise CommandError(f"--rsh {options.rsh!r} is no command: {error}") from None
    if not words:
        raise CommandError("--rsh is empty")
    if location.port is not None:
        words += ["-p", str(location.port)]
    words.append(f"{location.user}@{location.host}" if location.user else location.host)
    # One word: the remote shell splits it, so that `sudo strongroom` works.
    words.append(f"{options.remote_path or 'strongroom'} serve")
    return words


def _total(parts: Sequence[Buffer]) -> int:
    size = sum(memoryview(part).nbytes for part in parts)
    if size > wire.MAX_OBJECT:
        raise ValueError(f"an object of {size} bytes; the largest is {wire.MAX_OBJECT}")
    return size
