"""Fixtures of whole-program tests, for the conftest.py of the folders that hold some."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from program import NOBODY, Program, end_all, fast_folder, make_program, remove_tree


@pytest.fixture
def program() -> Iterator[Program]:
    """Without a repository yet."""
    yield from temporary_program()


def temporary_program() -> Iterator[Program]:
    """For fixtures that live longer."""
    root = Path(tempfile.mkdtemp(prefix="strongroom-", dir=fast_folder()))
    made = make_program(root)
    yield made
    end_all(made)
    remove_tree(root)


@pytest.fixture
def sr(program: Program) -> Program:
    """With a sealed repository."""
    program("init", "--encryption=repokey").ok()
    return program


@pytest.fixture
def src(program: Program) -> Path:
    """An empty folder `src` where the program runs."""
    made = program.cwd / "src"
    made.mkdir()
    return made


@pytest.fixture
def user() -> Iterator[Program]:
    """The program as an ordinary user runs it, with a repository; all folders are theirs."""
    if os.geteuid():
        pytest.skip("becoming another user needs root")
    root = Path(tempfile.mkdtemp(prefix="strongroom-user-", dir=fast_folder()))
    made = make_program(root)
    os.chown(root, NOBODY, NOBODY)
    os.chown(made.cwd, NOBODY, NOBODY)
    made.uid = NOBODY
    made("init", "--encryption=repokey").ok()
    yield made
    end_all(made)
    remove_tree(root)


Disk = Callable[[str | Path, str], Path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    """Mounts small file systems in memory: `small_disk("name", "1m")`, or at a path."""
    mounted: list[Path] = []

    def mount(name: str | Path, size: str) -> Path:
        point = tmp_path / name  # a whole path stays what it is
        point.mkdir(exist_ok=True)
        words = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(point)]
        if subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("may not mount")
        mounted.append(point)
        return point

    yield mount
    for point in mounted:
        subprocess.run(["umount", "-l", str(point)], check=True)
