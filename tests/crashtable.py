"""Every command that changes a repository, driven through every failure of the disk.

A command is one line of `crashcases.CASES` or `crashhost.HOSTED`. `Stage` restores the state before it,
lets a fault happen at one step, and holds what follows against the promise: after whatever fault the
repository checks clean and holds all that it held before, and the command, run again, finishes.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from crashcases import BASE, Case, Prepare
from crashcases import CASES as OWN
from crashhost import HOSTED
from faultlayer import KILLING, Fault, crash, steps
from program import Done, Program, patterned

CASES = (*OWN, *HOSTED)
LOOK = (("check", "--verify-data", "--info"), ("list", "--short"))


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
        program.env |= {"STRONGROOM_REPO": str(program.root / "repo"), "HOME": str(program.root / "home")}
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
        root = self.program.root
        return [root / "repo", root / "srv", root / "home", self._base, self.copy]

    @property
    def _base(self) -> Path:
        return Path(self.program.env["STRONGROOM_BASE_DIR"])

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
        self._holds(self.case.proof)
        return steps(self.journal)

    def _watched(self) -> list[Path]:
        return [self._base / ".config" if place == self._base else place for place in self._places()]

    def _run(self, fault: Fault) -> Done:
        words = self.case.words.split()
        if not self.whole:
            return self.program.start(*words, env=dict(self.case.env), before=fault.install).wait()
        done = subprocess.run(
            [sys.executable, *fault.as_program(), *words],
            cwd=self.program.cwd,
            env=os.environ | self.program.env | self.case.env,
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
        self._holds(case.unharmed)
        if done.code == 0:
            self._holds(case.proof)
        left = self.program.repo.exists()
        ailing = case.rotten and done.code != 0
        before, again, check, listed = self._go_on(1 if ailing or case.after is None else 2)
        if ailing:
            reached = False
            if case.keyless and before[0].code:
                before[0].sentence()
            else:
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
        self._holds(case.proof)

    def _holds(self, promise: Prepare | None) -> None:
        if promise is not None:
            promise(self.program)

    def _go_on(self, looks: int) -> tuple[list[Done], Done, Done, Done]:
        """A look at what the fault left, the command again, and a look at what is there then."""
        words, in_turn = self.case.words.split(), self.program.in_turn
        if self.case.env:
            before = in_turn(*LOOK[-looks:])
            again = self.program(*words, env=dict(self.case.env))
            check, listed = in_turn(*LOOK)
        else:  # none of it needs a process of its own: the one that failed had one
            *before, again, check, listed = in_turn(*LOOK[-looks:], words, *LOOK)
        return before, again, check, listed

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
