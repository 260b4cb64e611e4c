"""The program as a user runs it, in this process, with folders of its own."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from strongroom.cli import main


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs `strongroom` with these words in an empty folder; exceptions never leave the program."""
    for name in [name for name in os.environ if name.startswith(("STRONGROOM_", "BORG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STRONGROOM_BASE_DIR", str(tmp_path / "base"))
    monkeypatch.setenv("STRONGROOM_REPO", str(tmp_path / "repo"))
    monkeypatch.setenv("STRONGROOM_PASSPHRASE", "")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    umask = os.umask(0o022)

    def program(*words: str) -> Done:
        capfd.readouterr()
        try:
            code = main.run(words)
        except SystemExit as end:
            code = int(end.code or 0)
        os.umask(0o022)  # the program sets a strict one
        out, err = capfd.readouterr()
        return Done(code, out, err)

    yield program
    os.umask(umask)


@pytest.fixture
def repository(run: Run) -> Run:
    """The same with a repository at STRONGROOM_REPO."""
    done = run("init", "--encryption=repokey")
    assert done.code == 0, done.err
    return run
