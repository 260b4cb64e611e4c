"""Repositories that real Borgs made, from `tests/borg/data`, and what those Borgs said of them."""

import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from program import Program

DATA = Path(__file__).parent / "borg" / "data"
_APART = "interrupted"  # has other archives than the others
NAMES = sorted(
    name for path in DATA.glob("*.tar.xz") if (name := path.name.removesuffix(".tar.xz")) != _APART
)
PASSPHRASE = "correct horse"


@dataclass
class Old:
    """A repository of Borg's, and what Borg itself says of it."""

    folder: Path
    said: dict[str, Any]
    env: dict[str, str]

    @property
    def place(self) -> str:
        return f"borg:{self.folder}"

    def archive(self, name: str) -> dict[str, Any]:
        return next(one for one in self.said["archives"] if one["name"] == name)


def borg_program() -> str | None:
    """A real Borg 1.x of this machine."""
    found = shutil.which("borg")
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    is_real = b"strongroom" not in Path(found).read_bytes()[:4000]  # our own alias is no witness
    return found if said.startswith("borg 1.") and is_real else None


def unpack_old(program: Program, name: str) -> Old:
    """Puts a repository of `data` beside the program, which is told its passphrase and keys."""
    place = program.root / f"old-{name}"
    with tarfile.open(DATA / f"{name}.tar.xz") as tar:
        tar.extractall(place, filter="tar")
    env = {"BORG_PASSPHRASE": PASSPHRASE, "BORG_KEYS_DIR": str(place / "keys")}
    env |= {f"BORG_{what}_REPO_ACCESS_IS_OK": "yes" for what in ("UNKNOWN_UNENCRYPTED", "RELOCATED")}
    program.env |= env
    return Old(place / "repo", json.loads((place / "said.json").read_text()), env)


def state_of(folder: Path) -> dict[str, tuple[Any, ...]]:
    """All that shows whether somebody wrote into a folder."""
    return {
        str(path): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.lstat().st_ctime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in [folder, *folder.rglob("*")]
    }
