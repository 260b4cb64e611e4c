"""The client's end of the wire: one process that carries it, many requests in flight.

This module owns the threads. One reads what the server sends and never waits for anybody, so that the
server can always make progress; one writes, small messages before uploads, the uploads in turn, a frame
each; one passes on what the process prints on standard error. Uploads are sent straight from the
caller's buffers, and a download is at most what its caller asked for: nothing else is held.
"""

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Condition, Event, Lock, Thread

from strongroom import __version__
from strongroom.errors import ConnectionBroken, ConnectionLost, StrongroomError
from strongroom.store import wire
from strongroom.store.carrier import Carrier
from strongroom.store.diagnosis import why_not_ours
from strongroom.store.pacing import Pacer
from strongroom.store.protocol import CONNECTION, Buffer

STALL_TIMEOUT = 600.0  # seconds in which nothing moves although an answer is due
_CLOSE_TIMEOUT = 10.0  # seconds for the process to end once its input has


class Call:
    """A request on its way. Give `limit`, the most bytes that it may bring."""

    def __init__(self, number: int, limit: int, body: Sequence[memoryview], is_upload: bool) -> None:
        self.number = number
        self.limit = limit
        self.body = deque(body)
        self.is_upload = is_upload
        self.parts: list[bytes] = []
        self.received = 0
        self.abandoned = False
        self.awaiting = True  # a reply is due
        self.replies: SimpleQueue[wire.Reply | StrongroomError] = SimpleQueue()


class Connection:
    """Starts `command` and greets what answers. Any thread may use any method."""

    def __init__(
        self,
        command: Sequence[str],
        where: str,
        *,
        upload_ratelimit: int = 0,  # KiB/s; 0: none
        upload_buffer: int = 0,  # bytes that the pipe to `command` may hold; 0: the default
        stall_timeout: float = STALL_TIMEOUT,
        on_stderr: Callable[[str], None] | None = None,
    ) -> None:
        """Raises `ConnectionLost` or `ConnectionBroken`, saying which part failed."""
        self._where = where
        self._stall_timeout = stall_timeout
        self._moved = time.monotonic()
        self._changed = Condition(Lock())
        self._calls: dict[int, Call] = {}
        self._control: deque[bytes] = deque()
        self._uploads: deque[Call] = deque()
        self._next = 0
        self._fatal: StrongroomError | None = None
        self._closing = False  # nothing more is to be written
        self._closed = False
        self._pacer = Pacer(upload_ratelimit * 1024)
        self._piece = (
            min(wire.MAX_DATA, max(1024, upload_ratelimit * 256)) if upload_ratelimit else wire.MAX_DATA
        )
        self._greeted = Event()
        self.server_program = ""
        self._ahead = 0  # ns, of the server's clock before our monotonic one
        self.server_key = b""  # a raw Ed25519 public key, or nothing
        self._in_flight = BoundedSemaphore(1)
        self._upload_slots = BoundedSemaphore(1)
        self._carrier = Carrier(command, upload_buffer, on_stderr or _to_stderr)
        hello = wire.Hello(
            wire.LOWEST_VERSION,
            wire.VERSION,
            f"strongroom {__version__}",
            wire.MAX_IN_FLIGHT,
            wire.MAX_UPLOADS,
        )
        self._control.append(wire.FROM_CLIENT_MAGIC + wire.message(wire.HELLO, 0, hello))
        self._threads = [
            Thread(target=target, name=CONNECTION + name, daemon=True)
            for name, target in (
                ("reader", self._read),
                ("writer", self._write),
                ("stderr", self._carrier.stderr.run),
            )
        ]
        for thread in self._threads:
            thread.start()
        self._await_greeting()

    # --- for callers ---

    def submit(self, request: wire.Request, *, limit: int = 0, body: Sequence[Buffer] = ()) -> Call:
        """Send a request, once few enough are in flight. `body` must not change until it is over."""
        is_upload = isinstance(request, wire.Put | wire.Append)
        slots = [self._upload_slots, self._in_flight] if is_upload else [self._in_flight]
        for taken, slot in enumerate(slots):
            while not slot.acquire(timeout=1.0):
                try:
                    self._check()
                except StrongroomError:
                    for held in slots[:taken]:
                        held.release()
                    raise
        views = [memoryview(part).cast("B") for part in body if len(part)]
        with self._changed:
            if self._fatal is None and self._next < wire.MAX_ID:
                self._next += 1
                call = Call(self._next, limit, views, is_upload)
                if not self._calls:
                    self._moved = time.monotonic()
                self._calls[call.number] = call
                self._control.append(wire.message(wire.REQUEST, call.number, request))
                if views:
                    self._uploads.append(call)
                self._changed.notify_all()
                return call
        for slot in slots:
            slot.release()
        raise self._fatal or ConnectionLost(f"{self._where}: too many requests on one connection")

    def reply(self, call: Call) -> wire.Reply:
        """The call's next reply. Raises what the server answered, or why no answer can come."""
        try:
            while True:
                try:
                    reply = call.replies.get(timeout=min(5.0, self._stall_timeout))
                    break
                except Empty:
                    self._check()
        except BaseException:
            self.abandon(call)
            raise
        if isinstance(reply, StrongroomError):
            raise reply
        if isinstance(reply, wire.Failed):
            raise wire.to_error(reply)
        return reply

    def data(self, call: Call) -> bytes:
        """All that a GET brought."""
        self.reply(call)
        return call.parts[0] if len(call.parts) == 1 else b"".join(call.parts)

    def next_page(self, call: Call) -> None:
        with self._changed:
            call.awaiting = True
            self._control.append(wire.frame(wire.NEXT, call.number))
            self._changed.notify_all()

    def abandon(self, call: Call) -> None:
        """The caller wants no more of it; what still comes is dropped."""
        with self._changed:
            if call.number in self._calls and not call.abandoned:
                call.abandoned = True
                call.parts.clear()
                self._stop_upload(call)
                self._control.append(wire.frame(wire.CANCEL, call.number))
                self._changed.notify_all()

    def close(self) -> None:
        """Say goodbye, wait for the process; end it if it does not end itself."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._fail(ConnectionLost(f"the connection to {self._where} is closed"))
        # The writer closes the pipe when it has written what it was writing; a stalled one never will.
        self._threads[1].join(timeout=_CLOSE_TIMEOUT)
        self._threads[0].join(timeout=0.0 if self._threads[1].is_alive() else _CLOSE_TIMEOUT)
        if self._threads[0].is_alive():
            self._carrier.end()
        # Otherwise the server has ended. An ssh that stays then is the master of other connections.
        self._carrier.stderr.stop()
        for thread in self._threads:
            thread.join(timeout=1.0)
        self._carrier.close()

    # --- threads ---

    def _write(self) -> None:
        try:
            while True:
                with self._changed:
                    while not (self._control or self._uploads or self._closing):
                        self._changed.wait()
                    if self._closing and not self._control:
                        break
                    batch: list[Buffer] = []
                    call = None
                    if self._control:
                        batch.append(b"".join(self._control))
                        self._control.clear()
                    else:
                        call = self._uploads.popleft()
                        batch = self._next_piece(call)
                if call is not None:
                    self._pacer.wait(sum(len(part) for part in batch))
                self._carrier.write(batch)
                batch.clear()  # a caller may resize its buffers once its call is over
                self._moved = time.monotonic()
                if call is not None:
                    with self._changed:
                        if call.body and not call.abandoned and call.number in self._calls:
                            self._uploads.append(call)
        except OSError:
            # The reader learns why: the process is ending or has closed its input.
            pass
        finally:
            self._carrier.close_input()

    def _next_piece(self, call: Call) -> list[Buffer]:
        room = self._piece
        pieces: list[Buffer] = []
        while call.body and room and len(pieces) < 500:
            view = call.body.popleft()
            if len(view) > room:
                call.body.appendleft(view[room:])
                view = view[:room]
            pieces.append(view)
            room -= len(view)
        return [wire.header(wire.DATA, call.number, self._piece - room), *pieces]

    def _read(self) -> None:
        try:
            self._read_greeting()
            while (frame := wire.read_frame(self._carrier.output, wire.FROM_SERVER)) is not None:
                self._moved = time.monotonic()
                self._take(frame)
            error: StrongroomError = self._why_ended()
        except ConnectionLost:
            error = self._why_ended()
        except StrongroomError as found:
            error = type(found)(f"{self._where}: {found}")
        except (OSError, ValueError) as found:  # ValueError: closed by `close`
            error = ConnectionLost(f"the connection to {self._where} broke: {found}")
        with self._changed:
            self._fail(error)
        self._greeted.set()

    def server_now(self) -> int:
        """The server's clock, ns since 1970 UTC."""
        return time.monotonic_ns() + self._ahead

    def _read_greeting(self) -> None:
        start = self._carrier.read_start(wire.FROM_SERVER_MAGIC)
        if not start:
            raise ConnectionLost("")
        if start != wire.FROM_SERVER_MAGIC:
            raise ConnectionBroken(why_not_ours(start))
        frame = wire.read_frame(self._carrier.output, wire.FROM_SERVER)
        if frame is None:
            raise ConnectionLost("")
        if frame.kind == wire.REPLY:
            self._farewell(frame)
        if frame.kind != wire.HELLO:
            raise ConnectionBroken("the server does not say hello")
        hello = wire.read_hello(frame.payload)
        wire.agree(hello, "the server")
        self.server_program = wire.printable(hello.program)
        self.server_key = hello.server_key
        self._ahead = (hello.now or time.time_ns()) - time.monotonic_ns()
        self._in_flight = BoundedSemaphore(min(hello.in_flight, wire.MAX_IN_FLIGHT))
        self._upload_slots = BoundedSemaphore(min(hello.uploads, wire.MAX_UPLOADS))
        self._greeted.set()

    def _take(self, frame: wire.Frame) -> None:
        if frame.kind == wire.REPLY and frame.request == 0:
            self._farewell(frame)
        with self._changed:
            call = self._calls.get(frame.request)
            if call is None or frame.kind == wire.HELLO:
                raise ConnectionBroken(f"the server answers request {frame.request}, which is not open")
            if frame.kind == wire.DATA:
                # Short frames are refused: many of them would cost more memory than the bytes they bring.
                if not frame.payload or call.received % wire.MAX_DATA:
                    raise ConnectionBroken("the server sends data in pieces too small")
                call.received += len(frame.payload)
                if call.received > call.limit:
                    raise ConnectionBroken("the server sends more than it was asked for")
                if not call.abandoned:
                    call.parts.append(frame.payload)
                return
            reply = wire.read_reply(frame.payload)
            if not call.awaiting:
                raise ConnectionBroken(f"the server answers request {frame.request} twice")
            call.awaiting = False
            if not call.abandoned:
                call.replies.put(reply)
            if not (isinstance(reply, wire.Page) and reply.more):
                # An upload refused early: say that no more of it comes, before its slot is free again.
                if self._stop_upload(call) and not call.abandoned:
                    self._control.append(wire.frame(wire.CANCEL, call.number))
                    self._changed.notify_all()
                self._finish(call)

    def _farewell(self, frame: wire.Frame) -> None:
        reply = wire.read_reply(frame.payload)
        raise wire.to_error(reply) if isinstance(reply, wire.Failed) else ConnectionBroken("an odd farewell")

    # --- with the lock held ---

    def _stop_upload(self, call: Call) -> bool:
        """Whether there was something left to send."""
        left = bool(call.body)
        call.body.clear()
        with contextlib.suppress(ValueError):
            self._uploads.remove(call)
        return left

    def _finish(self, call: Call) -> None:
        del self._calls[call.number]
        if call.is_upload:
            self._upload_slots.release()
        self._in_flight.release()

    def _fail(self, error: StrongroomError) -> None:
        """The connection is over: every caller learns why."""
        if self._fatal is None:
            self._fatal = error
        self._closing = True
        for call in list(self._calls.values()):
            self._stop_upload(call)
            call.replies.put(type(self._fatal)(str(self._fatal)))
            self._finish(call)
        self._control.clear()
        self._changed.notify_all()

    # --- ends ---

    def _await_greeting(self) -> None:
        try:
            # ssh may be asking for a passphrase: there is no limit to how long that takes.
            while not self._greeted.wait(timeout=60.0):
                pass
            if self._fatal is not None:
                raise self._fatal
        except BaseException:
            self._carrier.end()
            self.close()
            raise

    def _check(self) -> None:
        """Raise if no answer can come: the connection is over, or nothing has moved for too long."""
        silent = time.monotonic() - self._moved
        if self._fatal is None and self._calls and silent > self._stall_timeout:
            self._abort(
                ConnectionLost(
                    f"{self._where} has not moved for {silent:.0f} seconds; the connection was given up"
                )
            )
        if self._fatal is not None:
            raise type(self._fatal)(str(self._fatal))

    def _abort(self, error: StrongroomError) -> None:
        with self._changed:
            self._fail(error)
        self._carrier.end()

    def _why_ended(self) -> ConnectionLost:
        return self._carrier.why_ended(self._where, greeted=self._greeted.is_set())


def _to_stderr(line: str) -> None:
    print(f"Remote: {line}", file=sys.stderr, flush=True)
