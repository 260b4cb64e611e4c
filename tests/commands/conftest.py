"""Fixtures of tests of commands."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from program import fast_folder, remove_tree
from shelf import Shelf


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    """A sealed repository with the keys admin, laptop (backup) and reader (restore)."""
    root = Path(tempfile.mkdtemp(prefix="strongroom-shelf-", dir=fast_folder()))
    made = Shelf(root)
    made.add_key("backup", "laptop")
    made.add_key("restore", "reader")
    yield made
    made.close()
    remove_tree(root)
