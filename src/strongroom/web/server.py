"""The HTTP server around the application, from the socket to its end."""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import uvicorn

from strongroom.commands.listing import ArchiveFilter
from strongroom.errors import BrowseFailed
from strongroom.reporting import Reporter
from strongroom.repository.repository import Repository
from strongroom.repository.shared_reading import SharedChunks
from strongroom.web.app import Application
from strongroom.web.gate import Gate
from strongroom.web.library import Library

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_THREADS = 16
_GRACE = 1  # seconds that answers under way have at the end
_MOST_HEAD = 128 * 1024  # bytes of a request's head: each byte of a path may take three


def browse(
    repository: Repository,
    archive: str | None,
    wanted: ArchiveFilter,
    listen: str,
    port: int,
    reporter: Reporter,
    ready: Callable[[str, str], None],
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. Main thread only.

    `ready` is told the address, without a slash at its end, and the token, once connections are taken.
    Raises `BrowseFailed`, `ArchiveMissing`, `RoleInsufficient`, and the store's errors.
    """
    repository.load_index()
    # one that cannot be bound is told before archives are read; nobody is let in until they are
    with bind(listen, port) as taken, SharedChunks(repository) as chunks:
        library = Library(repository, chunks, archive, wanted, reporter)
        gate = Gate(listen)
        with ThreadPoolExecutor(_THREADS, "answer") as pool:
            application = Application(library, gate, pool, reporter)
            asyncio.run(_serve(application, taken, lambda: ready(_address(listen, taken), gate.token)))


def bind(listen: str, port: int) -> socket.socket:
    """Raises `BrowseFailed`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listen, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise BrowseFailed(f"--listen {listen}: this is no address of this machine: {error}.") from None
    taken = socket.socket(family, kind, protocol)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    except OSError as error:
        taken.close()
        if error.errno == errno.EADDRINUSE:
            raise BrowseFailed(
                f"Port {port} is in use: choose another with --port, or any free one with --port 0."
            ) from None
        raise BrowseFailed(f"Port {port} of {listen} cannot be used: {error.strerror}.") from None
    return taken


def _address(listen: str, taken: socket.socket) -> str:
    host = f"[{listen}]" if ":" in listen else listen
    return f"http://{host}:{taken.getsockname()[1]}"


async def _serve(application: Application, taken: socket.socket, ready: Callable[[], None]) -> None:
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL + 1)  # the application tells what goes wrong
    config = uvicorn.Config(
        application, http="h11", ws="none", lifespan="off", loop="asyncio", log_config=None, access_log=False,
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=_GRACE,
        h11_max_incomplete_event_size=_MOST_HEAD,
    )  # fmt: skip
    await _Server(config, ready).serve([taken])


class _Server(uvicorn.Server):
    """Ends by signals without raising them again: that is how this program is meant to end."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {}
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP
                before[number] = signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
