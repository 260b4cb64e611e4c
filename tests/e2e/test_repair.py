"""`check --repair`: what rotted comes back or is named, nothing gets worse, twice is once."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from program import Done, Program, patterned

YES = {"STRONGROOM_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES"}
MODES = [(), ("--verify-data",)]


def spoil(path: Path) -> None:
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 4
    path.chmod(0o600)
    path.write_bytes(blob)


def cut(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size // 2)


HARMS = {"spoilt": spoil, "cut": cut, "missing": Path.unlink}
harms = pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)


def objects(program: Program, area: str) -> list[Path]:
    """Oldest first."""
    found = (path for path in (program.repo / area).rglob("*") if path.is_file())
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def everything(program: Program) -> dict[str, bytes]:
    top = program.repo
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def repair(program: Program, *words: str) -> Done:
    return program("check", "--repair", "-v", *words, env=YES)


@pytest.fixture
def filled(sr: Program, src: Path) -> Program:
    """Three archives, each with a pack of its own."""
    (src / "deep" / "er").mkdir(parents=True)
    for number in range(3):
        (src / f"file{number}").write_bytes(patterned(300_000, number))
        (src / "deep" / "er" / f"small{number}").write_text(f"small {number}")
        os.link(src / f"file{number}", src / "deep" / f"link{number}")
        (src / "deep" / "holes").write_bytes(b"")
        os.truncate(src / "deep" / "holes", 5_000_000)
        sr("create", f"::{number}", "src").ok()
    sr("list").ok()  # archives are in the cache now
    return sr


@pytest.mark.parametrize("verify", MODES)
@pytest.mark.parametrize("area", ["index", "refs", "archives"])
@harms
def test_what_can_be_made_anew_is_as_it_was(
    filled: Program, area: str, harm: Callable[[Path], None], verify: tuple[str, ...]
) -> None:
    before = everything(filled)
    for path in objects(filled, area)[:-1] if area == "log" else objects(filled, area):
        harm(path)
    told = filled("check", *verify)
    assert told.code == 1 and area in told.err
    assert "Everything is whole again" in repair(filled, *verify).ok().err
    assert everything(filled) == before
    assert "Everything" not in repair(filled).ok().err
    filled("check", "--verify-data").ok()


def test_nothing_is_done_without_a_yes(filled: Program) -> None:
    spoil(objects(filled, "index")[0])
    before = everything(filled)
    for answer in (b"", b"yes\n", b"no\n"):
        done = filled("check", "--repair", stdin=answer)
        assert done.code == 2 and "Nothing was repaired" in done.err and "is made anew" in done.err
    assert everything(filled) == before
    filled("check", "--repair", stdin=b"YES\n").ok()
    filled("check", env={"BORG_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES"}).ok()
