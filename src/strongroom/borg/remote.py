"""A Borg repository behind ssh: of what `borg serve` answers, the reading questions alone.

Borg 1.4 documentation, internals, "Remote protocol": msgpack values, one behind the other. A request is
{"i": number, "m": method, "a": arguments}, an answer {"i": number, "r": result}, or the same with
`exception_class` and `exception_short`. Borg 1.0 has [1, number, method, arguments in their order] and
[1, number, exception class or nil, result]; in that form the first request asks which one it is (Borg 1.4,
remote.py, `negotiate`). The repository is opened without a lock: nothing is written there.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from itertools import count, islice
from typing import Any

from strongroom.borg import packing
from strongroom.borg.ahead import Ahead
from strongroom.borg.objects import Spot, expected
from strongroom.borg.scratch import Scratch
from strongroom.errors import (
    ChunkMissing,
    ConnectionBroken,
    ConnectionLost,
    Damaged,
    NotARepository,
    PathNotAllowed,
    RepositoryMissing,
    StrongroomError,
)
from strongroom.ids import ID_SIZE, ChunkId, PackId, RepositoryId
from strongroom.store.carrier import Carrier
from strongroom.store.location import Location
from strongroom.store.ssh import SshOptions, ssh_command

_VERSION = (1, 4, 5, -1)  # that we speak as
_OLD_PROTOCOL = 2  # of Borg 1.0
_MAX_ANSWER = 64 * 1024 * 1024  # bytes
_LISTED = 10_000  # ids in one answer
_AHEAD = 16  # requests on their way
_READ = 1 << 20  # bytes


class RemoteObjects:
    """`Objects` of a repository that a `borg serve` shows. Any thread may ask."""

    def __init__(self, place: Location, options: SshOptions, scratch: Scratch) -> None:
        """`options` name `borg` as the program.

        Raises `RepositoryMissing`, `NotARepository`, `PathNotAllowed`, `ConnectionLost`, `ConnectionBroken`.
        """
        self._where = place.canonical()
        self._scratch = scratch
        self._listed = False
        self._carrier = Carrier(ssh_command(place, options), 0, options.on_stderr or (lambda _: None))
        self._timeout = options.stall_timeout
        self._numbers = count(1)
        self._lock = threading.Lock()  # guards what follows, and writing
        self._asked: dict[int, Future[Any]] = {}
        self._ended: StrongroomError | None = None
        self._is_old = True  # speaks as Borg 1.0, as far as we know
        self._ahead = Ahead(lambda chunk: self._ask("get", id=chunk), self._known_size, _answered_bytes)
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for work, name in ((self._listen, "borg serve"), (self._carrier.stderr.run, "borg serve log"))
        ]
        for thread in self._threads:
            thread.start()
        try:
            identity = self._open(place.path)
            if not isinstance(identity, bytes) or len(identity) != ID_SIZE:
                raise ConnectionBroken(f"The Borg at {self._where} gives no repository id.")
        except BaseException:
            self.close()
            raise
        self.id = RepositoryId(identity)
        self.damage: list[str] = []

    def _open(self, path: str) -> object:
        version = self._call("negotiate", client_data={"client_version": _VERSION})
        self._is_old = version == _OLD_PROTOCOL
        if not self._is_old and not isinstance(version, dict):
            raise ConnectionBroken(
                f"The Borg at {self._where} speaks a protocol that Borg 1.0 to 1.4 do not have."
            )
        newer = {} if self._is_old else {"exclusive": False, "append_only": True, "make_parent_dirs": False}
        return self._call("open", path=path, create=False, lock_wait=1, lock=False, **newer)

    # --- Objects ---

    def key(self) -> bytes:
        found = self._call("load_key")
        return found if isinstance(found, bytes) else b""

    def get(self, chunk: ChunkId) -> bytes:
        return self._object(self._ahead.take(chunk) or self._ask("get", id=chunk), chunk)

    def expect(self, chunks: Iterable[ChunkId]) -> None:
        self._ahead.expect(chunks)

    def _known_size(self, chunk: ChunkId) -> int:
        return int.from_bytes(self._scratch.get("sizes", chunk) or b"", "big")

    def get_many(self, chunks: Iterable[ChunkId]) -> Iterator[bytes]:
        waiting: deque[tuple[ChunkId, Future[Any]]] = deque()
        for chunk in chunks:
            waiting.append((chunk, self._ask("get", id=chunk)))
            if len(waiting) >= _AHEAD:
                first, future = waiting.popleft()
                yield self._object(future, first)
        while waiting:
            first, future = waiting.popleft()
            yield self._object(future, first)

    def _object(self, future: "Future[Any]", chunk: ChunkId) -> bytes:
        found = self._answer(future, "get", chunk)
        if not isinstance(found, bytes):
            raise Damaged(f"The Borg at {self._where} gives no object for {chunk.hex()}.")
        return found

    def spot(self, chunk: ChunkId) -> Spot | None:
        """Only asking for it tells whether it is there."""
        return Spot(PackId(chunk), 0)

    def holds(self, chunk: ChunkId) -> bool:
        """All ids are listed once, into working space."""
        if not self._listed:
            ids = self.ids()
            while batch := list(islice(ids, _LISTED)):
                self._scratch.put_all("spots", [(one, b"") for one in batch])
            self._listed = True
        return self._scratch.has("spots", chunk)

    def verify(self) -> Iterator[str]:
        """By fetching every object: the server compares its checksum."""
        for chunk in expected(self):
            try:
                self.get(chunk)
                yield ""
            except Damaged as error:
                yield str(error)

    def ids(self) -> Iterator[ChunkId]:
        marker: bytes | None = None
        while True:
            found = self._call("list", limit=_LISTED, marker=marker)
            if not isinstance(found, list) or not all(
                isinstance(one, bytes) and len(one) == ID_SIZE for one in found
            ):
                raise ConnectionBroken(f"The Borg at {self._where} gives an impossible list of objects.")
            yield from map(ChunkId, found)
            if len(found) < _LISTED:
                return
            marker = found[-1]

    def count(self) -> int:
        found = self._call("__len__")
        return found if isinstance(found, int) and found >= 0 else 0

    def stored_bytes(self) -> int:
        return 0

    def close(self) -> None:
        """Ends the server program, and the threads."""
        self._carrier.close_input()
        self._threads[0].join(timeout=5.0)
        self._carrier.end()
        self._carrier.stderr.stop()
        for thread in self._threads:
            thread.join()
        self._carrier.close()

    # --- asking ---

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._answer(self._ask(method, **arguments), method, None)

    def _ask(self, method: str, **arguments: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        with self._lock:
            if self._ended is not None:
                raise self._ended
            number = next(self._numbers)
            self._asked[number] = future
            request = packing.pack(
                [1, number, method, list(arguments.values())]
                if self._is_old
                else {"i": number, "m": method, "a": arguments}
            )
            with contextlib.suppress(OSError):  # the listener tells why
                self._carrier.write([request])
        return future

    def _answer(self, future: "Future[Any]", method: str, chunk: ChunkId | None) -> Any:
        try:
            answer = future.result(timeout=self._timeout)
        except NoAnswer:
            raise ConnectionLost(
                f"The Borg at {self._where} has not answered for {self._timeout:.0f} s. Run it again."
            ) from None
        if b"exception_class" in answer:
            raise self._error(answer, method, chunk)
        return answer.get(b"r")

    def _error(self, answer: dict[bytes, Any], method: str, chunk: ChunkId | None) -> StrongroomError:
        kind = _text(answer.get(b"exception_class"))
        short = answer.get(b"exception_short")
        said = " ".join(_text(line).strip() for line in short[:3]) if isinstance(short, list) else ""
        if kind == "ObjectNotFound" and chunk is not None:
            return ChunkMissing(f"Object {chunk.hex()} is not in {self._where}.")
        if kind == "DoesNotExist":
            return RepositoryMissing(f"Repository {self._where} does not exist.")
        if kind in ("InvalidRepository", "InvalidRepositoryConfig", "AtticRepository"):
            return NotARepository(f"{self._where} is no repository of Borg 1.0 to 1.4. {said}")
        if kind == "PathNotAllowed":
            return PathNotAllowed(f"{self._where}: the server does not allow this path to you.")
        if kind in ("IntegrityError", "CheckNeeded", "FileIntegrityError", "FileNotFoundError"):
            return Damaged(f"{self._where} is damaged. {said} Run `borg check` there.")
        return ConnectionBroken(f"The Borg at {self._where} fails at `{method}`: {kind} {said}".rstrip())

    # --- listening: a thread of its own ---

    def _listen(self) -> None:
        error: StrongroomError
        try:
            for answer in packing.unpack_stream(self._arriving(), f"What {self._where} answers", _MAX_ANSWER):
                newer = _as_newer(answer) if isinstance(answer, list) else answer
                number = newer.get(b"i") if isinstance(newer, dict) else None
                with self._lock:
                    future = self._asked.pop(number, None) if isinstance(number, int) else None
                if newer is None or future is None:
                    raise Damaged(f"{self._where} sends something else than answers.")
                future.set_result(newer)
            error = self._why_ended()
        except (Damaged, OSError) as broken:
            error = ConnectionBroken(
                f"{broken} The login shell may print something (`ssh HOST true` must print nothing), or "
                "another program than borg runs there."
            )
        with self._lock:
            self._ended = error
            left, self._asked = list(self._asked.values()), {}
        for future in left:
            future.set_exception(error)

    def _arriving(self) -> Iterator[bytes]:
        while data := self._carrier.output.read1(_READ):
            yield data

    def _why_ended(self) -> ConnectionLost:
        said = self._carrier.stderr.tail()
        return ConnectionLost(
            f"The connection to the Borg at {self._where} ended{f': {said}' if said else ''}. Look whether "
            "`ssh` reaches the host and `borg serve` runs there (--remote-path names it); then run it again."
        )


def _as_newer(answer: list[Any]) -> dict[bytes, Any] | None:
    """An answer of Borg 1.0; None if it is none."""
    if len(answer) != 4:
        return None
    _, number, error, result = answer
    return {b"i": number, b"r": result} if error is None else {b"i": number, b"exception_class": error}


def _answered_bytes(answer: dict[bytes, Any]) -> int:
    found = answer.get(b"r")
    return len(found) if isinstance(found, bytes) else 0


def _text(value: object) -> str:
    return value.decode("utf-8", "replace")[:300] if isinstance(value, bytes) else ""
