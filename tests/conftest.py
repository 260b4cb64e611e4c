"""What holds for all tests."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from economy import make_repositories_cheap, times

# Time is no test: a loaded machine must not fail a property.
settings.register_profile("strongroom", deadline=None, max_examples=times(100))
settings.load_profile("strongroom")

make_repositories_cheap()

# A suite that was started in the background ignores Ctrl-C, and so would every program in it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """The program, run in this process, sets a strict one: the next test must not inherit it."""
    before = os.umask(0o022)
    yield
    os.umask(before)
