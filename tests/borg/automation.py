"""The script of Borg's manual, "Automating backups", run by Borg and by this program.

    python tests/borg/automation.py /path/to/borg > tests/borg/data/borg-1.4.5-automated.json

records what Borg 1.4.5 does; a test runs it with this program, and compares. `data/automate.sh` is the script
as it is printed there. Where it is run, its repository and its folders are others.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parent / "data/automate.sh"
PASSPHRASE = "XYZl0ngandsecurepa_55_phrasea&&123"  # the script's
CACHE = "Signature: 8a477f597d28d172789f06886806bc55"


def play(top: Path, borg: str) -> dict[str, tuple[int, str, str]]:
    """Exit code, standard output and standard error of runs: all well, a folder gone, the repository gone."""
    names, cwd = top / "bin", top / "work"
    for folder in (names, cwd):
        folder.mkdir()
    (names / "borg").symlink_to(borg)
    (names / "date").write_text("#!/bin/sh\necho DATE\n")
    (names / "date").chmod(0o755)
    env = {
        "PATH": f"{names}:{os.environ['PATH']}",
        "HOME": str(top),
        "BORG_BASE_DIR": str(top),
        "BORG_REPO": f"{cwd}/repo",
        "BORG_PASSPHRASE": PASSPHRASE,
        "TZ": "UTC",
        "LANG": "C.UTF-8",
    }

    def run(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            words, cwd=cwd, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        return done.returncode, done.stdout, done.stderr

    _write(cwd, "content\n")
    (cwd / "elsewhere").write_text("in older archives\n")
    (cwd / "script").write_text(_here(SCRIPT.read_text(encoding="utf-8"), cwd))
    made = [run("borg", "init", "-e", "repokey-blake2")]
    for name, when in (("first", "01T00"), ("earlier", "02T00"), ("later", "02T05")):
        words = ("--timestamp", f"2024-01-{when}:00:00", "::{hostname}-" + name, "elsewhere")
        made.append(run("borg", "create", *words))
    made.append(run("borg", "create", "--timestamp", "2024-01-02T01:00:00", "::another-machine", "elsewhere"))
    assert [code for code, _, _ in made] == [0] * len(made), made
    said = {"all well": run("sh", "script")}
    # another second, whatever the clock says: archives are named by it
    run("borg", "rename", "::" + run("borg", "list", "--short", "--last", "1")[1].strip(), "put-aside")
    _write(cwd, "other content\n")
    (cwd / "root/new").write_text("new\n")
    (cwd / "var").rename(cwd / "gone")
    said["a folder is gone"] = run("sh", "script")
    (cwd / "repo").rename(cwd / "away")
    said["the repository is gone"] = run("sh", "script")
    return said


def _here(script: str, cwd: Path) -> str:
    script, count = re.subn(r"^    /(etc|home|root|var)\b", r"    \1", script, flags=re.MULTILINE)
    assert count == 4
    assert "ssh://username@example.com:2022/~/backup/main" in script
    return script.replace("ssh://username@example.com:2022/~/backup/main", f"{cwd}/repo")


def _write(cwd: Path, content: str) -> None:
    # the newest one goes away: Borg forgets what it knew of it, and would call it new
    files = (
        "etc/passwd",
        "home/me/file",
        "home/me/.cache/left-out",
        "root/letter",
        "var/tmp/left-out",
        "var/log",
    )
    for name in files:
        path = cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (cwd / "var/cache").mkdir(exist_ok=True)
    (cwd / "var/cache/CACHEDIR.TAG").write_text(CACHE)
    (cwd / "var/cache/left-out").write_text(content)


def comparable(said: tuple[int, str, str], lines: Callable[[str], list[str]]) -> dict[str, Any]:
    """`lines` leaves out what differs from run to run."""
    code, out, err = said
    host = socket.gethostname()
    return {"code": code, "out": lines(out), "err": lines(err.replace(f"{host}-", "HOST-"))}


if __name__ == "__main__":
    from scenario import lines as plain_lines

    with tempfile.TemporaryDirectory() as place:
        played = play(Path(place), sys.argv[1])
    json.dump({name: comparable(one, plain_lines) for name, one in played.items()}, sys.stdout, indent=1)
    print()
