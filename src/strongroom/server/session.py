"""One client's connection: its frames in, what they ask for, the answers out.

This module owns the server's threads. The main one reads frames and writes uploads to the disk as they
come, so that a client can never send faster than that; it waits for nothing else. A few workers do what
takes time: syncing, reading, listing. What a client has asked for and not yet got is bounded by
`MAX_IN_FLIGHT`, and so is the memory that it can make the server use.
"""

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from queue import SimpleQueue
from threading import Lock, Thread
from typing import BinaryIO

from strongroom import __version__
from strongroom.errors import (
    ConnectionBroken,
    ConnectionLost,
    ObjectMissing,
    StoreFailed,
    StoreRefused,
    StrongroomError,
)
from strongroom.server.host import Host
from strongroom.server.incoming import Discarded, Incoming, IncomingRecord
from strongroom.server.journal import Journal
from strongroom.store import wire
from strongroom.store.protocol import Listed
from strongroom.store.stamp import MAX_RECORD

WORKERS = 6
_DRAIN = 60.0  # seconds for what was begun to end once the client is gone


class Session:
    """Serves one connection: `run` returns when it is over."""

    def __init__(self, host: Host, journal: Journal, source: BinaryIO, sink: int) -> None:
        self._host = host
        self._journal = journal
        self._source = source
        self._sink = sink
        self._sending = Lock()
        self._lock = Lock()
        self._open: dict[int, str] = {}  # requests without their final reply: what they want, for the journal
        self._uploads: dict[int, Incoming | IncomingRecord | Discarded] = {}  # only the main thread's
        self._listings: dict[int, Iterator[Listed]] = {}
        self._cancelled: set[int] = set()
        self._record_bytes = 0  # of log records that are held in memory
        self._last = 0
        self._ended = False
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._workers = [Thread(target=self._work, daemon=True) for _ in range(WORKERS)]

    def run(self) -> int:
        """The exit code: 0 if the client left in good order, 1 if it vanished, 2 if it broke the rules."""
        for worker in self._workers:
            worker.start()
        try:
            self._greet()
            while (frame := wire.read_frame(self._source, wire.FROM_CLIENT)) is not None:
                self._take(frame)
        except (ConnectionLost, OSError) as error:
            self._journal.failed("connection", str(error))
            return 1
        except StrongroomError as error:
            self._journal.refused("connection", str(error))
            self._end()
            with contextlib.suppress(OSError):
                self._send(wire.message(wire.REPLY, 0, wire.failure(error)))
            return 2
        finally:
            self._end()
        return 0

    # --- the main thread ---

    def _greet(self) -> None:
        hello = wire.Hello(
            wire.LOWEST_VERSION,
            wire.VERSION,
            f"strongroom {__version__}",
            wire.MAX_IN_FLIGHT,
            wire.MAX_UPLOADS,
            self._host.server_key,
            time.time_ns(),
        )
        self._send(wire.FROM_SERVER_MAGIC + wire.message(wire.HELLO, 0, hello))
        start = self._source.read(len(wire.FROM_CLIENT_MAGIC))
        if not start:
            raise ConnectionLost("the client left before it said hello")
        if start != wire.FROM_CLIENT_MAGIC:
            raise ConnectionBroken("this is `strongroom serve`, for strongroom clients only")
        frame = wire.read_frame(self._source, wire.FROM_CLIENT)
        if frame is None:
            raise ConnectionLost("the client left before it said hello")
        if frame.kind != wire.HELLO:
            raise ConnectionBroken("the client does not say hello")
        wire.agree(wire.read_hello(frame.payload), "the client")

    def _take(self, frame: wire.Frame) -> None:
        number = frame.request
        match frame.kind:
            case wire.REQUEST:
                if number <= self._last:
                    raise ConnectionBroken("requests must be numbered upwards")
                self._last = number
                self._begin(number, wire.read_request(frame.payload))
            case wire.DATA:
                self._take_data(number, frame.payload)
            case wire.NEXT:
                with self._lock:
                    listing = self._listings.pop(number, None)
                if listing is None:
                    raise ConnectionBroken("no page is there to follow")
                self._jobs.put(lambda: self._answer(number, lambda: self._page(number, listing)))
            case wire.CANCEL:
                self._cancel(number)
            case _:
                raise ConnectionBroken("a second hello")

    def _begin(self, number: int, request: wire.Request) -> None:
        what = _describe(request)
        with self._lock:
            # Uploads that are read past have had their reply, but still take their share.
            if len(self._open) + len(self._uploads) >= 2 * wire.MAX_IN_FLIGHT:
                raise ConnectionBroken("too many requests at once")
            self._open[number] = what
        host = self._host
        match request:
            case wire.Open():
                self._answer(number, lambda: host.open(request))
            case wire.Get(name, offset, length):
                self._later(number, lambda: self._get(number, name, offset, length))
            case wire.Put(name, size):
                self._begin_upload(number, size, lambda: host.receive(name, size))
            case wire.Mend(name, size) if name.startswith("log/"):
                self._begin_upload(number, size, lambda: self._holding(host.mend_record(name, size)))
            case wire.Mend(name, size):
                self._begin_upload(number, size, lambda: host.receive_mending(name, size))
            case wire.Append(name, size, many):
                self._begin_upload(number, size, lambda: self._receive_record(name, size, many=many))
            case wire.List(prefix):
                self._later(number, lambda: self._page(number, host.list(prefix)))
            case wire.Delete(name):
                self._later(number, lambda: host.delete(name))
            case wire.Reserve(spend):
                self._later(number, lambda: wire.Reserved(*host.reserve(spend)))
            case wire.Room():
                self._later(number, lambda: wire.Space(host.room()))

    def _receive_record(self, name: str, size: int, *, many: bool) -> IncomingRecord:
        return self._holding(self._host.receive_record(name, size, many=many))

    def _holding(self, upload: IncomingRecord) -> IncomingRecord:
        with self._lock:
            if self._record_bytes + upload.size > 2 * MAX_RECORD:
                raise StoreRefused("too many log records at once: wait for the answer to the last one")
            self._record_bytes += upload.size
        return upload

    def _begin_upload(self, number: int, size: int, begin: Callable[[], Incoming | IncomingRecord]) -> None:
        if len(self._uploads) >= wire.MAX_UPLOADS + wire.MAX_IN_FLIGHT:
            raise ConnectionBroken("too many uploads at once")
        try:
            upload = begin()
        except ConnectionBroken:
            raise
        except StrongroomError as error:
            self._refuse(number, error)
            if size:
                self._uploads[number] = Discarded(size, 0)
            return
        self._uploads[number] = upload
        if upload.complete:
            self._finish_upload(number, upload)

    def _take_data(self, number: int, data: bytes) -> None:
        upload = self._uploads.get(number)
        if upload is None:
            raise ConnectionBroken("data for no upload")
        try:
            upload.take(data)
        except ConnectionBroken:
            raise
        except StrongroomError as error:
            self._refuse(number, error)
            upload.drop()
            self._uploads[number] = upload = Discarded(upload.size, upload.received)
        if upload.complete:
            self._finish_upload(number, upload)

    def _finish_upload(self, number: int, upload: Incoming | IncomingRecord | Discarded) -> None:
        del self._uploads[number]
        if isinstance(upload, Incoming):
            self._later(number, upload.finish)
        elif isinstance(upload, IncomingRecord):
            self._later(number, lambda: self._finish_record(upload))

    def _cancel(self, number: int) -> None:
        upload = self._uploads.pop(number, None)
        if upload is not None:
            upload.drop()
            if isinstance(upload, IncomingRecord):
                self._free_record(upload)
            if not isinstance(upload, Discarded):
                self._reply(number, _CANCELLED)
            return
        with self._lock:
            listing = self._listings.pop(number, None)
            if listing is None:
                if number in self._open:
                    self._cancelled.add(number)
                return
        self._reply(number, _CANCELLED)

    # --- the workers ---

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _later(self, number: int, job: Callable[[], wire.Reply | None]) -> None:
        self._jobs.put(lambda: self._answer(number, job))

    def _answer(self, number: int, job: Callable[[], wire.Reply | None]) -> None:
        try:
            self._reply(number, job() or wire.Done())
        except StrongroomError as error:
            self._refuse(number, error)
        except OSError:
            # The client reads no more: the main thread sees its end of the pipe close.
            pass
        except Exception as error:  # noqa: BLE001 - a worker's last resort: the operator gets the trace
            self._journal.failed(self._open.get(number, "?"), " | ".join(traceback.format_exception(error)))
            self._refuse(number, StoreFailed("the server failed; its log says how"))

    def _get(self, number: int, name: str, offset: int, length: int | None) -> None:
        for piece in self._host.read(name, offset, length):
            if number in self._cancelled:
                raise _Cancelled("cancelled")
            self._send(wire.header(wire.DATA, number, len(piece)), piece)

    def _page(self, number: int, listing: Iterator[Listed]) -> wire.Page:
        entries = [(name, size) for name, size in islice(listing, wire.PAGE)]
        more = len(entries) == wire.PAGE
        if more:
            with self._lock:
                if number in self._cancelled:
                    raise _Cancelled("cancelled")
                self._listings[number] = listing
        return wire.Page(entries, more)

    def _finish_record(self, upload: IncomingRecord) -> wire.Stamped:
        try:
            return wire.Stamped(upload.finish())
        finally:
            self._free_record(upload)

    def _free_record(self, upload: IncomingRecord) -> None:
        with self._lock:
            self._record_bytes -= upload.size

    # --- answers ---

    def _refuse(self, number: int, error: StrongroomError) -> None:
        if not isinstance(error, ObjectMissing | _Cancelled):
            self._journal.refused(self._open.get(number, "?"), str(error))
        with contextlib.suppress(OSError):
            self._reply(number, wire.failure(error))

    def _reply(self, number: int, reply: wire.Reply) -> None:
        if not (isinstance(reply, wire.Page) and reply.more):
            with self._lock:
                self._open.pop(number, None)
                self._cancelled.discard(number)
        self._send(wire.message(wire.REPLY, number, reply))

    def _send(self, *parts: bytes) -> None:
        with self._sending:
            views = [memoryview(part) for part in parts]
            while views:
                written = os.writev(self._sink, views)
                while views and written >= len(views[0]):
                    written -= len(views.pop(0))
                if views and written:
                    views[0] = views[0][written:]

    def _end(self) -> None:
        """Drop what is half done, let finish what was complete, and give back what was held."""
        if self._ended:
            return
        self._ended = True
        for upload in self._uploads.values():
            upload.drop()
        self._uploads.clear()
        for _ in self._workers:
            self._jobs.put(None)
        # A worker whose answer nobody reads stays behind, and goes with the process.
        deadline = time.monotonic() + _DRAIN
        for worker in self._workers:
            worker.join(timeout=max(0.0, deadline - time.monotonic()))
        self._host.close()


class _Cancelled(StoreFailed):
    pass


_CANCELLED = wire.failure(_Cancelled("cancelled"))


def _describe(request: wire.Request) -> str:
    match request:
        case wire.Open(path, create, _, _, remains):
            return f"{'create' if create else 'finish deleting' if remains else 'open'} {os.fsdecode(path)!r}"
        case wire.Get(name):
            return f"get {name!r}"
        case wire.Put(name, size):
            return f"put {name!r} of {size} bytes"
        case wire.Mend(name, size):
            return f"mend {name!r} with {size} bytes"
        case wire.Append(name):
            return f"append {name!r}"
        case wire.List(prefix):
            return f"list {prefix!r}"
        case wire.Delete(name):
            return f"delete {name!r}"
        case wire.Reserve():
            return "use of the reserve"
        case wire.Room():
            return "what fits in"
    raise AssertionError(request)
