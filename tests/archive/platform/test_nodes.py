import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.archive.entries import Entry
from strongroom.archive.platform import make_node
from strongroom.errors import NodeRefused


@pytest.fixture
def dir_fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_a_symlink_is_made_whatever_its_target_holds(
    tmp_path: Path, dir_fd: int, make_entry: Callable[..., Entry]
) -> None:
    make_node(dir_fd, b"l\xff\n", make_entry(mode=0o120777, target=b"../no where\xfe\n"))
    assert os.readlink(os.fsencode(tmp_path) + b"/l\xff\n") == b"../no where\xfe\n"


def test_a_fifo_is_made_for_the_owner_alone(
    tmp_path: Path, dir_fd: int, make_entry: Callable[..., Entry]
) -> None:
    make_node(dir_fd, b"f", make_entry(mode=0o010666))
    mode = os.lstat(tmp_path / "f").st_mode
    assert stat.S_ISFIFO(mode) and stat.S_IMODE(mode) == 0o600


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK])
@pytest.mark.parametrize("number", [(1, 3), (7, 300), (4095, 1048575)])
def test_a_device_is_made_with_its_number(
    tmp_path: Path, dir_fd: int, make_entry: Callable[..., Entry], kind: int, number: tuple[int, int]
) -> None:
    make_node(dir_fd, b"d", make_entry(mode=kind | 0o666, rdev=os.makedev(*number)))
    made = os.lstat(tmp_path / "d")
    assert stat.S_IFMT(made.st_mode) == kind and stat.S_IMODE(made.st_mode) == 0o600
    assert made.st_rdev == os.makedev(*number)


def test_a_user_is_told_that_devices_need_root(
    tmp_path: Path, make_entry: Callable[..., Entry], as_user: Callable[..., Any]
) -> None:
    def attempt(dir_fd: int) -> str:
        try:
            make_node(dir_fd, b"sda", make_entry(mode=0o060660, rdev=os.makedev(8, 1)))
        except NodeRefused as error:
            return str(error)
        return "made"

    assert as_user(tmp_path, attempt) == (
        "Only root may create 'sda', the block device 8:1; extract as root to restore it."
    )
    assert os.listdir(tmp_path) == []


def test_a_socket_is_refused_with_a_reason(
    tmp_path: Path, dir_fd: int, make_entry: Callable[..., Entry]
) -> None:
    with pytest.raises(NodeRefused, match="'s' is a socket"):
        make_node(dir_fd, b"s", make_entry(mode=0o140666))
    assert os.listdir(tmp_path) == []


def test_what_is_there_is_never_replaced(
    tmp_path: Path, dir_fd: int, make_entry: Callable[..., Entry]
) -> None:
    (tmp_path / "taken").write_text("precious")
    for fields in ({"mode": 0o120777, "target": b"x"}, {"mode": 0o010666}):
        with pytest.raises(FileExistsError):
            make_node(dir_fd, b"taken", make_entry(**fields))
    assert (tmp_path / "taken").read_text() == "precious"


@pytest.mark.parametrize("name", [b"", b".", b"..", b"../up", b"/abs", b"a/b", b"nul\0", b"x/"])
def test_a_name_never_leads_elsewhere(tmp_path: Path, make_entry: Callable[..., Entry], name: bytes) -> None:
    (tmp_path / "in").mkdir()
    inside = os.open(tmp_path / "in", os.O_RDONLY)
    try:
        with pytest.raises(NodeRefused):
            make_node(inside, name, make_entry(mode=0o010666))
    finally:
        os.close(inside)
    assert os.listdir(tmp_path) == ["in"] and os.listdir(tmp_path / "in") == []


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": 0o120777, "target": None},
        {"mode": 0o120777, "target": b""},
        {"mode": 0o120777, "target": b"a\0b"},
        {"mode": 0o020666, "rdev": None},
        {"mode": 0o020666, "rdev": -1},
        {"mode": 0o060666, "rdev": 1 << 32},
        {"mode": 0o060666, "rdev": 1 << 80},
        {"mode": 0o100644},
        {"mode": 0o040755},
        {"mode": 0},
    ],
)
def test_an_entry_that_makes_no_node_is_refused(
    tmp_path: Path, dir_fd: int, make_entry: Callable[..., Entry], fields: dict[str, Any]
) -> None:
    with pytest.raises(NodeRefused):
        make_node(dir_fd, b"n", make_entry(**fields))
    assert os.listdir(tmp_path) == []


def test_a_target_too_long_is_the_systems_error(dir_fd: int, make_entry: Callable[..., Entry]) -> None:
    with pytest.raises(OSError, match="too long"):
        make_node(dir_fd, b"l", make_entry(mode=0o120777, target=b"x" * 5000))
