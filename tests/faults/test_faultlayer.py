"""The failing disk forgets what was not synced, and nothing else; and how a run ended is told."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from faultlayer import Fault, crash
from program import Program


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def _after_power_failure(tmp_path: Path, work: Callable[[Path], object], *, synced: bool, seed: int) -> Path:
    """The folder in which `work` happened, whose name was synced if `synced`."""
    place = tmp_path / "parent" / "place"
    journal = tmp_path / "journal"
    place.parent.mkdir()
    child = os.fork()
    if not child:
        try:
            Fault("none", 0, [place], journal).install()
            os.mkdir(place)
            if synced:
                _sync(place.parent)
            work(place)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    crash(journal, "power", seed)
    return place


def _write(place: Path, *, sync_file: bool, sync_folder: bool) -> None:
    fd = os.open(place / "temporary", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x" * 100)
    if sync_file:
        os.fsync(fd)
    os.close(fd)
    os.rename(place / "temporary", place / "final")
    if sync_folder:
        _sync(place)


@pytest.mark.parametrize("seed", range(4))
def test_what_was_synced_with_its_name_stays(tmp_path: Path, seed: int) -> None:
    place = _after_power_failure(
        tmp_path, lambda place: _write(place, sync_file=True, sync_folder=True), synced=True, seed=seed
    )
    assert {path.name: path.stat().st_size for path in place.iterdir()} == {"final": 100}


def test_bytes_that_were_not_synced_are_lost_though_their_name_is_not(tmp_path: Path) -> None:
    sizes = set()
    for seed in range(8):
        (tmp_path / str(seed)).mkdir()
        place = _after_power_failure(
            tmp_path / str(seed),
            lambda place: _write(place, sync_file=False, sync_folder=True),
            synced=True,
            seed=seed,
        )
        sizes.add((place / "final").stat().st_size)
    assert 100 in sizes and min(sizes) < 100


def test_a_name_that_was_not_synced_is_lost(tmp_path: Path) -> None:
    place = _after_power_failure(
        tmp_path, lambda place: _write(place, sync_file=True, sync_folder=False), synced=True, seed=0
    )
    assert not list(place.iterdir())


def test_a_folder_is_lost_with_all_in_it_unless_its_parent_was_synced(tmp_path: Path) -> None:
    place = _after_power_failure(
        tmp_path, lambda place: _write(place, sync_file=True, sync_folder=True), synced=False, seed=0
    )
    assert not place.exists()


def test_what_is_emptied_may_be_empty_after_a_power_failure(tmp_path: Path) -> None:
    def work(place: Path) -> None:
        _write(place, sync_file=True, sync_folder=True)
        os.close(os.open(place / "final", os.O_WRONLY | os.O_TRUNC))

    place = _after_power_failure(tmp_path, work, synced=True, seed=0)
    assert (place / "final").stat().st_size == 0


def test_a_run_that_gives_no_exit_code_is_told_with_what_ended_it(sr: Program) -> None:
    killing = ("with-lock", "::", "sh", "-c", "echo before >&2; kill -9 $PPID")
    with pytest.raises(AssertionError, match=r"with-lock.*SIGKILL.*before"):
        sr.in_turn(("list",), killing, ("list",))
