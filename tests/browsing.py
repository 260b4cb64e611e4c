"""`strongroom browse`, running, and a client that sends what a test says, byte for byte."""

import base64
import http.client
import os
import re
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import strongroom.web.server  # imported once, for all the programs that are forked
from mounting import has_ended
from program import Program, Running, end_all, fast_folder, make_program, remove_tree, wait_until

__all__ = ["Got", "Site", "browsing", "fixtures", "scene"]

assert strongroom.web.server


class Got(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Site:
    """A server, and who has come in to it."""

    def __init__(self, running: Running, port: int, token: str) -> None:
        self.running = running
        self.port = port
        self.token = token
        self.cookie = ""
        self.cookie = self.get(f"/?token={token}").headers["Set-Cookie"].partition(";")[0]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(
        self,
        target: str,
        method: str = "GET",
        body: bytes | None = None,
        *,
        known: bool = True,
        **headers: str,
    ) -> Got:
        """`known`: with the cookie. Raises what a broken connection raises."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if known:
            sent.setdefault("Cookie", self.cookie)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, target, body, sent)
            answer = connection.getresponse()
            return Got(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def dav(self, target: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Got:
        word = base64.b64encode(f"anybody:{self.token}".encode()).decode()
        return self.get(target, method, body, known=False, Authorization=f"Basic {word}", **headers)


@contextmanager
def browsing(program: Program, *words: str, code: int = 0) -> Iterator[Site]:
    """Until the end, when it is interrupted and must end with this code."""
    running = program.start("browse", "--port", "0", *words)
    found: list[re.Match[str]] = []

    def ready() -> bool:
        said = os.pread(running.out.fileno(), 4096, 0).decode()
        found.extend(re.finditer(r"http://\S+:(\d+)/\?token=(\S+)\n(?s:.)*Ctrl-C", said))
        return bool(found) or has_ended(running.pid)

    wait_until(ready)
    if not found:
        raise AssertionError(running.wait())
    try:
        yield Site(running, int(found[0][1]), found[0][2])
    except BaseException:
        running.signal(signal.SIGKILL)
        raise
    running.signal(signal.SIGINT)
    done = running.wait()
    assert done.code == code, done
    if not code:
        assert not done.err, done.err


@contextmanager
def scene(fill: Callable[[Program, Path], None]) -> Iterator[Program]:
    """For a whole module, or one test: a repository, filled from a folder `src`."""
    root = Path(tempfile.mkdtemp(prefix="strongroom-browse-", dir=fast_folder()))
    program = make_program(root)
    try:
        program("init", "--encryption=repokey").ok()
        src = program.cwd / "src"
        src.mkdir()
        fill(program, src)
        yield program
    finally:
        end_all(program)
        remove_tree(root)


def fixtures(fill: Callable[[Program, Path], None]) -> tuple[Any, Any]:
    """`program, site = fixtures(fill)`: for a whole module, a scene and a server that shows it."""

    @pytest.fixture(scope="module")
    def program() -> Iterator[Program]:
        with scene(fill) as made:
            yield made

    @pytest.fixture(scope="module")
    def site(program: Program) -> Iterator[Site]:
        with browsing(program) as made:
            yield made

    return program, site
