"""Real files, real tools, and children that give up their privileges or their /proc."""

import json
import os
import shutil
import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.archive.entries import Entry
from strongroom.archive.platform import Owners

NOBODY = 65534


@pytest.fixture
def owners() -> Owners:
    return Owners()


@pytest.fixture
def make_entry() -> Callable[..., Entry]:
    def make(**fields: Any) -> Entry:
        return Entry(
            **{
                "name": b"file",
                "mode": 0o100640,
                "uid": os.geteuid(),
                "gid": os.getegid(),
                "user": None,
                "group": None,
                "mtime": 1_600_000_000_123_456_789,
                "size": 0,
                "content": b"",
                **fields,
            }
        )

    return make


@pytest.fixture
def opened() -> Iterator[Callable[[str | Path], int]]:
    """Opens for reading; closes at the end of the test."""
    descriptors: list[int] = []

    def open_(path: str | Path) -> int:
        descriptors.append(os.open(path, os.O_RDONLY))
        return descriptors[-1]

    yield open_
    for fd in descriptors:
        os.close(fd)


@pytest.fixture
def tool() -> Callable[..., str]:
    """Runs one of the machine's own tools; a missing one fails the test, with the package to install."""

    def run(name: str, *words: str | Path) -> str:
        package = {"setfacl": "acl", "getfacl": "acl", "setfattr": "attr", "setcap": "libcap2-bin"}
        assert shutil.which(name), f"{name} is missing: apt-get install {package.get(name, 'e2fsprogs')}"
        done = subprocess.run([name, *map(str, words)], capture_output=True, check=False)
        assert done.returncode == 0, (name, words, done.stderr)
        return os.fsdecode(done.stdout)

    return run


@pytest.fixture
def in_child() -> Callable[..., Any]:
    """Runs a function in a fork and gives what it returned, by way of JSON."""

    def run(function: Callable[[], Any]) -> Any:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                answer = {"value": function()}
            except BaseException:  # noqa: BLE001 - the parent fails the test with it
                answer = {"failed": traceback.format_exc()}
            os.write(writing, json.dumps(answer).encode())
            os._exit(0)
        os.close(writing)
        with open(reading, "rb") as stream:
            answer = json.loads(stream.read())
        os.waitpid(child, 0)
        assert "failed" not in answer, answer.get("failed")
        return answer["value"]

    return run


@pytest.fixture
def as_user(in_child: Callable[..., Any], root: None) -> Callable[..., Any]:
    """Runs a function as nobody, in a directory of nobody's, with a descriptor of it."""

    def run(directory: Path, function: Callable[[int], Any]) -> Any:
        os.chown(directory, NOBODY, NOBODY)
        dir_fd = os.open(directory, os.O_RDONLY)

        def drop() -> Any:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            return function(dir_fd)

        try:
            return in_child(drop)
        finally:
            os.close(dir_fd)

    return run


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make what this test restores")
