"""Makes the repositories of this folder: `make.py /path/to/borg [NAME...]`, as root, on Linux.

Each is a small repository of a real Borg, with what that Borg itself says of it: `said.json` holds for each
archive its listing with the hash of each file's content, and its facts. Made once by Borg 1.4.5 (and 1.2.4,
1.1.16, 1.0.2: names ending in `-1.2` and their like); run again only to add to it. Borg 1.0 does not speak
JSON: `BORG_READER` names another Borg, which then tells what is in a copy of the repository.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PASSPHRASE = "correct horse"
REPOSITORIES = {  # name: (mode, compression)
    "none": ("none", "lz4"),
    "authenticated": ("authenticated", "zlib,6"),
    "authenticated-blake2": ("authenticated-blake2", "none"),
    "repokey": ("repokey", "zstd,3"),
    "keyfile": ("keyfile", "lzma,6"),
    "repokey-blake2": ("repokey-blake2", "auto,zstd,3"),
    "keyfile-blake2": ("keyfile-blake2", "obfuscate,110,lz4"),
    "repokey-1.2": ("repokey", "auto,lzma,1"),
    "none-1.2": ("none", "zlib,9"),
    "keyfile-1.0": ("keyfile", "lzma,3"),
    "repokey-1.0": ("repokey", "zlib,6"),
    "passphrase-1.0": ("passphrase", "zlib,9"),
    "authenticated-1.1": ("authenticated", "lzma,3"),
    "repokey-blake2-1.1": ("repokey-blake2", "auto,zstd,3"),
}
_KEYS = "mode type uid gid user group size mtime isomtime source linktarget flags healthy sha256 num_chunks"
FORMAT = "".join(f"{{{key}}}" for key in [*_KEYS.split(), "path"])
_THEN = 1_600_000_000_123_456_789  # ns


def main(borg: str, *names: str) -> None:
    for name in names or [one for one in REPOSITORIES if one[-4:-1] != "-1."]:
        with tempfile.TemporaryDirectory() as folder:
            make(borg, Path(folder), name)


def make(borg: str, work: Path, name: str) -> None:
    mode, compression = REPOSITORIES[name]
    env = os.environ | {
        "BORG_BASE_DIR": str(work / "home"),
        "BORG_CACHE_DIR": str(work / "home"),
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "BORG_KEYS_DIR": str(work / "keys"),
        "BORG_PASSPHRASE": PASSPHRASE,
        "BORG_HOST_ID": "fixture",
        "TZ": "UTC",
    }

    def run(*args: str, program: str = borg) -> str:
        done = subprocess.run(
            [program, *args], env=env, cwd=work, check=False, stdout=subprocess.PIPE, text=True
        )
        assert done.returncode in (0, 1), args
        return done.stdout

    make_files(work / "src")
    run("init", "--encryption", mode, "repo")
    atime = () if name.endswith(("1.0", "1.1")) else ("--atime",)  # which always was kept then
    create = ("create", *atime, "-C", compression, "--chunker-params", "10,16,12,4095")
    comment = () if name.endswith("1.0") else ("--comment", "the first of them")
    run(*create, *comment, "repo::first", "src")
    run(*create, "repo::gone", "src/plain")
    change_files(work / "src")
    run(*create, "--timestamp", "2021-02-03T04:05:06", "repo::second", "src")
    run("create", "-C", compression, "repo::tree", "src/deep", "/etc/hostname")
    (work / "src" / "deep" / "a").chmod(0o700)
    env["PWD"] = str(work)
    run("delete", "repo::gone")
    reader = os.environ.get("BORG_READER", borg)
    shutil.copytree(work / "repo", work / "copy")
    said = json.loads(run("list", "--json", "copy", program=reader))
    for archive in said["archives"]:
        there = f"copy::{archive['name']}"
        lines = run("list", "--json-lines", "--format", FORMAT, there, program=reader)
        archive["files"] = [json.loads(line) for line in lines.splitlines()]
        archive["info"] = json.loads(run("info", "--json", there, program=reader))["archives"][0]
    (work / "said.json").write_text(json.dumps(said, indent=1))
    with tarfile.open(HERE / f"{name}.tar.xz", "w:xz", format=tarfile.PAX_FORMAT) as tar:
        for part in ("repo", "keys", "said.json"):
            if (work / part).exists():
                tar.add(work / part, part)


def make_files(src: Path) -> None:
    """Everything that a Borg item can be."""
    (src / "deep" / "a" / "b").mkdir(parents=True)
    (src / "empty folder").mkdir()
    plain = src / "plain"
    plain.mkdir()
    (plain / "empty").write_bytes(b"")
    (plain / "text").write_text("the quick brown fox\n" * 2000)
    (plain / "noise").write_bytes(random.Random(7).randbytes(30_000))
    (plain / "zeros").write_bytes(bytes(200_000))
    (src / "deep" / "a" / "b" / "leaf").write_text("leaf\n")
    (src / "grüße.txt").write_text("umlauts\n")
    with open(os.fsencode(src) + b"/latin \xe9", "wb") as stream:
        stream.write(b"a name that is no UTF-8\n")
    os.link(plain / "text", src / "deep" / "hard link")
    os.link(plain / "text", src / "another")
    os.symlink("plain/text", src / "link")
    os.symlink("nowhere", src / "dangling")
    os.mkfifo(src / "fifo", 0o640)
    os.mknod(src / "null", 0o20666, os.makedev(1, 3))
    os.setxattr(plain / "noise", "user.colour", b"\xffblue\0")
    os.setxattr(plain / "noise", "user.empty", b"")
    os.chown(plain / "empty", 4242, 4343)
    (plain / "empty").chmod(0o4755)
    subprocess.run(["setfacl", "-m", "u:1:rw,g:4343:r", plain / "text"], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:1:rwx", src / "deep"], check=True)
    subprocess.run(["chattr", "+d", plain / "zeros"], check=False)  # not every file system has it
    for number, path in enumerate(sorted(src.rglob("*"))):
        os.utime(path, ns=(_THEN + number, _THEN - number * 10**9), follow_symlinks=False)
    os.utime(plain / "empty", ns=(-1_000_000_000, -2_000_000_000))


def change_files(src: Path) -> None:
    (src / "plain" / "noise").write_bytes(
        random.Random(7).randbytes(12_000)
        + hashlib.sha256(b"new").digest()
        + random.Random(8).randbytes(9_000)
    )
    (src / "grüße.txt").unlink()
    (src / "plain" / "added").write_text("added\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
