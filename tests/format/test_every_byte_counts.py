"""No byte of any object can change, and no object be cut short, without a word from `check`.

Positions are drawn anew from a fixed seed, every object and every one of its parts gets some.
"""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from economy import times
from format.conftest import open_at
from strongroom.commands.check import CheckOptions, check_repository
from strongroom.commands.opening import Need
from strongroom.crypto import keyformat
from strongroom.errors import StrongroomError
from strongroom.reporting import SilentReporter

Program = Callable[..., None]
FLIPS, CUTS = times(40), times(16)


@pytest.fixture(params=["repokey", "none"])
def repository(
    request: pytest.FixtureRequest, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """With several packs, archives and kinds of records; its key opens fast."""
    monkeypatch.setattr(keyformat, "ARGON2_MEMORY", 64)
    monkeypatch.setattr(keyformat, "ARGON2_PASSES", 1)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(30):
        (source / str(number)).write_bytes(random.Random(number).randbytes(3000) + b"text " * 2000)
    program("init", "-e", request.param)
    program("create", "--compression", "zstd", "::one", str(source))
    (source / "more").write_text("more")
    program("create", "--compression", "none", "::two", str(source))
    program("rename", "::two", "three")
    shutil.rmtree(tmp_path / "base" / ".cache")
    return tmp_path / "repo"


def objects(repository: Path) -> list[Path]:
    """All that the log still names: a renamed archive's first object is of the past."""
    others = {repository / "tmp", repository / ".reserve"}
    found = sorted(
        path for path in repository.rglob("*") if path.is_file() and others.isdisjoint(path.parents)
    )
    assert {path.relative_to(repository).parts[0] for path in found} == {
        "archives", "config", "index", "keys", "log", "packs", "refs",
    }  # fmt: skip
    return found


def sound(repository: Path, base: Path) -> bool:
    """Whether `check --verify-data` finds nothing. Every error must be one of ours."""
    try:
        with open_at(repository, base, need=Need.READ) as opened:
            result = check_repository(opened, CheckOptions(verify_data=True), SilentReporter())
            assert result.finished
            return not result.problems
    except StrongroomError:
        return False


def living(repository: Path, base: Path) -> list[Path]:
    with open_at(repository, base) as opened:
        dead = {one.id.hex() for one in opened.state.archives.values() if one.deleted is not None}
    assert len(dead) == 1
    return [path for path in objects(repository) if path.name not in dead]


def positions(path: Path, size: int, chooser: random.Random) -> list[int]:
    """The ends, where headers and trailers are, and something between."""
    wanted = {0, size - 1, chooser.randrange(size), chooser.randrange(min(size, 40))}
    wanted.add(size - 1 - chooser.randrange(min(size, 60)))
    return sorted(wanted)


def test_a_flipped_byte_is_told(repository: Path, tmp_path: Path) -> None:
    chooser = random.Random(20261123)
    base = tmp_path / "scratch"
    assert sound(repository, base)
    cases = [
        (path, position)
        for path in living(repository, base)
        for position in positions(path, path.stat().st_size, chooser)
    ]
    for path, position in chooser.sample(cases, min(FLIPS, len(cases))):
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[position] ^= 1 << chooser.randrange(8)
        path.write_bytes(changed)
        shutil.rmtree(base, ignore_errors=True)
        name = path.relative_to(repository)
        assert not sound(repository, base), f"byte {position} of {name} ({len(whole)} bytes)"
        path.write_bytes(whole)
    assert sound(repository, base)


def test_an_object_cut_short_is_told(repository: Path, tmp_path: Path) -> None:
    chooser = random.Random(20261124)
    base = tmp_path / "scratch"
    found = living(repository, base)
    cases = [(path, 0) for path in found]
    cases += [(path, chooser.randrange(path.stat().st_size)) for path in found]
    for path, size in chooser.sample(cases, min(CUTS, len(cases))):
        whole = path.read_bytes()
        os.truncate(path, size)
        shutil.rmtree(base, ignore_errors=True)
        assert not sound(repository, base), f"{path.relative_to(repository)} cut to {size} of {len(whole)}"
        path.write_bytes(whole)


def test_a_removed_object_is_told(repository: Path, tmp_path: Path) -> None:
    """The last record excepted: that takes a memory of it, which `base` keeps here."""
    base = tmp_path / "scratch"
    for path in living(repository, base):
        whole = path.read_bytes()
        path.unlink()
        assert not sound(repository, base), path.relative_to(repository)
        path.write_bytes(whole)
        shutil.rmtree(base / "cache", ignore_errors=True)
