"""One scenario, run by Borg and by this program: what each printed, as far as it can be compared.

    python tests/borg/scenario.py /path/to/borg > tests/borg/data/borg-1.4.5-recorded.json

records what Borg 1.4.5 does; a test plays it with this program, and compares.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Said(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Said]
"""Called with words and variables to add."""

MODERN = {"BORG_EXIT_CODES": "modern"}
QUESTION = "BORG_DELETE_I_KNOW_WHAT_I_AM_DOING"


def play(run: Run, cwd: Path) -> dict[str, Said]:
    """Each step by its name."""
    said: dict[str, Said] = {}

    def step(name: str, words: str, **env: str) -> None:
        said[name] = run(words.split(), env)

    def at(day: int) -> str:
        return f"--timestamp 2024-01-{day:02d}T00:00:00"

    _make_files(cwd / "src")
    step("init", "init --encryption repokey-blake2 repo")
    first = f"--comment hello {at(1)}"
    step("create stats", f"create --stats --list --show-rc --show-version {first} repo::one src")
    step("create json", f"create --json {at(2)} repo::two src")
    (cwd / "src/folder/two").write_text("changed\n")
    (cwd / "src/new").write_text("new\n")
    step(
        "create filter",
        f"create --list --filter dsx -e *zeros {at(3)} repo::three src",
    )
    step(
        "create progress",
        f"create --progress --log-json --list --filter x -e *zeros {at(4)} repo::four src",
    )
    step("create quick", f"create --quick-stats {at(5)} repo::five src")
    step("create missing", f"create --log-json {at(6)} repo::six src nowhere")
    step("create missing modern", f"create {at(7)} repo::seven src nowhere", **MODERN)
    step("create stats logged", f"create --log-json --stats {at(8)} repo::eight src")
    command = "--content-from-command --stdin-name dump repo::dump -- echo hello"
    step("create from a command", f"create --list {at(9)} {command}")
    paths = "--paths-from-command repo::paths -- echo src/new"
    step("create from paths", f"create --list --filter ix {at(10)} {paths}")
    failing = "--content-from-command repo::failing -- false"
    step("create from what fails", f"create {failing}", **MODERN)
    caches = "--exclude-caches --exclude-if-present tag"
    (cwd / "tagged").mkdir()
    (cwd / "tagged/tag").touch()
    step("create tagged", f"create --list {caches} {at(11)} repo::tagged tagged")
    step("create tagged dry", f"create --list --dry-run {caches} repo::tagged-too tagged")
    step("create kept tags", f"create --list --keep-exclude-tags {caches} {at(12)} repo::tags tagged")
    step("create dry stats", "create --dry-run --stats repo::dry src")
    step("create exists", "--log-json create repo::one src")
    step("list", "list repo")
    step("list json", "list --json repo")
    step("list json keys", "list --json --format {comment}{end}{command_line}{hostname}{username}{tam} repo")
    step("list short", "list --short -a t* repo")
    step("list files", "list repo::one")
    step("list files json", "list --json-lines repo::one")
    step("list files json keys", f"list --json-lines --format {_FILE_KEYS} repo::one")
    step("list files keys", f"list --format {_FILE_TEXT} repo::one")
    step("info", "info repo")
    step("info json", "info --json repo")
    step("info archive", "info repo::one")
    step("info archive json", "info --json repo::one")
    step("info last json", "info --json --last 2 repo")
    step("diff", "diff --content-only --sort-by path repo::one three")
    step("diff json", "diff --json-lines --content-only --sort-by path repo::one three")
    step("extract list", "extract --list --dry-run repo::one")
    step("extract stripped", "extract --list --dry-run --strip-components 1 repo::one")
    step("extract progress", "extract --progress --log-json --dry-run repo::one")
    step("extract nothing", "extract --dry-run repo::one nothing/here")
    step("check progress", "check --progress --log-json repo")
    step("recreate", "recreate --list --dry-run repo -e src/new")
    step("rename", "rename repo::five renamed")
    step("prune dry", "prune --dry-run --list --keep-last 3 repo")
    step("prune verbose", "prune --dry-run --verbose --keep-last 3 repo")
    step("prune", "prune --list --stats --keep-last 4 repo")
    step("prune json", "prune --list --log-json --keep-last 3 repo")
    step("prune nothing", "prune repo")
    step("delete some", "delete --list repo::tagged nonsense tags")
    step("delete missing", "delete repo::nonsense")
    step("compact", "compact --show-rc repo")
    step("with-lock", "with-lock repo true")
    step("missing repository", "list --log-json missing")
    step("missing repository modern", "--show-rc list missing", **MODERN)
    step("missing archive modern", "--show-rc list repo::nonsense", **MODERN)
    step("init exists modern", "init -e repokey repo", **MODERN)
    step("wrong passphrase modern", "list --log-json repo", BORG_PASSPHRASE="wrong", **MODERN)
    step("usage", "frobnicate")
    step("usage modern", "list --nonsense repo", **MODERN)
    step("delete asks", "delete --log-json repo", **{QUESTION: "NO"})
    step("delete asks modern", "delete repo", **{QUESTION: "NO"}, **MODERN)
    step("delete repository", "delete repo", **{QUESTION: "YES"})
    return said


_FILE_KEYS = "{sha256}{mode}{size}{isomtime}{num_chunks}{unique_chunks}{csize}{dsize}{mtime}{ctime}{atime}"
_FILE_TEXT = (
    "{type}|{mode}|{uid}|{path}|{source}|{linktarget}|{flags}|{size}|{mtime}|{isomtime}|{md5}|{sha1}|{sha256}|"
    "{sha512}|{blake2b}|{xxh64}|{archivename}|{extra}|{health}{NL}"
)


def _make_files(top: Path) -> None:
    (top / "folder").mkdir(parents=True)
    (top / "folder/one").write_text("content one\n")
    (top / "folder/two").write_text("content two two\n")
    (top / "zeros").write_bytes(bytes(1_000_000))
    (top / "link").symlink_to("folder/one")
    for name in ("folder/one", "folder/two", "zeros"):
        (top / name).chmod(0o644)
        os.utime(top / name, (1_700_000_000, 1_700_000_000))
    os.utime(top / "link", (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    (top / "folder").chmod(0o755)
    top.chmod(0o755)


def comparable(said: Said) -> dict[str, Any]:
    """Without what differs from run to run: ids, times, sizes, places. JSON as the shape that it has."""
    out: Any = lines(said.out)
    try:
        out = _shape(json.loads(said.out))
    except ValueError:
        if said.out.startswith("{"):
            out = [_shape(json.loads(line)) for line in said.out.splitlines()]
    err: Any = lines(said.err)
    if err and err[0].startswith("{"):
        records = [json.loads(line) for line in said.err.splitlines()]
        err = sorted({json.dumps(_message(one), sort_keys=True) for one in records})
    return {"code": said.code, "out": out, "err": err}


_KEPT = ("type", "msgid", "levelname", "name", "finished", "status", "path", "env_var")


def _message(record: dict[str, Any]) -> dict[str, Any]:
    """A line of --log-json: all its keys, and the values that front ends look at."""
    return {key: value if key in _KEPT else type(value).__name__ for key, value in record.items()}


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shape(one) for one in value[:1]]
    return type(value).__name__


_CHANGING = (
    (r"[0-9a-f]{64}", "ID"),
    (r"\w{3}, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d( [+-]\d{4})?", "TIME"),
    (r"-?\d+\.\d\d seconds", "DURATION"),
    (r" +-?[\d.]+ [kMG]?B\b", " SIZE"),
    (r"^(Chunk index:) .*", r"\1"),
    (r"\b20(2[4-9]|[3-9]\d)-\d\d-\d\dT[\d:.]+", "TIME"),
    (r"/\S*/borg ", "borg "),
    (r"/\S*/repo\b", "REPO"),
    (r"/\S*/work\b", "PLACE"),
    (r" +", " "),
)


def lines(text: str) -> list[str]:
    for pattern, instead in _CHANGING:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text.splitlines()


def record(borg: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        cwd = Path(folder) / "work"
        cwd.mkdir()

        def run(words: list[str], env: dict[str, str]) -> Said:
            base = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TZ": "UTC", "BORG_PASSPHRASE": "a secret"}
            done = subprocess.run(
                [borg, *words], cwd=cwd, env=base | {"BORG_BASE_DIR": folder} | env, capture_output=True,
                text=True, stdin=subprocess.DEVNULL, check=False,
            )  # fmt: skip
            return Said(done.returncode, done.stdout, done.stderr)

        return {name: comparable(one) for name, one in play(run, cwd).items()}


if __name__ == "__main__":
    json.dump(record(sys.argv[1]), sys.stdout, indent=1)
    print()
