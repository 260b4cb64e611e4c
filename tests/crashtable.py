"""Every command that changes a repository, driven through every failure of the disk.

A command is one line of `CASES`. `Stage` restores the state before it, lets a fault happen at one step,
and holds what follows against the promise: after whatever fault the repository checks clean and holds
all that it held before, and the command, run again, finishes.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from faultlayer import KILLING, Fault, crash, steps
from program import Done, Program, patterned
from strongroom.repository.leases import Lease

BASE = frozenset({"a", "b", "c"})  # archives that are there before
LOOK = (("check", "--verify-data", "--info"), ("list", "--short"))
Prepare = Callable[[Program], object]


@dataclass(frozen=True)
class Case:
    """`after`: the archives that are there when it is done. `prepare` makes the state before it.

    `show` lists what `after` is about, if not living archives. `refused`: run once more when it is done
    already, it says so with exit code 2 (`create`: the name is taken) instead of finishing again.
    `rotten`: it does not check clean before. `gradual`: archives come one by one.
    `copies`: when it is done, the folder `copy` is a repository that checks clean and holds the same.
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


def _key_added(program: Program) -> None:
    program("key", "add", "--no-passphrase", "--output", "x.key", "::", "x").ok()


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
    program("protect", "--parity", "50").ok()
    _spoil(program, "packs", 1)
    _spoil(program, "index", 0)


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
    Case("undelete", "undelete ::b", frozenset({"a", "b"}), frozenset({"a"}), _deleted, refused=True),
    Case("key add", "key add --no-passphrase --output x.key :: x", refused=True),
    Case("key revoke", "key revoke :: x", prepare=_key_added, refused=True),
    Case("key change-passphrase", "key change-passphrase"),
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
    Case("repair --from", "repair --from copy", prepare=_rotten_with_copy, rotten=True),
    Case("init", "init -e repokey", frozenset(), None, _never, refused=True),
    Case("init with a backup key", "init -e keyfile --backup-key", frozenset(), None, _never, refused=True),
    Case("delete a repository", "delete", None, refused=True),
)


class Stage:
    """One folder in which a case is played again and again, from the same start.

    `whole`: what the fault befalls runs in an interpreter of its own, as a user starts it.
    """

    def __init__(self, program: Program, case: Case, *, whole: bool = False) -> None:
        self.program, self.case, self.whole = program, case, whole
        self.saved = program.root / "saved"
        self.journal = program.root / "journal"
        self.copy = program.cwd / "copy"
        for danger in ("CHECK", "DELETE"):
            program.env[f"STRONGROOM_{danger}_I_KNOW_WHAT_I_AM_DOING"] = "YES"
        self._found_once()
        if case.prepare is not None:
            case.prepare(program)
        assert case.rotten or self._sound() == case.before
        self._save(self.saved)

    def _found_once(self) -> None:
        """Stages in one folder begin with the same repository: only the first one makes it."""
        founded = self.program.root / "founded"
        if founded.exists():
            self._restore(founded)
            return
        self._found()
        self._save(founded)

    def _save(self, into: Path) -> None:
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        for place in self._places():
            if place.exists():
                shutil.copytree(place, into / place.name, symlinks=True)

    def _found(self) -> None:
        program = self.program
        program("init", "--encryption=repokey").ok()
        old, src = program.cwd / "old", program.cwd / "src"
        for number, name in enumerate(sorted(BASE)):
            old.mkdir(exist_ok=True)
            (old / f"only {name}").write_bytes(patterned(40_000, number))
            (old / "changing").write_text(f"version {name}")
            program("create", f"::{name}", "old").ok()
        shutil.copytree(old, src)
        (src / "fresh").write_bytes(patterned(300_000, 99))
        (src / "folder").mkdir()
        (src / "folder" / "more").write_text("more")

    def _places(self) -> list[Path]:
        return [self.program.repo, Path(self.program.env["STRONGROOM_BASE_DIR"]), self.copy]

    def restore(self) -> None:
        self._restore(self.saved)

    def _restore(self, kept: Path) -> None:
        for place in self._places():
            shutil.rmtree(place, ignore_errors=True)
            if (kept / place.name).exists():
                shutil.copytree(kept / place.name, place, symlinks=True)
        for leftover in self.program.cwd.glob("*.key"):
            leftover.unlink()
        shutil.rmtree(f"{self.journal}.trash", ignore_errors=True)
        self.journal.unlink(missing_ok=True)

    def steps(self) -> list[str]:
        """The calls that an undisturbed run makes."""
        self.restore()
        self._run(Fault("none", 0, self._watched(), self.journal)).ok()
        assert self._sound() == self.case.after
        return steps(self.journal)

    def _watched(self) -> list[Path]:
        base = Path(self.program.env["STRONGROOM_BASE_DIR"])
        return [self.program.repo, base / ".config", self.copy]

    def _run(self, fault: Fault) -> Done:
        words = self.case.words.split()
        if not self.whole:
            return self.program.start(*words, before=fault.install).wait()
        done = subprocess.run(
            [sys.executable, *fault.as_program(), *words],
            cwd=self.program.cwd,
            env=os.environ | self.program.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr.decode("utf-8", "backslashreplace"))

    def play(self, kind: str, step: int) -> None:
        """Raises AssertionError where the promise is not kept."""
        case = self.case
        self.restore()
        done = self._run(Fault(kind, step, self._watched(), self.journal))
        if kind in KILLING:
            crash(self.journal, kind, seed=step)
        else:
            assert done.code in (0, 1, 2) and "Traceback" not in done.err, done
            assert "Internal error" not in done.err, done
        if kind == "short":
            assert done.code == 0, done
        if case.copies and done.code == 0:
            assert self._sound(self.copy) == case.after, "it said that all was copied"
        left = self.program.repo.exists()
        # what comes after needs no processes of its own: the one that failed had one
        ailing = case.rotten and done.code != 0
        looks = 1 if ailing or case.after is None else 2
        *before, again, check, listed = self.program.in_turn(*LOOK[-looks:], case.words.split(), *LOOK)
        if ailing:
            reached = False
            assert set(before[0].ok().out.split()) == case.after
        elif case.after is None:
            reached = not left or _is_nothing(before[0])
        else:
            names = self._judged(*before)
            reached = names == case.after
            between = case.gradual and case.before <= names <= case.after
            assert reached or between or names == case.before, names
        assert reached or done.code != 0, "it said that all went well"
        if reached and case.refused:
            assert again.code in (0, 1, 2) and "Internal error" not in again.err, again
        else:
            assert again.code == 0 or (reached and again.code == 1), again
        assert self._judged(check, listed) == case.after
        if case.copies:
            assert self._sound(self.copy) == case.after

    def _sound(self, *repository: Path) -> set[str] | None:
        """Names of the living archives, of a repository that checks clean; None where there is none."""
        return self._judged(*self.program.in_turn(*((*look, *repository) for look in LOOK)))

    def _judged(self, check: Done, listed: Done) -> set[str] | None:
        if None in (self.case.before, self.case.after) and _is_nothing(listed):
            return None
        assert check.code == 0, check.err
        return set(listed.ok().out.split())


def _is_nothing(listed: Done) -> bool:
    """Whether no repository is there, which a sentence says."""
    if listed.code:
        listed.sentence()
    return bool(listed.code)


def faults_of(calls: list[str]) -> Iterator[tuple[str, int]]:
    """All that can go wrong in a run of these calls, as (kind, step); and once it has ended, the power."""
    for step, call in enumerate(calls, 1):
        yield from (("kill", step), ("power", step), ("reorder", step), ("eio", step))
        if call in ("create", "write", "mkdir", "link", "rename", "allocate"):
            yield from (("enospc", step), ("full", step))
        if call == "write":
            yield "short", step
    yield from (("power", len(calls) + 1), ("reorder", len(calls) + 1))
