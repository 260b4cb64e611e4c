"""A disk that fails: between the program and the file system, in the program's own process.

    before=Fault("power", step=17, folders=[...], journal=path).install      # in the forked process
    crash(journal, "power", seed)                                          # afterwards, in the test's

Every call that changes something below `folders` is a step. At the chosen one the fault happens:

  kill      the process is gone, what it did stays
  power     the machine is gone: what was not synced is lost, names as well as bytes
  reorder   the same, but of what was not synced some things did reach the disk, in any order
  enospc    this one call finds no space, the next ones do
  full      no call that needs space finds any, from here on
  eio       this one call fails
  short     this write takes half of what it was given, as POSIX allows

The journal tells what was done and what of it was synced: a name counts as durable when its folder was
synced after it, bytes when their file was, and nothing else counts.
"""

import errno
import json
import mmap
import os
import random
import shutil
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom.cli.main import main

KILLING = ("kill", "power", "reorder")
FAULTS = (*KILLING, "enospc", "full", "eio", "short")
_NEEDS_SPACE = {"create", "write", "mkdir", "link", "rename", "allocate"}


@dataclass
class Fault:
    """`step` 0 never comes: then the journal just tells how many there are."""

    kind: str
    step: int
    folders: list[Path]
    journal: Path
    _count: int = 0
    _lock: Any = field(default_factory=threading.RLock)
    _real: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def install(self) -> None:
        self._roots = [os.path.realpath(folder) for folder in self.folders]
        self._parents = {os.path.dirname(root) for root in self._roots}  # what makes their names durable
        self._log = os.open(self.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._trash = f"{self.journal}.trash"
        os.makedirs(self._trash, exist_ok=True)
        for name in (
            *("open", "write", "writev", "pwrite", "fsync", "link", "rename", "replace", "unlink", "remove"),
            *("mkdir", "rmdir", "ftruncate", "truncate", "posix_fallocate"),
        ):
            self._real[name] = getattr(os, name)
            kind = {"replace": "rename", "remove": "unlink", "pwrite": "write"}.get(name, name)
            setattr(os, name, self._wrap(name, getattr(self, f"_{kind}")))

    def as_program(self) -> list[str]:
        """Words for a Python interpreter of its own: strongroom with this fault, its words to follow."""
        folders = map(str, self.folders)
        return [__file__, self.kind, str(self.step), str(self.journal), *folders, "--"]

    def _wrap(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        real = self._real[name]

        def call(*args: Any, **more: Any) -> Any:
            with self._lock:
                return method(real, *args, **more)

        return call

    # --- one method for each call ---

    def _open(self, real: Any, path: Any, flags: int, *rest: Any, **more: Any) -> int:
        where = self._within(path, more.get("dir_fd"))
        fresh = where is not None and bool(flags & os.O_CREAT) and not os.path.lexists(where)
        emptied = where is not None and bool(flags & os.O_TRUNC) and not fresh
        if where is not None and (fresh or emptied):
            self._step("create" if fresh else "truncate", where)
        fd = int(real(path, flags, *rest, **more))
        if where is not None and fresh:
            self._note("add", where, os.fstat(fd).st_ino)
        elif emptied:
            self._dirty(where, fd)
        return fd

    def _writev(self, real: Any, fd: int, views: Any) -> int:
        where = self._of(fd)
        if where is not None and self._step("write", where) == "short":
            views = _half(views)
        self._dirty(where, fd)
        return int(real(fd, views))

    def _write(self, real: Any, fd: int, data: Any, *offset: int) -> int:
        where = self._of(fd)
        if where is not None and self._step("write", where) == "short":
            data = bytes(data)[: max(1, len(data) // 2)]
        self._dirty(where, fd)
        return int(real(fd, data, *offset))

    def _posix_fallocate(self, real: Any, fd: int, *range_: int) -> None:
        where = self._of(fd)
        if where is not None:
            self._step("allocate", where)
        self._dirty(where, fd)
        real(fd, *range_)

    def _ftruncate(self, real: Any, fd: int, length: int) -> None:
        where = self._of(fd)
        if where is not None:
            self._step("truncate", where)
        self._dirty(where, fd)
        real(fd, length)

    def _truncate(self, real: Any, path: Any, length: int) -> None:
        if isinstance(path, int):
            self._ftruncate(real, path, length)
            return
        if (where := self._within(path, None)) is not None:
            self._step("truncate", where)
        real(path, length)

    def _fsync(self, real: Any, fd: int) -> None:
        where = self._of(fd, self._parents)
        if where is not None:
            self._step("sync", where)
        real(fd)
        if where is not None:
            self._note("synced", where, os.fstat(fd).st_ino)

    def _link(self, real: Any, source: Any, target: Any, **more: Any) -> None:
        where = self._within(target, None)
        if where is not None:
            self._step("link", where)
        real(source, target, **more)
        if where is not None:
            self._note("add", where, os.lstat(where).st_ino)

    def _rename(self, real: Any, source: Any, target: Any, **more: Any) -> None:
        old, new = self._within(source, None), self._within(target, None)
        if old is None or new is None:
            real(source, target, **more)
            return
        self._step("rename", new)
        inode = os.lstat(old).st_ino
        saved = self._save(new) if os.path.lexists(new) and not os.path.isdir(new) else None
        real(source, target, **more)
        self._note("rename", new, inode, source=old, saved=saved)

    def _unlink(self, real: Any, path: Any, **more: Any) -> None:
        where = self._within(path, more.get("dir_fd"))
        saved = None
        if where is not None and os.path.lexists(where):
            self._step("unlink", where)
            saved = self._save(where)
        real(path, **more)
        if where is not None:
            self._note("remove", where, 0, saved=saved)

    def _mkdir(self, real: Any, path: Any, *mode: int, **more: Any) -> None:
        where = self._within(path, more.get("dir_fd"))
        if where is not None and not os.path.lexists(where):
            self._step("mkdir", where)
        real(path, *mode, **more)
        if where is not None:
            self._note("mkdir", where, 0)

    def _rmdir(self, real: Any, path: Any, **more: Any) -> None:
        where = self._within(path, more.get("dir_fd"))
        if where is not None:
            self._step("rmdir", where)
        real(path, **more)
        if where is not None:
            self._note("rmdir", where, 0)

    # --- the fault itself ---

    def _step(self, call: str, where: str) -> str | None:
        self._count += 1
        self._note("step", where, 0, call=call)
        due = self._count == self.step
        if self.kind == "full" and self.step and self._count >= self.step and call in _NEEDS_SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), where)
        if not due:
            return None
        if self.kind in KILLING:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "enospc" and call in _NEEDS_SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), where)
        if self.kind == "eio":
            raise OSError(errno.EIO, os.strerror(errno.EIO), where)
        return self.kind

    def _save(self, path: str) -> str:
        name = os.path.join(self._trash, f"{self._count}-{os.path.basename(path)}")
        self._real["link"](path, name, follow_symlinks=False)
        return name

    def _dirty(self, where: str | None, fd: int) -> None:
        if where is not None:
            self._note("dirty", where, os.fstat(fd).st_ino)

    def _note(self, what: str, where: str, inode: int, **more: Any) -> None:
        line = json.dumps({"what": what, "path": where, "inode": inode, **more}) + "\n"
        self._real["write"](self._log, line.encode("utf-8", "surrogateescape"))

    def _within(self, path: Any, dir_fd: int | None) -> str | None:
        if isinstance(path, int):
            return self._of(path)
        name = os.path.join(
            os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd else os.getcwd(), os.fsdecode(path)
        )
        folder, base = os.path.split(name)
        return self._inside(os.path.join(os.path.realpath(folder), base))

    def _of(self, fd: int, more: Collection[str] = ()) -> str | None:
        try:
            path = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            return None
        return path if path in more else self._inside(path)

    def _inside(self, path: str) -> str | None:
        return path if any(path == root or path.startswith(f"{root}/") for root in self._roots) else None


def _half(views: Any) -> list[memoryview]:
    """Of these bytes the first ones, in place, for the page cache may be out of play: whole pages of many."""
    left = max(1, sum(map(len, views)) // 2)
    left = left // mmap.PAGESIZE * mmap.PAGESIZE or left
    taken = []
    for view in views:
        taken.append(memoryview(view)[:left])
        left -= len(taken[-1])
    return [view for view in taken if len(view)]


def steps(journal: Path) -> list[str]:
    """The calls that a run made, in their order."""
    return [note["call"] for note in _notes(journal) if note["what"] == "step"]


def crash(journal: Path, kind: str, seed: int) -> None:
    """Take from the disk what a power failure takes. `reorder` leaves of it what the dice say."""
    if kind == "kill":
        return
    dice = random.Random(seed)
    pending: list[dict[str, Any]] = []
    dirty: set[int] = set()
    names: dict[int, set[str]] = defaultdict(set)  # all that an inode was ever called
    for note in _notes(journal):
        names[note["inode"]].add(note["path"])
        match note["what"]:
            case "dirty":
                dirty.add(note["inode"])
            case "synced":
                dirty.discard(note["inode"])
                pending = [one for one in pending if os.path.dirname(one["path"]) != note["path"]]
            case "add" | "remove" | "rename" | "mkdir" | "rmdir":
                pending.append(note)
    lost = pending if kind == "power" else [one for one in pending if dice.random() < 0.5]
    if kind == "reorder":
        # what is lost of a folder's creation is lost with all that came into it
        gone = [one["path"] + "/" for one in lost if one["what"] == "mkdir"]
        lost = [one for one in pending if one in lost or one["path"].startswith(tuple(gone))]
    for note in reversed(lost):
        _undo(note)
    for inode in sorted(dirty):
        _forget_bytes(inode, names[inode], dice)


def _undo(note: dict[str, Any]) -> None:
    path, saved = note["path"], note.get("saved")
    match note["what"]:
        case "add":
            _remove(path)
        case "mkdir":
            shutil.rmtree(path, ignore_errors=True)
        case "rmdir":
            os.makedirs(path, exist_ok=True)
        case "remove" if saved is not None and os.path.isdir(os.path.dirname(path)):
            if not os.path.lexists(path):
                os.link(saved, path, follow_symlinks=False)
        case "rename":
            if os.path.lexists(path) and not os.path.lexists(note["source"]):
                os.rename(path, note["source"])
            if saved is not None:
                _remove(path)
                os.link(saved, path, follow_symlinks=False)


def _forget_bytes(inode: int, names: set[str], dice: random.Random) -> None:
    """A file whose bytes were never synced, whatever it is called now, ends somewhere."""
    for name in sorted(names):
        if os.path.isfile(name) and os.lstat(name).st_ino == inode:
            size = os.path.getsize(name)
            os.truncate(name, dice.choice((0, size // 2, size)))
            return


def _remove(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)


def _notes(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_bytes().splitlines()]


if __name__ == "__main__":
    _end = sys.argv.index("--")
    _kind, _step, _journal, *_folders = sys.argv[1:_end]
    Fault(_kind, int(_step), [Path(folder) for folder in _folders], Path(_journal)).install()
    main(sys.argv[_end + 1 :])
