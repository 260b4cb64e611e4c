"""A client that keeps no rules: it says to `strongroom serve` whatever a test wants said."""

import contextlib
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from sshd import PROGRAM
from strongroom.store import wire


class RawClient:
    """Owns a serve process: direct, or any command that carries one."""

    def __init__(
        self, words: Sequence[str] = (), *, command: Sequence[str] | None = None, cwd: Path | None = None
    ) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the client
        self.process = subprocess.Popen(
            command or [*PROGRAM, "serve", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            cwd=cwd,
        )
        assert self.process.stdin and self.process.stdout
        self.input, self.output = self.process.stdin, self.process.stdout
        self.number = 0

    def greet(self) -> None:
        self.send(wire.FROM_CLIENT_MAGIC + wire.message(wire.HELLO, 0, wire.Hello(1, 1, "raw", 128, 16)))
        assert self.output.read(len(wire.FROM_SERVER_MAGIC)) == wire.FROM_SERVER_MAGIC
        frame = wire.read_frame(self.output, wire.FROM_SERVER)
        assert frame is not None and frame.kind == wire.HELLO

    def open(self, path: Path | str, *, create: bool = False) -> wire.Reply:
        return self.ask(wire.Open(str(path).encode(), create, False))

    def send(self, data: bytes) -> None:
        """What the server has no more ears for is lost."""
        try:
            self.input.write(data)
            self.input.flush()
        except BrokenPipeError:
            pass

    def request(self, content: msgspec.Struct) -> int:
        self.number += 1
        self.send(wire.message(wire.REQUEST, self.number, content))
        return self.number

    def data(self, number: int, data: bytes) -> None:
        for at in range(0, len(data), wire.MAX_DATA):
            self.send(wire.frame(wire.DATA, number, data[at : at + wire.MAX_DATA]))

    def ask(self, content: msgspec.Struct, body: bytes = b"") -> wire.Reply:
        number = self.request(content)
        self.data(number, body)
        return self.reply(number)

    def put(self, name: str, body: bytes) -> wire.Reply:
        return self.ask(wire.Put(name, len(body)), body)

    def append(self, name: str, body: bytes) -> wire.Reply:
        return self.ask(wire.Append(name, len(body)), body)

    def reply(self, number: int) -> wire.Reply:
        """The next reply, which must be to `number`; DATA before it is passed over."""
        while True:
            frame = wire.read_frame(self.output, wire.FROM_SERVER)
            assert frame is not None, self.said()
            if frame.kind == wire.REPLY:
                assert frame.request == number, frame
                return wire.read_reply(frame.payload)

    def farewell(self) -> wire.Failed:
        """The server's last words; it must have ended after them."""
        reply = self.reply(0)
        assert isinstance(reply, wire.Failed)
        assert self.output.read() == b""
        return reply

    def leave(self) -> int:
        """Close, and the server's exit code."""
        if not self.input.closed:
            with contextlib.suppress(BrokenPipeError):
                self.input.close()
        self.output.read()
        return self.process.wait(timeout=30)

    def said(self) -> str:
        """All of the server's standard error; after it has ended."""
        if not self.input.closed:
            self.leave()
        self.errors.seek(0)
        return self.errors.read().decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.input, self.output, self.errors):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def failed(reply: wire.Reply, kind: str, words: str = "") -> bool:
    return isinstance(reply, wire.Failed) and reply.kind == kind and words in reply.text
