"""One tree through every way into a repository and out of it, and what became different on the way."""

import contextlib
import grp
import json
import os
import pwd
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mounting import detach, has_ended, mount
from program import Done, Program, Running, remove_tree
from treefacts import compared, differences, facts

ARCHIVE = "tree"
WAYS = ("extract", "mount", "tar", "readers")
_TARS = ("PAX", "BORG")
_MANY = 20  # differences that are told of one step


class Step(NamedTuple):
    """What a command took."""

    what: str
    seconds: float
    cpu: float  # seconds, of user and system
    memory: int  # bytes, the most that was resident; 0 of what is no command

    def __str__(self) -> str:
        memory = f"{self.memory / 1_000_000:7.0f} MB" if self.memory else ""
        return f"{self.what:32} {self.seconds:7.1f} s {self.cpu:7.1f} s of CPU {memory}"


@dataclass
class RoundTrip:
    """Of one tree, in a repository of its own. Each method is a way; differences are told when found."""

    program: Program
    tree: Path
    tell: Callable[[str], None] = lambda _: None
    steps: list[Step] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    looked_at: dict[str, Counter[str]] = field(default_factory=dict)

    def everything(
        self,
        *,
        rsync_without: tuple[str, ...] = (),
        fuse: bool = True,
        ways: Collection[str] = WAYS,
        kept: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`kept` is called with each way that ended without a difference."""
        played: dict[str, Callable[[], None]] = {"extract": self.extract}
        if fuse:
            played["mount"] = lambda: self.mounted(rsync_without)
        played |= {"tar": self.tars, "readers": self.readers}
        self.create()
        for way in ways:
            if way in played:
                before = len(self.problems)
                played[way]()
                if len(self.problems) == before:
                    kept(way)

    # --- the ways ---

    def create(self) -> None:
        self._run("create", "create", f"::{ARCHIVE}", self.tree.name, cwd=self.tree.parent)

    def names(self) -> None:
        """Users and groups are stored by name, too."""
        listed = self._run(
            "list", "list", "--json-lines", "--format", "{user}{group}{uid}{gid}", f"::{ARCHIVE}"
        )
        self._beside("names of users and groups", lambda: _wrong_names(listed))

    def extract(self) -> None:
        self.names()
        out = self._emptied("out")
        self._run("extract", "extract", "--to", str(out), f"::{ARCHIVE}")
        self._compare("extract", out / self.tree.name)
        self._run("compare --content", "compare", "--content", f"::{ARCHIVE}", str(out), quiet=True)
        self._run("extract --continue", "extract", "--continue", "--to", str(out), f"::{ARCHIVE}")
        self._compare("extract --continue", out / self.tree.name)
        remove_tree(out)

    def mounted(self, rsync_without: tuple[str, ...]) -> None:
        begun = time.monotonic()
        running, place = mount(self.program, f"::{ARCHIVE}")
        shown = place / self.tree.name
        try:
            if has_ended(running.pid):
                self._differs(f"mount: {running.wait().err[-600:]}")
                return
            # the archive knows when an inode changed last, and a mount alone can show it
            self._compare("mount", shown, ctime=True)
            words = ["rsync", "-aHAXni", "--delete", *(f"--exclude={one}" for one in rsync_without)]
            words += [f"{self.tree}/", f"{shown}/"]
            done = subprocess.run(words, capture_output=True, check=False)
            if done.returncode or done.stdout:
                told = (done.stderr or done.stdout).decode(errors="backslashreplace")
                self._differs(f"rsync -aHAX finds a difference: {told[:600]}")
            self.program("umount", str(place)).ok()
        finally:
            detach(place)
        self._note("mount, while all is read", running, begun)

    def tars(self) -> None:
        for form in _TARS:
            self.tar(form)

    def tar(self, form: str) -> None:
        file, name = self.program.root / "tree.tar", f"from-{form}"
        self._run(f"export-tar {form}", "export-tar", "--tar-format", form, f"::{ARCHIVE}", str(file))
        self._run(f"import-tar {form}", "import-tar", f"::{name}", str(file))
        file.unlink(missing_ok=True)
        self._run(f"diff of {form}", "diff", f"::{ARCHIVE}", name, quiet=True)

    def readers(self) -> None:
        self._run("diff", "diff", f"::{ARCHIVE}", ARCHIVE, quiet=True)
        self._run("find of a name", "find", self.tree.name)
        self._run("du", "du", "--depth", "1", f"::{ARCHIVE}")
        self._run("check --verify-data", "check", "--verify-data", quiet=True)
        self._run("create again", "create", "::again", self.tree.name, cwd=self.tree.parent)

    # --- how ---

    def _run(
        self, what: str, *words: str, cwd: Path | None = None, quiet: bool = False, code: int = 0
    ) -> Path:
        """The file that holds what it printed."""
        begun = time.monotonic()
        running = self.program.start(*words, cwd=cwd)
        done = self._note(what, running, begun)
        if done.code != code:
            self._differs(f"{what} ended with {done.code}: {done.err[-600:]}")
        elif done.err or (quiet and done.raw):
            self._differs(f"{what} said: {(done.err or done.out)[:600]}")
        printed = self.program.root / "printed"
        printed.write_bytes(done.raw)
        return printed

    def _note(self, what: str, running: Running, begun: float) -> Done:
        """Wait for it, and note what it took."""
        done = running.wait()
        usage = running.usage
        assert usage is not None
        spent = usage.ru_utime + usage.ru_stime
        self._add(Step(what, time.monotonic() - begun, spent, usage.ru_maxrss * 1024))
        return done

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        self.tell(str(step))

    def _differs(self, problem: str) -> None:
        self.problems.append(problem)
        self.tell(f"DIFFERENT {problem}")

    def _emptied(self, name: str) -> Path:
        place = self.program.root / name
        remove_tree(place)
        place.mkdir()
        return place

    def _compare(self, what: str, other: Path, *, ctime: bool = False) -> None:
        self._beside(what, lambda: _facts_that_differ(self.tree, other, ctime=ctime))

    def _beside(self, what: str, work: Callable[[], tuple[list[str], Counter[str]]]) -> None:
        """In a process of its own: this one must stay small, since what it starts begins with its memory."""
        begun = time.monotonic()
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            code = 1
            with contextlib.suppress(BaseException):
                try:
                    problems, counted = work()
                except Exception as error:  # noqa: BLE001  # told by the parent, whatever it is
                    problems, counted = [f"cannot be compared: {error!r}"], Counter()
                with os.fdopen(writing, "w") as pipe:
                    json.dump([problems[:_MANY], len(problems), counted], pipe)
                code = 0
            os._exit(code)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        _, _, usage = os.wait4(child, 0)
        problems, number, counted = json.loads(text)
        for one in problems:
            self._differs(f"{what}: {one}")
        if number > len(problems):
            self._differs(f"{what}: {number - len(problems)} differences more")
        self.looked_at[what] = Counter(counted)
        told = ", ".join(f"{count:,} {one}" for one, count in sorted(counted.items()))
        self.tell(f"compared ({what}): {told}")
        self._add(Step(f"comparing ({what})", time.monotonic() - begun, usage.ru_utime + usage.ru_stime, 0))


def _facts_that_differ(tree: Path, other: Path, *, ctime: bool) -> tuple[list[str], Counter[str]]:
    """Sockets aside: they are never archived. `ctime` of what can show it."""
    before = facts(tree)
    counted = compared(before)
    if not ctime:
        del counted["ctime"]
    return differences(before, facts(other), ctime=ctime), counted


def _wrong_names(listed: Path) -> tuple[list[str], Counter[str]]:
    """Entries whose names of user and group are not those that the system has for their numbers."""
    users = {one.pw_uid: one.pw_name for one in pwd.getpwall()}
    groups = {one.gr_gid: one.gr_name for one in grp.getgrall()}
    found: list[str] = []
    counted: Counter[str] = Counter()
    for line in listed.read_bytes().splitlines():
        item = json.loads(line)
        for kind, names, key in (("user", users, "uid"), ("group", groups, "gid")):
            expected = names.get(item[key], item[key])
            counted[kind] += 1
            if item[kind] != expected:
                found.append(f"{item['path'][:80]!r} has the {kind} {item[kind]!r}, not {expected!r}")
    return found, counted
