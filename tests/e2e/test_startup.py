"""What a command loads before it works: counted, since seconds depend on the machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mounting import detach, mountpoint, needs_fuse
from program import Program, wait_until
from strongroom.commands.mount import is_mounted

# Slow to load, and of no use to a command that succeeds.
HEAVY = {
    *("asyncio", "email", "http", "importlib.metadata", "rich", "ssl", "zfec"),
    *("dataclasses", "hashlib", "hmac", "json", "socket", "subprocess", "tempfile"),
    *("strongroom.repository.bridged", "strongroom.repository.mending"),
    *("strongroom.repository.copying", "strongroom.repository.rescue", "strongroom.repository.fallback"),
    *("strongroom.borg.repository", "strongroom.store.ssh", "strongroom.store.lasting"),
}
CHUNKERS = {"typing_extensions", "inspect"}  # pyfastcdc loads the first, and that the second
POOLS = {"concurrent.futures", "logging"}
_RUN = (
    "import sys\nfrom strongroom.cli.main import run\ncode = run(sys.argv[2:])\n"
    "with open(sys.argv[1], 'w') as out:\n    out.write('\\n'.join(sys.modules))\nsys.exit(code)"
)


def started(program: Program, *words: str) -> "subprocess.Popen[bytes]":
    environment = {"PATH": os.environ["PATH"], **program.env}
    loaded = str(program.root / "loaded")
    return subprocess.Popen(
        [sys.executable, "-c", _RUN, loaded, *words],
        cwd=program.cwd,
        env=environment,
        stdout=subprocess.DEVNULL,
    )


def loaded(program: Program) -> tuple[set[str], int, int]:
    """All modules; how many are ours, and how many of other packages."""
    names = set((program.root / "loaded").read_text().split())
    ours = {name for name in names if name.split(".")[0] == "strongroom"}
    # _distutils_hack: the interpreter loads it by itself, where setuptools is installed beside
    known = sys.stdlib_module_names | {"_distutils_hack"}
    others = {name for name in names - ours if name.split(".")[0] not in known}
    return names, len(ours), len(others)


@pytest.mark.parametrize(
    ("words", "ours", "others", "besides"),
    [
        (["list"], 84, 63, {"inspect", "shutil", "concurrent.futures"}),
        (["list", "::a"], 88, 65, CHUNKERS | POOLS),
        (["info", "::a"], 85, 63, CHUNKERS | POOLS),
        (["cat", "::a", "src/file"], 82, 65, CHUNKERS),
        (["create", "::b", "src"], 118, 75, POOLS),
        (["extract", "::a"], 113, 65, CHUNKERS | {"shutil"}),
        (["delete", "::a"], 85, 63, CHUNKERS | POOLS),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_a_command_loads_what_it_needs(
    sr: Program, src: Path, words: list[str], ours: int, others: int, besides: set[str]
) -> None:
    """`ours` and `others` are what it takes today, and a few: more of them are to be thought over."""
    (src / "file").write_text("text")
    sr("create", "::a", "src").ok()
    assert not started(sr, *words).wait()
    names, own, foreign = loaded(sr)
    assert not sorted(names & (HEAVY | besides))
    assert own <= ours and foreign <= others


@needs_fuse
def test_a_mount_loads_what_it_needs(sr: Program, src: Path) -> None:
    sr("create", "::a", "src").ok()
    place = mountpoint(sr)
    running = started(sr, "mount", "-f", "::a", str(place))
    try:
        wait_until(lambda: is_mounted(str(place)) or running.poll() is not None)
        sr("umount", str(place)).ok()
        assert not running.wait()
    finally:
        running.kill()
        running.wait()
        detach(place)
    names, own, foreign = loaded(sr)
    assert not sorted(names & (HEAVY | CHUNKERS | {"shutil"}) - {"strongroom.store.lasting"})
    assert own <= 105 and foreign <= 66
