"""A server with clients, each with a repository: for tests of what its owner does."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from program import Done, Program, patterned
from sshd import direct_rsh, keygen
from strongroom.store import local

DAY = 86_400


@dataclass
class Hosted:
    """`owner` is the server's; `client(name)` is a machine whose repository lies in that client's folder."""

    owner: Program
    folder: Path

    def __call__(self, *words: str, **how: object) -> Done:
        return self.owner("server", *words, **how)

    def add(self, name: str, *words: str) -> Path:
        key = self.owner.root / f"ssh-{name}"
        keygen(key)
        self("add-client", name, "--key", f"{key}.pub", *words).ok()
        return self.folder / name

    def client(self, name: str, *words: str, below: str = "") -> Program:
        """With an archive."""
        place = self.folder / name if (self.folder / name).exists() else self.add(name)
        machine = self.owner.another(f"on-{name}", STRONGROOM_REPO=str(place / below))
        machine("init", "--encryption=repokey", "--make-parent-dirs", *words).ok()
        source = machine.cwd / f"src-{name}{below.replace('/', '-')}"
        source.mkdir()
        (source / "file").write_bytes(patterned(200_000, len(os.listdir(self.folder))))
        machine("create", "::first", source.name).ok()
        return machine


def hosted(program: Program) -> Hosted:
    folder = program.root / "srv"
    made = Hosted(program, folder)
    program.env["HOME"] = str(program.root)
    made("init", str(folder)).ok()
    return made


def at_noon(day: float) -> Callable[[], None]:
    """For `before`: the clock of a run and of its store; so many days from today's noon."""
    noon = datetime.now().replace(hour=12, minute=0, second=0).timestamp()

    def set_clock() -> None:
        real = time.time_ns
        shift = int((noon + day * DAY) * 1e9) - real()
        time.time_ns = lambda: real() + shift
        local.LocalStore.open.__func__.__defaults__ = (time.time_ns,)  # type: ignore[attr-defined]
        local.LocalStore.__init__.__defaults__ = (time.time_ns,)

    return set_clock


def over_ssh(server: Hosted, name: str, *init: str) -> Program:
    """A client whose repository is founded through its forced command, and that goes on through it."""
    server.add(name, "--quota", "1G")
    words = forced_words(server, name)
    machine = server.owner.another(
        f"on-{name}",
        STRONGROOM_REPO=f"ssh://backup@server{server.folder}/{name}",
        STRONGROOM_RSH=direct_rsh(server.owner.root, *words, name=f"rsh-{name}"),
    )
    machine("init", "--encryption=repokey", *init).ok()
    return machine


def founded_over_ssh(server: Hosted, name: str, *init: str) -> Program:
    """The same, but it goes on in the folder itself, which is quicker."""
    machine = over_ssh(server, name, *init)
    machine.env["STRONGROOM_REPO"] = str(server.folder / name)
    machine.env["STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK"] = "yes"
    return machine


def forced_words(server: Hosted, name: str) -> list[str]:
    lines = (server.owner.root / ".ssh/authorized_keys").read_text().splitlines()
    (line,) = (line for line in lines if line.endswith(f"strongroom-{name}"))
    return line.split(" serve ", 1)[1].split('",restrict', 1)[0].split()


def backups(machine: Program, *days: float) -> None:
    source = machine.cwd / "data"
    source.mkdir(exist_ok=True)
    for day in days:
        (source / "file").write_bytes(patterned(300_000, int(day * 10) + 1000))
        machine("create", f"::day{day}", "data", before=at_noon(day)).ok()
