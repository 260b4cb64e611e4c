"""Runs a command and measures its whole process tree."""

import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.02
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class CommandFailed(Exception):
    """A measured or preparing command did not exit with 0."""


@dataclass(frozen=True)
class Measurement:
    """Of one command and all its descendants."""

    wall: float  # seconds
    cpu: float  # seconds, user and system
    rss: int  # bytes: peak over time of the sum over the tree, what processes share once
    load_before: float  # the machine's 1-minute load average when it started
    own: int = 0  # bytes: peak of what is not mapped from files, of the largest process


def run(command: list[str], environment: dict[str, str], folder: Path, log: Path) -> Measurement:
    """Runs `command` in `folder`, its output appended to `log`.

    Raises CommandFailed for any exit code but 0: a warning would mean that less work was done.
    """
    os.sync()  # what the peer before left dirty is not this one's to write
    load = os.getloadavg()[0]
    with log.open("ab") as output:
        output.write(f"$ {' '.join(command)}\n".encode())
        output.flush()
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        watcher = _Watcher(process.pid)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        watcher.stop()
    if process.returncode != 0:
        tail = log.read_bytes()[-2000:].decode(errors="replace")
        raise CommandFailed(f"exit code {process.returncode}: {' '.join(command)}\n{tail}")
    # not usage.ru_maxrss: it starts at the size of the process that forked, this one
    return Measurement(wall, usage.ru_utime + usage.ru_stime, watcher.peak, load, watcher.own)


class _Watcher(threading.Thread):
    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._done = threading.Event()
        self.peak = 0
        self.own = 0

    def run(self) -> None:
        while not self._done.wait(POLL_SECONDS):
            self.peak = max(self.peak, _tree_rss(self._root), _status(self._root, "VmHWM"))
            self.own = max(self.own, *(_status(one, "RssAnon") for one in _tree(self._root)))

    def stop(self) -> None:
        self._done.set()
        self.join()


def _tree(root: int) -> list[int]:
    """A process and its descendants."""
    found = [root]
    for process in found:
        try:
            for task in Path(f"/proc/{process}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _tree_rss(root: int) -> int:
    """Resident bytes of a process and its descendants, what they share once; of those that are gone none."""
    tree = _tree(root)
    if len(tree) == 1:
        return _status(root, "VmRSS")
    return sum(_status(one, "Pss", "smaps_rollup") for one in tree)


def _status(process: int, field: str, file: str = "status") -> int:
    """Bytes, as the kernel counts; of `VmHWM` the most that ever were, between two polls as well."""
    try:
        lines = Path(f"/proc/{process}/{file}").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def drop_caches() -> bool:
    """Empties the page cache; False where the machine does not let us."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        return False
    return True


def warm(tree: Path) -> None:
    """Reads every file once, so that all peers find the cache alike."""
    buffer = bytearray(1 << 20)
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                with path.open("rb", buffering=0) as file:
                    while file.readinto(buffer):
                        pass


def size_of(folder: Path) -> int:
    """Bytes of all files below, as their lengths say."""
    return sum(Path(parent, name).lstat().st_size for parent, _, names in os.walk(folder) for name in names)


def machine() -> dict[str, object]:
    """What a reader needs to know to compare two runs."""
    cpus = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": cpus[0] if cpus else "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PHYS_PAGES") * PAGE_SIZE,
        "kernel": os.uname().release,
    }


def remove(folder: Path) -> None:
    """Removes a tree, its read-only folders included; nothing where there is none."""
    if not folder.exists():
        return
    for parent, names, _ in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder)
