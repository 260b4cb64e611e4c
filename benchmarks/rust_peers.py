"""Peers that crates.io has: `cargo install` builds them, in a quarter of an hour and more."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

from programs import CACHE, PASSPHRASE, Peer, PeerMissing


class Crate(Peer):
    crate: str
    options: ClassVar[list[str]] = []
    needs = "cargo"

    @classmethod
    def find(cls) -> Path:
        if found := shutil.which(cls.name):
            return Path(found)
        folder = CACHE / "crates"
        binary = folder / "bin" / cls.name
        if not binary.exists():
            words = [
                "cargo",
                "install",
                "--quiet",
                "--locked",
                "--root",
                str(folder),
                *cls.options,
                cls.crate,
            ]
            if not shutil.which("cargo") or subprocess.run(words, check=False).returncode != 0:
                raise PeerMissing(
                    f"{cls.name} is built from source, which takes {cls.needs}; or give --{cls.name} PATH"
                )
        return binary


class Rustic(Crate):
    """Restic's repository, written in Rust. Without its other features (web, mount, metrics)."""

    name, crate = "rustic", "rustic-rs"
    options: ClassVar[list[str]] = ["--no-default-features"]
    settings = "repository version and compression at their defaults; built without its optional features"

    def variables(self) -> dict[str, str]:
        return {
            "RUSTIC_REPOSITORY": str(self.repository),
            "RUSTIC_PASSWORD": PASSPHRASE,
            "RUSTIC_CACHE_DIR": str(self.home / "cache"),
        }

    def server(self) -> list[str]:
        raise PeerMissing("rustic reaches a server by rclone or REST only: leave it out over ssh")

    def init(self) -> list[list[str]]:
        return [[self.binary, "init"]]

    def create(self, archive: str, folder: str) -> list[str]:
        return [self.binary, "backup", "--tag", archive, folder]

    def extract(self, archive: str, folder: str) -> list[str]:
        return [self.binary, "restore", "--filter-tags", archive, "latest", "."]

    def upkeep(self, case: str) -> list[str]:
        words = {
            "prune": ["forget", "--keep-last", "10", "--group-by", ""],
            "compact": ["prune", "--instant-delete"],
            "check": ["check", "--read-data"],
        }
        return [self.binary, *words[case]]


class Bupstash(Crate):
    name, crate = "bupstash", "bupstash"
    needs = "cargo, libsodium-dev and pkg-config"
    settings = "zstd level 3, a key without passphrase, a send log as its manual advises"

    def variables(self) -> dict[str, str]:
        reached = (
            {"BUPSTASH_REPOSITORY_COMMAND": shlex.join(self.endpoint.command())}
            if self.endpoint
            else {"BUPSTASH_REPOSITORY": str(self.repository)}
        )
        return {
            **reached,
            "BUPSTASH_KEY": str(self.home / "key"),
            "BUPSTASH_SEND_LOG": str(self.home / "send-log"),
            "BUPSTASH_QUERY_CACHE": str(self.home / "query-cache"),
        }

    version_words = ("version",)

    def server(self) -> list[str]:
        return [self.binary, "serve", str(self.repository)]

    def init(self) -> list[list[str]]:
        return [[self.binary, "new-key", "-o", str(self.home / "key")], [self.binary, "init"]]

    def create(self, archive: str, folder: str) -> list[str]:
        return [self.binary, "put", "--quiet", f"archive={archive}", "::", folder]

    def extract(self, archive: str, folder: str) -> list[str]:
        # it stores what is in the folder, and restores into one that exists
        make = 'mkdir "$1" && exec "$0" restore --quiet --ownership --xattrs --into "$1" "$2"'
        return ["sh", "-c", make, self.binary, folder, f"archive={archive}"]

    def upkeep(self, case: str) -> list[str] | None:
        return [self.binary, "gc", "--quiet"] if case == "compact" else None
