"""A disk that rots, or a server that changes bytes: found by anybody, with no key and no passphrase."""

import random
import time
from pathlib import Path

import pytest

from format.conftest import open_at
from program import Program, patterned
from strongroom.commands.check import CheckOptions, check_repository
from strongroom.commands.opening import Need
from strongroom.errors import StrongroomError
from strongroom.reporting import SilentReporter

AREAS = ["archives", "config", "index", "keys", "log", "packs", "refs"]


@pytest.fixture
def filled(sr: Program, src: Path) -> Program:
    for number in range(4):  # each run stores a pack of its own
        (src / f"file{number}").write_bytes(patterned(300_000, number))
        sr("create", f"::{number}", "src").ok()
    return sr


def flip(path: Path, chooser: random.Random) -> bytes:
    """The bytes as they were."""
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[chooser.randrange(len(whole))] ^= 1 << chooser.randrange(8)
    path.chmod(0o600)
    path.write_bytes(changed)
    return whole


@pytest.mark.parametrize("area", AREAS)
def test_a_flipped_byte_is_found_without_any_key(filled: Program, area: str) -> None:
    chooser = random.Random(AREAS.index(area))
    found = sorted(path for path in (filled.repo / area).rglob("*") if path.is_file())
    words = ("check", "--repository-only", "--verify-data", "-v")
    for turn, path in enumerate(chooser.choices(found or [filled.repo / area], k=3)):
        stranger = filled.another(f"stranger{turn}", STRONGROOM_PASSPHRASE="unknown")
        assert "No problems found" in stranger(*words).ok().err
        whole = flip(path, chooser)
        told = filled.another(f"other{turn}", STRONGROOM_PASSPHRASE="unknown")(*words)
        assert told.code in (1, 2) and (path.name in told.err or area == "config"), told
        path.write_bytes(whole)


def test_a_check_with_little_time_comes_to_every_pack(
    filled: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs = sorted((filled.repo / "packs").rglob("*/*"))
    assert len(packs) >= 4
    for path in packs:
        flip(path, random.Random(path.name))
    clock = iter(range(1_000_000))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    options = CheckOptions(verify_data=True, repository_only=True, max_duration=2)
    told: set[str] = set()
    for _ in range(len(packs)):
        with open_at(filled.repo, filled.root / "stranger", need=Need.STRUCTURE) as repository:
            result = check_repository(repository, options, SilentReporter())
        now = {problem.object for problem in result.problems}
        assert not result.finished and 0 < len(now) < len(packs)
        told |= now
    assert told == {f"packs/{path.parent.name}/{path.name}" for path in packs}


def test_a_file_whose_pack_rotted_is_named_and_the_others_are_restored(filled: Program) -> None:
    by_age = sorted((filled.repo / "packs").rglob("*/*"), key=lambda path: path.stat().st_mtime_ns)
    path = by_age[0]
    blob = bytearray(path.read_bytes())
    blob[1000] ^= 1
    path.chmod(0o600)
    path.write_bytes(blob)
    place = filled.root / "out"
    place.mkdir()
    told = filled("extract", "::3", cwd=place)
    assert told.code == 1 and "src/file0" in told.err and "src/file1" not in told.err
    for number in range(1, 4):
        assert (place / f"src/file{number}").read_bytes() == patterned(300_000, number)


@pytest.mark.parametrize("verify", [(), ("--verify-data",)])
def test_check_names_every_file_that_lost_bytes_in_every_archive(
    filled: Program, verify: tuple[str, ...]
) -> None:
    oldest = min((filled.repo / "packs").rglob("*/*"), key=lambda path: path.stat().st_mtime_ns)
    if verify:
        flip(oldest, random.Random(0))
    else:
        oldest.unlink()
    told = filled("check", *verify).err.splitlines()
    for archive in range(4):
        lines = [line for line in told if line.startswith(f"{archive} (") and "are lost" in line]
        assert archive == 0 or any("src/file0: bytes 0 to 299999 are lost" in line for line in lines)
        assert not any(f"file{number}" in line for line in lines for number in (1, 2, 3))


def test_nothing_but_errors_of_ours_comes_of_a_missing_area(filled: Program) -> None:
    for area in ("log", "config"):
        (filled.repo / area).rename(filled.root / area)
        with pytest.raises(StrongroomError):
            open_at(filled.repo, filled.root / "stranger", need=Need.STRUCTURE)
        (filled.root / area).rename(filled.repo / area)
