"""Fixtures of whole-program tests; `borg` is the same program under that name."""

from collections.abc import Callable, Iterator

import pytest

from oldborg import Old, unpack_old
from program import Program
from programfixtures import program, sr, src

__all__ = ["borg", "program", "sr", "src"]


@pytest.fixture
def borg(program: Program) -> Iterator[Program]:
    """The program called `borg`, with Borg's variables alone, and a repository."""
    program.called = "/usr/local/bin/borg"
    program.env = {name.replace("STRONGROOM_", "BORG_"): value for name, value in program.env.items()}
    program("init", "--encryption=repokey").ok()
    yield program


@pytest.fixture
def unpack(program: Program) -> Callable[[str], Old]:
    """Puts a repository that a real Borg made beside the program."""
    return lambda name: unpack_old(program, name)
