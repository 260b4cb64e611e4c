"""A real OpenSSH server on loopback, all its files in one folder; a key and a forced command a client."""

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
ALIAS = "strongroom-benchmark"
SFTP = "internal-sftp"
START_SECONDS = 10
TRIES = 5


class SshUnavailable(Exception):
    """OpenSSH is not installed, or its server does not start."""


@dataclass(frozen=True)
class Endpoint:
    """One client's way to the server."""

    ssh: tuple[str, ...]
    """The program and its options, less the port, as `--rsh` wants it."""
    user: str
    port: int

    def rsh(self) -> str:
        return shlex.join(self.ssh)

    def url(self, path: Path) -> str:
        """`path` absolute."""
        return f"ssh://{self.user}@{HOST}:{self.port}{path}"

    def command(self) -> list[str]:
        """Starts the forced command."""
        return [*self.ssh, "-p", str(self.port), f"{self.user}@{HOST}", "forced"]

    def sftp(self) -> list[str]:
        """Starts sftp where the forced command is `SFTP`, which sshd gives to no other request."""
        return [*self.ssh, "-p", str(self.port), "-s", f"{self.user}@{HOST}", "sftp"]


class Sshd:
    def __init__(self, folder: Path) -> None:
        self.port = 0
        self._folder = folder
        self._log = folder / "sshd.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: dict[str, str] = {}

    def start(self, prefix: Sequence[str] = ()) -> int:
        """Its process id. `prefix` are words that start it as theirs, in the same process.

        Raises SshUnavailable.
        """
        program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if program is None or shutil.which("ssh") is None:
            raise SshUnavailable("OpenSSH is not installed: apt-get install openssh-server, or --over local")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        _keygen(self._folder / "host")
        (self._folder / "known_hosts").write_text(f"{ALIAS} {(self._folder / 'host.pub').read_text()}")
        for _ in range(TRIES):  # a free port may be taken before sshd has it
            self._configure()
            words = [*prefix, program, "-D", "-f", str(self._folder / "sshd_config"), "-E", str(self._log)]
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
            if self._listens():
                return self._process.pid
            self.stop()
        said = self._log.read_text() if self._log.exists() else ""
        raise SshUnavailable(f"sshd does not start: {said.strip() or shlex.join(words)}")

    def _configure(self) -> None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = probe.getsockname()[1]
        (self._folder / "sshd_config").write_text(
            f"ListenAddress {HOST}\nPort {self.port}\nHostKey {self._folder / 'host'}\nPidFile none\n"
            f"AuthorizedKeysFile {self._folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"PermitRootLogin prohibit-password\nSubsystem sftp {SFTP}\n"
        )

    def _listens(self) -> bool:
        assert self._process is not None
        # by its log, since its port may be in a network namespace of its own
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._log.exists() and f"listening on {HOST} port {self.port}" in self._log.read_text():
                return True
            time.sleep(0.01)
        return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def admit(self, name: str, command: str, prefix: Sequence[str] = (), port: int | None = None) -> Endpoint:
        """The way of a client who may run `command` only; through `port`, if not straight."""
        key = self._folder / f"key-{name}"
        if not key.exists():
            _keygen(key)
        escaped = command.replace('"', '\\"')
        self._lines[name] = f'command="{escaped}",restrict {Path(f"{key}.pub").read_text()}'
        (self._folder / "authorized_keys").write_text("".join(self._lines.values()))
        ssh = (*prefix, "ssh", "-F", "none", "-i", str(key))
        settings = {
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "HostKeyAlias": ALIAS,
            "UserKnownHostsFile": str(self._folder / "known_hosts"),
            "LogLevel": "ERROR",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        return Endpoint((*ssh, *options), getpass.getuser(), self.port if port is None else port)


def _keygen(path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
