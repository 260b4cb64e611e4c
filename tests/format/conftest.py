"""Repositories for the tests of the format, made by the real commands in this process."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.cli import main
from strongroom.commands.opening import Directories, Need, open_repository
from strongroom.repository.repository import Repository

PASSPHRASE = "secret"


class GivenPassphrase:
    def __init__(self, text: str) -> None:
        self._text = text

    def existing(self, subject: str, attempt: int) -> str:
        assert attempt == 1, "the passphrase is wrong"
        return self._text

    def new(self, subject: str) -> str:
        return self._text

    def at_hand(self) -> str:
        return self._text


def open_at(folder: Path, base: Path, passphrase: str = PASSPHRASE, need: Need = Need.READ) -> Repository:
    """Opened with an empty cache and no memory of it, if `base` is new."""
    directories = Directories(base / "config", base / "cache", base / "keys", base / "security")
    return open_repository(
        str(folder), directories, GivenPassphrase(passphrase), confirm=lambda _, __: True, need=need
    )


Program = Callable[..., None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """Runs `strongroom` on the repository tmp_path/repo; it must succeed."""
    for name in [name for name in os.environ if name.startswith(("STRONGROOM_", "BORG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STRONGROOM_BASE_DIR", str(tmp_path / "base"))
    monkeypatch.setenv("STRONGROOM_REPO", str(tmp_path / "repo"))
    monkeypatch.setenv("STRONGROOM_PASSPHRASE", PASSPHRASE)

    def run(*words: str) -> None:
        assert main.run(words) == 0

    yield run
