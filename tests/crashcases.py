"""Every command that changes a repository: what it is called with, and what must be there before and after.

`crashtable.Stage` plays them; those of a server's owner are in `crashhost`.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from program import Program
from strongroom.crypto.keybackup import parse_file
from strongroom.errors import Damaged, KeyInvalid
from strongroom.repository.leases import Lease

BASE = frozenset({"a", "b", "c"})  # archives that are there before
BY_X = {"STRONGROOM_KEY_FILE": "copy/x.key"}  # a backup key of that name
Prepare = Callable[[Program], object]


@dataclass(frozen=True)
class Case:
    """`after`: the archives that are there when it is done. `prepare` makes the state before it.

    `show` lists what `after` is about, if not living archives. `refused`: run once more when it is done
    already, it says so with exit code 2 (`create`: the name is taken) instead of finishing again.
    `rotten`: it does not check clean before. `gradual`: archives come one by one.
    `copies`: when it is done, the folder `copy` is a repository that checks clean and holds the same.
    `proof` holds whenever it said that all went well, `unharmed` after any fault. `env` is set for the
    command alone. `keyless`: nothing opens the repository before it is done.
    """

    name: str
    words: str
    after: frozenset[str] | None = BASE  # None: no repository
    before: frozenset[str] | None = BASE
    prepare: Prepare | None = None
    refused: bool = False
    rotten: bool = False
    gradual: bool = False
    copies: bool = False
    keyless: bool = False
    proof: Prepare | None = None
    unharmed: Prepare | None = None
    env: dict[str, str] = field(default_factory=dict)


def _deleted(program: Program) -> None:
    program("delete", "::b").ok()
    program("delete", "::c").ok()


def _recompressed(program: Program) -> None:
    program("recreate", "--recompress", "-C", "none").ok()


def _behind(program: Program) -> None:
    """A copy that lacks an archive, and has one that was freed since."""
    program("delete", "::a").ok()
    program("create", "::more", "src").ok()
    program("replicate", "::", "copy").ok()
    program("compact", "--quarantine", "0", "--threshold", "0").ok()
    program("rename", "::more", "a").ok()


def _exported(program: Program) -> None:
    program("export-tar", "--tar-format", "PAX", "::c", "c.tar").ok()


def _elsewhere(program: Program) -> None:
    """A repository with other keys, and archives that have no name here."""
    other = {"STRONGROOM_REPO": str(program.cwd / "copy")}
    program("init", "--encryption=repokey", env=other).ok()
    for name in ("x", "y"):
        program("create", f"::{name}", "src", env=other).ok()


def _folder(program: Program) -> None:
    (program.cwd / "copy").mkdir()


def _key_added(program: Program) -> None:
    _folder(program)
    program("key", "add", "--no-passphrase", "--output", "copy/x.saved", "::", "x").ok()
    program("key", "import", "::", "copy/x.saved", env=BY_X).ok()


def asked_for(program: Program) -> None:
    _key_added(program)
    program("delete", "::a", env=BY_X).ok()


def _a_is_asked_for(program: Program) -> None:
    told = program("info", "::a").ok().out
    assert "Deletion asked for: by x" in told, told


def _keys(program: Program) -> set[str]:
    return {key["name"] for key in program("key", "list", "--json").ok().json["keys"]}


def _x_is_known(program: Program) -> None:
    assert "x" in _keys(program)


def _known_is_held(program: Program) -> None:
    """By the file that was asked for, or by the one that it is made of, which is told."""
    if "x" in _keys(program):
        held = [path for path in (program.cwd / "copy").glob("x.key*") if _is_export(path.read_text())]
        assert held, "the repository knows a key that nobody has"


def _x_is_held(program: Program) -> None:
    _x_is_known(program)
    _known_is_held(program)


def _is_export(text: str) -> bool:
    try:
        return parse_file(text, None) is not None
    except (KeyInvalid, Damaged):
        return False


def _exported_before(program: Program) -> None:
    _folder(program)
    program("key", "export", "::", "copy/saved").ok()
    program("key", "change-passphrase", "::").ok()


def _some_export(program: Program) -> None:
    assert _is_export((program.cwd / "copy" / "saved").read_text()), "the export that was there is gone"


def _new_export(program: Program) -> None:
    assert (program.cwd / "copy" / "saved").read_text() == program("key", "export", "::").ok().out


def _key_lost(program: Program) -> None:
    program("key", "export", "::", "saved").ok()
    shutil.rmtree(program.repo / "keys")


def _as_key_file(program: Program) -> None:
    _never(program)
    program("init", "--encryption=keyfile").ok()
    for name in sorted(BASE):
        program("create", f"::{name}", "old").ok()


def _key_file_lost(program: Program) -> None:
    _as_key_file(program)
    program("key", "export", "::", "saved").ok()
    shutil.rmtree(Path(program.env["STRONGROOM_BASE_DIR"]) / ".config" / "strongroom" / "keys")


def _record_rotten(program: Program) -> None:
    _spoil(program, "log", 1)


def _spoil(program: Program, area: str, number: int, at: int | None = None) -> None:
    """A byte in the middle, or `at`, of an object by its age."""
    found = [path for path in (program.repo / area).rglob("*") if path.is_file()]
    path = sorted(found, key=lambda one: one.stat().st_mtime_ns)[number]
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2 if at is None else at] ^= 4
    path.chmod(0o600)
    path.write_bytes(blob)


def _rotten(program: Program) -> None:
    """An index object, and the first bytes of another pack, whose bundles are copied into a new one."""
    _spoil(program, "packs", 0, at=2)
    _spoil(program, "index", 1)


def _rotten_with_parity(program: Program) -> None:
    """A pack, its parity, and that of another."""
    program("protect", "--parity", "50").ok()
    _spoil(program, "packs", 1)
    _spoil(program, "index", 0)
    for number in range(2):
        _spoil(program, "parity", number)


def _rotten_with_copy(program: Program) -> None:
    program("replicate", "::", "copy").ok()
    for area in ("packs", "index", "refs", "log"):
        _spoil(program, area, 1)


def _locked(program: Program) -> None:
    """By another machine, and by something that nobody can read."""
    folder = program.repo / "leases"
    folder.mkdir(exist_ok=True)
    lease = Lease("exclusive", "with-lock", "elsewhere", 1, 1)
    (folder / ("a" * 32)).write_bytes(msgspec.msgpack.encode(lease))
    (folder / ("b" * 32)).write_bytes(b"unreadable")


def _never(program: Program) -> None:
    shutil.rmtree(program.repo)
    shutil.rmtree(program.env["STRONGROOM_BASE_DIR"])


CASES = (
    Case("create", "create ::new src", BASE | {"new"}, refused=True),
    Case("create of what is known", "create ::new old", BASE | {"new"}, refused=True),
    Case("rename", "rename ::a z", (BASE - {"a"}) | {"z"}, refused=True),
    Case("recreate", "recreate -e *only* ::a"),
    Case("recreate with a target", "recreate -e *only* --target z ::a", BASE | {"z"}, refused=True),
    Case("recompress", "recreate --recompress always -C zlib"),
    Case(
        "recompress with a target",
        "recreate --recompress always -C zlib --target z ::a",
        BASE | {"z"},
        refused=True,
    ),
    Case("compact what was recompressed", "compact --quarantine 0 --threshold 0", prepare=_recompressed),
    Case("delete", "delete ::a", BASE - {"a"}),
    Case("delete several", "delete ::a b c", frozenset()),
    Case("prune", "prune --keep-last 1", frozenset({"c"})),
    Case("compact", "compact --quarantine 0 --threshold 0", frozenset({"a"}), frozenset({"a"}), _deleted),
    Case(
        "compact --accept",
        "compact --accept x --quarantine 0 --threshold 0",
        BASE - {"a"},
        prepare=asked_for,
    ),
    Case("delete with a backup key", "delete ::a", prepare=_key_added, env=BY_X, proof=_a_is_asked_for),
    Case("undelete with a backup key", "undelete ::a", prepare=asked_for, env=BY_X, refused=True),
    Case(
        "create with a backup key",
        "create ::new src",
        BASE | {"new"},
        prepare=_key_added,
        env=BY_X,
        refused=True,
    ),
    Case("undelete", "undelete ::b", frozenset({"a", "b"}), frozenset({"a"}), _deleted, refused=True),
    Case(
        "key add",
        "key add --no-passphrase --output copy/x.key :: x",
        prepare=_folder,
        refused=True,
        proof=_x_is_held,
        unharmed=_known_is_held,
    ),
    Case(
        "key add for a server",
        f"key add --role server --public-key {'5a' * 32} :: x",
        refused=True,
        proof=_x_is_known,
    ),
    Case("key revoke", "key revoke :: x", prepare=_key_added, refused=True),
    Case("key change-passphrase", "key change-passphrase"),
    Case("change-passphrase of a key file", "key change-passphrase", prepare=_as_key_file),
    Case(
        "key export",
        "key export :: copy/saved",
        prepare=_exported_before,
        proof=_new_export,
        unharmed=_some_export,
    ),
    Case("key import", "key import :: saved", prepare=_key_lost, rotten=True, keyless=True),
    Case("key import into a file", "key import :: saved", prepare=_key_file_lost, rotten=True, keyless=True),
    Case("with-lock", "with-lock :: true"),
    Case("break-lock", "break-lock", prepare=_locked),
    Case("protect", "protect --parity 20"),
    Case("replicate", "replicate :: copy", copies=True),
    Case("replicate again", "replicate :: copy", prepare=_behind, copies=True),
    Case("import-tar", "import-tar ::new c.tar", BASE | {"new"}, prepare=_exported, refused=True),
    Case("transfer", "transfer --from copy", BASE | {"x", "y"}, prepare=_elsewhere, gradual=True),
    Case("check", "check --verify-data"),
    Case("list", "list"),
    Case("check --repair", "check --repair --verify-data", prepare=_rotten, rotten=True),
    Case(
        "check --repair by parity", "check --repair --verify-data", prepare=_rotten_with_parity, rotten=True
    ),
    Case("repair from memory", "repair", prepare=_record_rotten, rotten=True),
    Case("repair --from", "repair --from copy", prepare=_rotten_with_copy, rotten=True),
    Case("init", "init -e repokey", frozenset(), None, _never, refused=True),
    Case("init with a backup key", "init -e keyfile --backup-key", frozenset(), None, _never, refused=True),
    Case("delete a repository", "delete", None, refused=True),
)
