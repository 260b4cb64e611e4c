"""The ways to a repository that are compared: a local folder, SSH, SSH over a distance."""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sshd import Endpoint, Sshd

ROUTES = ["local", "ssh", "ssh-latency"]
CARRIED_BYTES = 512 << 20


@dataclass(frozen=True)
class Carried:
    """What ssh itself did, once."""

    connecting: float  # seconds until an empty session has ended
    rate: float  # bytes a second, without that


@dataclass(frozen=True)
class Route:
    name: str
    note: str
    """What a reader of the results needs to know."""
    sshd: Sshd | None = None
    prefix: tuple[str, ...] = ()
    """Words before ssh."""
    port: int | None = None
    """That of a relay before the server."""
    carried: list[Carried] = field(default_factory=list)
    """What ssh itself did, one a measurement."""

    def admit(self, name: str, command: str) -> Endpoint | None:
        """None where nothing is between."""
        return self.sshd.admit(name, command, self.prefix, self.port) if self.sshd else None

    def measure_carrying(self) -> Carried | None:
        """What this route carries now, from `dd` to `cat`; added to `carried`."""
        endpoint = self.admit("carry", "exec cat > /dev/null")
        if endpoint is None:
            return None
        start = time.perf_counter()
        subprocess.run(endpoint.command(), stdin=subprocess.DEVNULL, check=True)
        connected = time.perf_counter()
        words = ["dd", "if=/dev/zero", "bs=1M", f"count={CARRIED_BYTES >> 20}", "status=none"]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as source:
            subprocess.run(endpoint.command(), stdin=source.stdout, check=True)
        connecting = connected - start
        seconds = max(time.perf_counter() - connected - connecting, 1e-6)
        self.carried.append(Carried(connecting, CARRIED_BYTES / seconds))
        return self.carried[-1]


@contextmanager
def opened(name: str, folder: Path, milliseconds: float) -> Iterator[Route]:
    """A route and its own server, whose files are in `folder`. Raises SshUnavailable.

    `milliseconds` delay each direction of `ssh-latency`: by netem where the kernel has it and lets
    us, or else by a relay process.
    """
    if name == "local":
        yield Route(name, "a folder of this machine")
        return
    server = Sshd(folder)
    distance = f"OpenSSH on loopback, {milliseconds:g} ms each way ({2 * milliseconds:g} ms a round trip)"
    try:
        if name == "ssh":
            server.start()
            yield Route(name, "OpenSSH on loopback", server)
        elif _has_netem(milliseconds):
            process = server.start(_namespace(milliseconds, 'exec "$@"'))
            yield Route(name, f"{distance} by netem", server, ("nsenter", "-t", str(process), "-n"))
        else:
            server.start()
            with _relayed(server.port, milliseconds) as port:
                yield Route(name, f"{distance} by a relay process: no netem here", server, (), port)
    finally:
        server.stop()


def _namespace(milliseconds: float, command: str) -> list[str]:
    """Words that run a shell's `command` in a network namespace that has a slow loopback only."""
    # far more packets than OpenSSH has in flight: netem's own 1000 would drop some
    netem = f"tc qdisc add dev lo root netem delay {milliseconds}ms limit 100000"
    return ["unshare", "--net", "sh", "-c", f"ip link set lo up && {netem} && {command}", "sh"]


def _has_netem(milliseconds: float) -> bool:
    try:
        done = subprocess.run(_namespace(milliseconds, "true"), check=False, capture_output=True)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@contextmanager
def _relayed(port: int, milliseconds: float) -> Iterator[int]:
    relay = Path(__file__).with_name("relay.py")
    words = [sys.executable, str(relay), str(milliseconds / 1000), str(port)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise subprocess.CalledProcessError(process.wait(), shlex.join(words))
        try:
            yield int(line)
        finally:
            process.stdin.close()
