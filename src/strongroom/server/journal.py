"""The operator's record of what was refused: one line each, on standard error, in syslog, and in a file."""

import contextlib
import os
import sys
import syslog
import time
from threading import Lock

from strongroom.store.diagnosis import SERVE_LOG_PREFIX
from strongroom.store.wire import printable

MAX_LINES = 1000  # a session: a client must not fill the log
_DEVICE = "/dev/log"


class Journal:
    """`client` is the name in the forced command; without it, the address is all there is."""

    def __init__(self, client: str | None = None, path: str | None = None) -> None:
        self._who = who(client)
        self._lock = Lock()
        self._left = MAX_LINES
        self._path = path
        if os.path.exists(_DEVICE):
            syslog.openlog("strongroom", syslog.LOG_PID, syslog.LOG_DAEMON)

    def refused(self, what: str, why: str) -> None:
        self._write(f"refused: {what}: {why}")

    def failed(self, what: str, why: str) -> None:
        self._write(f"failed: {what}: {why}")

    def _write(self, text: str) -> None:
        with self._lock:
            if self._left <= 0:
                return
            self._left -= 1
            if not self._left:
                text = "this session has too many lines: the rest is not logged"
            line = printable(f"{self._who}: {text}")[:2000]
            # A client that reads nothing, or a full disk, must not stop the server.
            with contextlib.suppress(OSError):
                print(SERVE_LOG_PREFIX + line, file=sys.stderr, flush=True)
            if os.path.exists(_DEVICE):
                syslog.syslog(syslog.LOG_WARNING, line)
            if self._path is not None:
                stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                with contextlib.suppress(OSError):
                    _append(self._path, f"{stamp} {line}\n".encode("utf-8", "replace"))


def who(client: str | None) -> str:
    """Name, and address as sshd tells it."""
    address = os.environ.get("SSH_CONNECTION", "").split(" ", 1)[0]
    name = client or f"user {os.environ.get('USER') or os.geteuid()}"
    return printable(f"{name} from {address}" if address else name)


def _append(path: str, line: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)
