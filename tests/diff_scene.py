"""A folder before and after all kinds of change; run by hand, it records what Borg's `diff` says of it:

python tests/diff_scene.py /path/to/borg > tests/cli/data/borg-1.4.5-diff.json
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS: dict[str, list[str]] = {
    "all, as JSON": ["--json-lines", "::one", "two"],
    "content": ["--content-only", "::one", "two"],
    "content, as JSON": ["--content-only", "--json-lines", "::one", "two"],
    "backwards": ["--content-only", "::two", "one"],
    "by path": ["--content-only", "--sort", "::one", "two"],
    "by size and path": ["--content-only", "--sort-by", ">size_added,path", "::one", "two"],
    "by size removed": ["--content-only", "--sort-by", ">size_diff,<size_removed,path", "::one", "two"],
    "chosen": ["--content-only", "::one", "two", "src/new", "sh:src/**/*.o", "pf:src/grown"],
    "but some": ["--content-only", "::one", "two", "-e", "src/gone", "--exclude", "*.o"],
    "by patterns": ["--content-only", "--pattern=-src/n*", "--pattern=+src/g*", "::one", "two"],
    "the same": ["::one", "one"],
}


def before(top: Path) -> None:
    for name in ("kept", "gone/deep", "became a file", "mode changes"):
        (top / name).mkdir(parents=True)
    for name in (
        "grown",
        "same size",
        "kept/file",
        "gone/deep/file",
        "kept/x.o",
        "mode",
        "touched",
        "became a folder",
    ):
        (top / name).write_text(f"content of {name}")
    os.link(top / "grown", top / "grown too")
    (top / "empty").touch()
    for name in ("link", "changed link", "gone link"):
        (top / name).symlink_to("grown")
    os.mkfifo(top / "gone pipe")
    settle(top, 1_600_000_000_000_000_000)


def after(top: Path) -> None:
    shutil.rmtree(top / "gone")
    (top / "grown").write_text("content of grown, and more of it")
    (top / "same size").write_text("CONTENT OF SAME SIZE")
    (top / "kept/x.o").write_bytes(b"x" * 123_456)
    (top / "new/deep").mkdir(parents=True)
    (top / "new/deep/fi\udcff\N{SNOWMAN}le").write_bytes(b"new" * 1000)
    (top / "new/y.o").touch()
    (top / "mode").chmod(0o600)
    (top / "mode changes").chmod(0o711)
    (top / "became a file").rmdir()
    (top / "became a file").touch()
    (top / "became a folder").unlink()
    (top / "became a folder").mkdir()
    (top / "changed link").unlink()
    (top / "changed link").symlink_to("elsewhere")
    (top / "new link").symlink_to("grown")
    os.mkfifo(top / "new pipe")
    for name in ("gone link", "gone pipe", "empty"):
        (top / name).unlink()
    settle(top, 1_600_000_000_000_000_000)
    os.utime(top / "touched", ns=(0, 1_600_000_100_123_456_000))


def settle(top: Path, mtime: int) -> None:
    for path in (top, *top.rglob("*")):
        os.utime(path, ns=(mtime, mtime), follow_symlinks=False)


def without_ctimes(lines: list[str]) -> list[str]:
    """Nobody can set them; a path that shows no other change is left out."""
    kept = []
    for line in lines:
        record = json.loads(line)
        record["changes"] = [one for one in record["changes"] if one["type"] != "ctime"]
        if record["changes"]:
            kept.append(json.dumps(record, sort_keys=True))
    return kept


def told(name: str, out: str) -> list[str]:
    """The lines of a run, in an order that is the same for all programs, unless it was asked to sort."""
    lines = out.splitlines()
    if "JSON" in name:
        lines = without_ctimes(lines)
    return lines if name.startswith("by ") and name != "by patterns" else sorted(lines)


def record(borg: str) -> dict[str, list[str]]:
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as root:
        src = Path(root) / "src"
        src.mkdir()
        env = {"BORG_BASE_DIR": root, "BORG_REPO": f"{root}/repo", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
        env["BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK"] = "yes"

        def run(*words: str) -> str:
            done = subprocess.run([borg, *words], cwd=root, env=env, check=True, capture_output=True)
            return done.stdout.decode("utf-8", "surrogateescape")

        run("init", "-e", "none")
        before(src)
        run("create", "::one", "src")
        after(src)
        run("create", "::two", "src")
        return {name: told(name, run("diff", *words)) for name, words in RUNS.items()}


if __name__ == "__main__":
    print(json.dumps(record(sys.argv[1]), indent=1))
