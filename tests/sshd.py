"""A real OpenSSH server on loopback, for tests; and a short cut to `serve` without one.

    from sshd import Sshd, direct_rsh

`Sshd` lives in a folder of its own: host key, configuration, authorized_keys, clients' keys. A test
gives each client its forced command and gets the `rsh` words that reach it.
"""

import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")

# CI installs it: there its absence is a failure, not an excuse
needs_sshd = pytest.mark.skipif(SSHD is None and "CI" not in os.environ, reason="sshd is not installed")
PROGRAM = [sys.executable, "-m", "strongroom"]


class Sshd:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = getpass.getuser()
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "sshd.log"
        self.authorized_keys = folder / "authorized_keys"
        self._clients: dict[str, str] = {}

    def start(self) -> None:
        """Several tries, since a free port may be taken before sshd has it."""
        if SSHD is None:
            raise RuntimeError("sshd is not installed")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        keygen(self.folder / "host")
        self.authorized_keys.touch(mode=0o600)
        for _ in range(5):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            config = self.folder / "sshd_config"
            config.write_text(
                f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.folder / 'host'}\nPidFile none\n"
                f"AuthorizedKeysFile {self.authorized_keys}\nStrictModes no\nUsePAM no\n"
                "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
                "PermitRootLogin prohibit-password\n"
                "MaxStartups 100\nMaxSessions 100\n"
            )
            self.process = subprocess.Popen(
                [SSHD, "-D", "-f", str(config), "-E", str(self.log)], stdin=subprocess.DEVNULL
            )
            if self._answers():
                (self.folder / "known_hosts").write_text(
                    f"[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}"
                )
                return
            self.stop()
        raise RuntimeError(f"sshd does not start: {self.log.read_text() if self.log.exists() else ''}")

    def _answers(self) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    # Another program's port would not say this.
                    return probe.recv(4) == b"SSH-"
            os.sched_yield()
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    def key(self, name: str) -> Path:
        """The private key of a client; made when first asked for. The public one has `.pub` added."""
        path = self.folder / f"key-{name}"
        if not path.exists():
            keygen(path)
        return path

    def allow(self, name: str, command: str) -> None:
        """The client's one forced command."""
        public = Path(f"{self.key(name)}.pub").read_text().strip()
        quoted = command.replace('"', '\\"')
        self._clients[name] = f'command="{quoted}",restrict {public}\n'
        self.authorized_keys.write_text("".join(self._clients.values()))

    def rsh(self, name: str) -> str:
        words = [
            "ssh",
            "-F",
            "none",
            "-i",
            str(self.key(name)),
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "BatchMode=yes",
        ]
        words += ["-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}", "-o", "LogLevel=ERROR"]
        return shlex.join(words)

    def url(self, path: str) -> str:
        """`path` absolute, or `./relative` to where the forced command goes."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}{path if path.startswith('/') else '/' + path}"


def serve_command(*words: str, cd: Path | None = None) -> str:
    """A forced command for this very strongroom."""
    command = shlex.join([*PROGRAM, "serve", *words])
    return f"cd {shlex.quote(str(cd))} && exec {command}" if cd else f"exec {command}"


@contextmanager
def running(folder: Path) -> Iterator[Sshd]:
    server = Sshd(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def direct_rsh(folder: Path, *words: str, name: str = "rsh") -> str:
    """An `rsh` that runs `strongroom serve WORDS` on this machine, without ssh."""
    return script(folder, f"exec {shlex.join([*PROGRAM, 'serve', *words])}", name)


_RELAY = """
import os, queue, subprocess, sys, threading, time
delay = float(sys.argv[1])
process = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def pump(source, sink):
    waiting = queue.Queue()
    def read():
        while data := os.read(source, 1 << 18):
            waiting.put((time.monotonic() + delay, data))
        waiting.put((0, b""))
    threading.Thread(target=read, daemon=True).start()
    while True:
        due, data = waiting.get()
        if not data:
            return os.close(sink)
        time.sleep(max(0, due - time.monotonic()))
        while data:
            data = data[os.write(sink, data):]
inner = os.dup(process.stdin.fileno())
process.stdin.close()
threading.Thread(target=pump, args=(0, inner), daemon=True).start()
pump(process.stdout.fileno(), 1)
sys.exit(process.wait())
"""


def distant_rsh(folder: Path, delay: float, *words: str) -> str:
    """As `direct_rsh`, but whatever either side says takes `delay` seconds to the other."""
    (folder / "relay.py").write_text(_RELAY)
    command = [sys.executable, str(folder / "relay.py"), str(delay), *PROGRAM, "serve", *words]
    return script(folder, f"exec {shlex.join(command)}", "distant")


def script(folder: Path, text: str, name: str = "rsh") -> str:
    """An executable shell script that ignores its arguments; quoted, for use as an `rsh`."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return shlex.quote(str(path))


def keygen(path: Path, kind: str = "ed25519") -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", path.name, "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )


def kill_children(process: subprocess.Popen[bytes], words: Sequence[str]) -> list[int]:
    """Kill -9 the descendants of a process whose command line holds all the words; their ids."""
    killed = []
    for pid in descendants(process.pid):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if all(word in line for word in words):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
    return killed


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except FileNotFoundError:  # the thread ended meanwhile
            continue
        for child in children:
            found += [int(child), *descendants(int(child))]
    return found
