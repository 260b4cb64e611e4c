"""Real FUSE mounts of the program, for tests: `with mounted(program, "::", ...) as top`."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from program import Program, Running, wait_until
from strongroom.commands.mount import is_mounted


def _fuse_works() -> bool:
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError:
        return False
    return shutil.which("fusermount3") is not None


FUSE = _fuse_works()

# CI installs it: there its absence is a failure, not an excuse
needs_fuse = pytest.mark.skipif(not FUSE and "CI" not in os.environ, reason="FUSE does not work here")


def mountpoint(program: Program, name: str = "mnt") -> Path:
    place = program.root / name
    place.mkdir(exist_ok=True)
    if program.uid is not None:
        os.chown(place, program.uid, program.uid)
    return place


def mount(program: Program, location: str, *words: str, **how: Any) -> tuple[Running, Path]:
    """In the foreground, so that it can be waited for."""
    place = mountpoint(program)
    running = program.start("mount", "-f", location, str(place), *words, **how)
    wait_until(lambda: is_mounted(str(place)) or has_ended(running.pid))
    return running, place


_PEEK = os.WEXITED | os.WNOHANG | os.WNOWAIT


def has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, _PEEK) is not None


def detach(place: Path) -> None:
    subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


@contextmanager
def mounted(program: Program, location: str, *words: str, **how: Any) -> Iterator[Path]:
    """Where it is mounted; afterwards it must end well, having warned of nothing."""
    running, place = mount(program, location, *words, **how)
    try:
        if has_ended(running.pid):
            raise AssertionError(running.wait())
        yield place
        program("umount", str(place)).ok()
    except BaseException:
        detach(place)
        raise
    running.wait().ok()
