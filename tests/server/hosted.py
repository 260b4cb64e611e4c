"""A server with clients, each with a repository: for tests of what its owner does."""

import os
from dataclasses import dataclass
from pathlib import Path

from program import Done, Program, patterned
from sshd import keygen


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
