"""What every program compared has, and those that Debian and PyPI have.

A peer says how to install it and which commands do each case. To add one: a subclass of Peer, and its
name in peers.py.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import measure
from sshd import HOST, SFTP, Endpoint

RESERVE = ".reserve"
PASSPHRASE = "benchmark passphrase"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "strongroom-benchmarks"
PROJECT = Path(__file__).resolve().parent.parent


class PeerMissing(Exception):
    """A peer is not installed and cannot be installed from here."""


class Peer:
    """One program on one fresh repository.

    `create` runs in the tree's parent folder and backs up its one folder by name; `extract` runs
    in an empty folder. Settings are the program's defaults, with encryption on.
    With an `endpoint`, the repository is reached through it and what answers is `forced_command`.
    """

    name: str
    settings: str
    endpoint: Endpoint | None = None

    def __init__(self, binary: Path, home: Path) -> None:
        self.binary = str(binary)
        self.home = home
        self.repository = home / "repository"

    @classmethod
    def find(cls) -> Path:
        """Where the program is, installed first if need be. Raises PeerMissing."""
        raise NotImplementedError

    def version(self) -> str:
        done = subprocess.run([self.binary, *self.version_words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    version_words: tuple[str, ...] = ("--version",)

    def stored(self) -> int:
        """Bytes that the repository takes."""
        return measure.size_of(self.repository)

    def environment(self) -> dict[str, str]:
        """The caller's, less what would steer a peer, plus `variables`.

        Programs in Python keep their bytecode, as installed ones do.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("STRONGROOM_", "BORG_", "RESTIC_", "PYTHONDONTWRITEBYTECODE"))
        }
        return {**kept, "HOME": str(self.home), **self.variables()}

    def variables(self) -> dict[str, str]:
        raise NotImplementedError

    def forced_command(self) -> str:
        """What sshd runs for this peer, as its shell reads it."""
        home = shlex.quote(f"HOME={self.home / 'server'}")
        return f"exec env {home} {shlex.join(self.server())}"

    def server(self) -> list[str]:
        raise NotImplementedError

    def init(self) -> list[list[str]]:
        """What is run before anything else."""
        raise NotImplementedError

    def create(self, archive: str, folder: str) -> list[str]:
        raise NotImplementedError

    def extract(self, archive: str, folder: str) -> list[str]:
        raise NotImplementedError

    def upkeep(self, case: str) -> list[str] | None:
        """The command for `prune` (all but the last ten archives), `compact` or `check`, if it has one."""
        raise NotImplementedError

    def mount(self, archive: str, point: Path) -> tuple[list[str], str] | None:
        """A command that serves until unmounted, and where the archive is below; None if it cannot."""
        return None


class BorgLike(Peer):
    """Borg's command line, which is also strongroom's."""

    prefix: str
    encryption: str
    faster: tuple[str, ...] = ()

    def variables(self) -> dict[str, str]:
        location = {f"{self.prefix}_REPO": str(self.repository)}
        if self.endpoint:
            location = {
                f"{self.prefix}_REPO": self.endpoint.url(self.repository),
                f"{self.prefix}_RSH": self.endpoint.rsh(),
            }
        return {
            **location,
            f"{self.prefix}_PASSPHRASE": PASSPHRASE,
            f"{self.prefix}_BASE_DIR": str(self.home / "base"),
        }

    def server(self) -> list[str]:
        return [self.binary, "serve", "--restrict-to-path", str(self.home), "--append-only"]

    def init(self) -> list[list[str]]:
        return [[self.binary, "init", f"--encryption={self.encryption}"]]

    def create(self, archive: str, folder: str) -> list[str]:
        return [self.binary, "create", *self.faster, f"::{archive}", folder]

    def extract(self, archive: str, folder: str) -> list[str]:
        return [self.binary, "extract", f"::{archive}"]

    def upkeep(self, case: str) -> list[str]:
        return [
            self.binary,
            case,
            *{"prune": ["--keep-last", "10"], "check": ["--verify-data"]}.get(case, []),
        ]


class Strongroom(BorgLike):
    name = "strongroom"
    prefix = "STRONGROOM"
    encryption = "repokey"
    settings = "repokey; all else at its default; without the reserve that it keeps for a full disk"

    def stored(self) -> int:
        reserve = self.repository / RESERVE / "space"
        return super().stored() - (reserve.stat().st_size if reserve.exists() else 0)

    def mount(self, archive: str, point: Path) -> tuple[list[str], str]:
        return [self.binary, "mount", "-f", f"::{archive}", str(point)], ""

    @classmethod
    def find(cls) -> Path:
        for path in (PROJECT / ".venv/bin/strongroom", Path(sys.executable).with_name("strongroom")):
            if path.exists():
                return path
        if found := shutil.which("strongroom"):
            return Path(found)
        raise PeerMissing("strongroom is not installed: run ./test once, or give --strongroom PATH")

    def upkeep(self, case: str) -> list[str]:
        # the others free at once what is deleted
        return [*super().upkeep(case), *{"compact": ["--quarantine", "0"]}.get(case, [])]


class FastStrongroom(Strongroom):
    name = "strongroom-fast"
    faster = ("--compression", "lz4")
    settings = "repokey, lz4"


class Borg(BorgLike):
    name = "borg"
    prefix = "BORG"
    encryption = "repokey"
    settings = "repokey (AES-CTR, HMAC-SHA256), lz4; all else at its default"
    requirement, fuse, folder = "borgbackup==1.4.*", "pyfuse3", "borg-1.4"
    packages = (
        "build-essential pkg-config python3-dev libacl1-dev liblz4-dev libzstd-dev libxxhash-dev libssl-dev "
        "libfuse3-dev"
    )

    @classmethod
    def find(cls) -> Path:
        folder = CACHE / cls.folder
        binary = folder / "bin/borg"
        if not binary.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            pip: list[str | Path] = [folder / "bin/pip", "install", "--quiet"]
            if subprocess.run([*pip, cls.requirement], check=False).returncode != 0:
                raise PeerMissing(
                    f"{cls.name} is built from source: apt-get install {cls.packages}, "
                    f"or give --{cls.name} PATH"
                )
            # without it nothing but mount is missing
            subprocess.run([*pip, cls.fuse], check=False)
        return binary

    def mount(self, archive: str, point: Path) -> tuple[list[str], str] | None:
        about = subprocess.run([self.binary, "debug", "info"], capture_output=True, text=True, check=True)
        if "fuse: None" in about.stdout:
            return None
        return [self.binary, "mount", "-f", f"::{archive}", str(point)], ""


class FastBorg(Borg):
    name = "borg-fast"
    faster = ("--compression", "none")
    settings = "repokey, no compression: its default, lz4, is its fastest that compresses"


class Borg2(Borg):
    """The pre-release. Later ones than this want OpenSSL 3.2, which Debian 12 does not have."""

    name = "borg2"
    requirement, fuse, folder = "borgbackup==2.0.0b21", "mfusepy", "borg-2"
    encryption = "repokey-aes-ocb"
    settings = "repokey-aes-ocb; all else at its default; a pre-release"

    def server(self) -> list[str]:
        return [self.binary, "serve", "--restrict-to-path", str(self.home), "--permissions", "no-delete"]

    def init(self) -> list[list[str]]:
        return [[self.binary, "repo-create", f"--encryption={self.encryption}"]]

    def create(self, archive: str, folder: str) -> list[str]:
        return [self.binary, "create", archive, folder]

    def extract(self, archive: str, folder: str) -> list[str]:
        return [self.binary, "extract", archive]

    def mount(self, archive: str, point: Path) -> tuple[list[str], str] | None:
        # its "debug info" does not know of mfusepy
        words = [str(Path(self.binary).with_name("python")), "-c", "import mfusepy"]
        if subprocess.run(words, capture_output=True, check=False).returncode != 0:
            return None
        return [self.binary, "mount", "-f", str(point)], archive


class Restic(Peer):
    name = "restic"
    settings = "repository version and compression at their defaults"
    version_words = ("version",)
    faster: tuple[str, ...] = ()

    @classmethod
    def find(cls) -> Path:
        if not shutil.which("restic") and os.geteuid() == 0:
            subprocess.run(["apt-get", "install", "-y", "-qq", "restic"], check=False)
        if found := shutil.which("restic"):
            return Path(found)
        raise PeerMissing("restic is not installed: apt-get install restic, or give --restic PATH")

    def variables(self) -> dict[str, str]:
        at = f"sftp:{self.endpoint.user}@{HOST}:" if self.endpoint else ""
        return {
            "RESTIC_REPOSITORY": f"{at}{self.repository}",
            "RESTIC_PASSWORD": PASSPHRASE,
            "RESTIC_CACHE_DIR": str(self.home / "cache"),
        }

    def forced_command(self) -> str:
        return SFTP

    def init(self) -> list[list[str]]:
        return [[*self._words(), "init"]]

    def create(self, archive: str, folder: str) -> list[str]:
        return [*self._words(), "backup", *self.faster, "--tag", archive, folder]

    def extract(self, archive: str, folder: str) -> list[str]:
        return [*self._words(), "restore", "latest", "--tag", archive, "--target", "."]

    def upkeep(self, case: str) -> list[str]:
        words = {
            "prune": ["forget", "--keep-last", "10", "--group-by", ""],
            "compact": ["prune"],
            "check": ["check", "--read-data"],
        }
        return [*self._words(), *words[case]]

    def mount(self, archive: str, point: Path) -> tuple[list[str], str]:
        return [*self._words(), "mount", str(point)], "snapshots/latest"

    def _words(self) -> list[str]:
        if self.endpoint is None:
            return [self.binary]
        return [self.binary, "-o", f"sftp.command={shlex.join(self.endpoint.sftp())}"]


class FastRestic(Restic):
    name = "restic-fast"
    faster = ("--compression", "off")
    settings = "no compression: this version knows no faster one than its default"
