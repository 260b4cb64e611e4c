import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.archive.options import Attributes
from strongroom.archive.platform import (
    Extended,
    Owners,
    PartlyRead,
    is_nodump,
    path_at,
    pin,
    pinning,
    read_extended,
    reading,
)
from strongroom.archive.platform import flags as file_flags

ALL = Attributes()
FILE = stat.S_IFREG | 0o644
LINK = stat.S_IFLNK | 0o777


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.touch()
    return path


@pytest.fixture
def with_flags(file: Path) -> bool:
    """Whether the file system of the tests has flags; ext4, xfs, btrfs do."""
    with open(file, "rb") as probe:
        return file_flags.read_flags(probe.fileno()) is not None


def test_a_plain_file_has_nothing(file: Path, opened: Callable[[Path], int], owners: Owners) -> None:
    assert read_extended(opened(file), FILE, ALL, owners) is None
    assert read_extended(os.fsencode(file), FILE, ALL, owners) is None


def test_a_plain_file_costs_one_question_for_its_attributes(
    file: Path, opened: Callable[[Path], int], owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = opened(file)
    asked: list[object] = []
    really = os.listxattr
    with monkeypatch.context() as patched:
        patched.setattr(os, "listxattr", lambda target: asked.append(target) or really(target))
        for other in ("getxattr", "open", "stat", "fstat"):
            patched.delattr(os, other)
        assert read_extended(fd, FILE, ALL, owners) is None
    assert asked == [fd]


def test_attributes_are_bytes_whatever_they_hold(
    file: Path, opened: Callable[[Path], int], owners: Owners
) -> None:
    stored = {b"user.n\xff\xfe\n": b"\0a\xff\0", b"user.empty": b"", b"user.long": os.urandom(3000)}
    for name, value in stored.items():
        os.setxattr(file, name, value)
    extended = Extended(xattrs=stored)
    assert read_extended(opened(file), FILE, ALL, owners) == extended
    assert read_extended(os.fsencode(file), FILE, ALL, owners) == extended


def test_values_of_64_kib_are_read_whole(opened: Callable[[str], int], owners: Owners) -> None:
    for where in ("/dev/shm", "/tmp"):
        with tempfile.NamedTemporaryFile(dir=where) as big:
            value = os.urandom(65536)
            try:
                os.setxattr(big.name, "user.big", value)
            except OSError as error:
                assert error.errno in (errno.ENOSPC, errno.E2BIG, errno.EOPNOTSUPP)
                assert where != "/dev/shm" or error.errno == errno.EOPNOTSUPP, (
                    "tmpfs takes 64 KiB since Linux 6.6"
                )
                continue
            extended = read_extended(opened(big.name), FILE, ALL, owners)
            assert extended is not None and extended.xattrs == {b"user.big": value}


def test_lists_are_text_and_never_among_the_attributes(
    tmp_path: Path, opened: Callable[[Path], int], owners: Owners, tool: Callable[..., str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o750)
    tool("setfacl", "-m", "u:root:rwx,d:g:root:r-x,d:u:4000009:-", folder)
    os.setxattr(folder, "user.a", b"b")
    extended = read_extended(opened(folder), stat.S_IFDIR | 0o770, ALL, owners)
    assert extended == Extended(
        xattrs={b"user.a": b"b"},
        acl_access=b"user::rwx\nuser:root:rwx:0\ngroup::r-x\nmask::rwx\nother::---",
        acl_default=b"user::rwx\nuser:4000009:---:4000009\ngroup::r-x\ngroup:root:r-x:0\nmask::r-x\nother::---",
    )


@pytest.mark.parametrize("numeric", [False, True])
def test_numeric_ids_name_nobody(
    file: Path, opened: Callable[[Path], int], owners: Owners, tool: Callable[..., str], numeric: bool
) -> None:
    tool("setfacl", "-m", "u:root:rwx", file)
    extended = read_extended(opened(file), FILE, Attributes(numeric_ids=numeric), owners)
    assert extended is not None and extended.acl_access is not None
    assert (b"user:0:rwx:0" if numeric else b"user:root:rwx:0") in extended.acl_access


def test_what_is_not_wanted_is_not_read(
    file: Path, opened: Callable[[Path], int], owners: Owners, tool: Callable[..., str], with_flags: bool
) -> None:
    tool("setfacl", "-m", "u:root:rwx", file)
    os.setxattr(file, "user.a", b"b")
    if with_flags:
        tool("chattr", "+d", file)
    fd = opened(file)

    def read(*wanted: str) -> Extended | None:
        chosen = {part: part in wanted for part in ("xattrs", "acls", "flags")}
        return read_extended(fd, FILE, Attributes(**chosen), owners)

    assert read() is None
    assert read("xattrs") == Extended(xattrs={b"user.a": b"b"})
    lists = read("acls")
    assert lists is not None and lists.acl_access and (lists.xattrs, lists.flags) == (None, None)
    assert read("flags") == (Extended(flags=file_flags.NODUMP) if with_flags else None)


@pytest.mark.usefixtures("root")
def test_capabilities_are_read_as_they_are(
    file: Path, opened: Callable[[Path], int], owners: Owners, tool: Callable[..., str]
) -> None:
    tool("setcap", "cap_net_raw+ep", file)
    value = os.getxattr(file, "security.capability")
    os.setxattr(file, "trusted.t", b"\0")
    extended = read_extended(opened(file), FILE, ALL, owners)
    assert extended == Extended(xattrs={b"security.capability": value, b"trusted.t": b"\0"})


@pytest.mark.usefixtures("root")
def test_a_links_own_attributes_are_read_not_its_targets(tmp_path: Path, file: Path, owners: Owners) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    os.setxattr(file, "user.target", b"not this")
    os.setxattr(link, "trusted.link", b"this", follow_symlinks=False)
    dir_fd = os.open(tmp_path, os.O_RDONLY)
    pinned = pin(dir_fd, b"link")
    try:
        for way in (pinned, os.fsencode(link), path_at(dir_fd, b"link")):
            assert read_extended(way, LINK, ALL, owners) == Extended(xattrs={b"trusted.link": b"this"})
    finally:
        os.close(pinned)
        os.close(dir_fd)


def test_a_pinned_object_stays_the_same_when_its_name_is_given_away(
    tmp_path: Path, file: Path, owners: Owners
) -> None:
    os.setxattr(file, "user.which", b"first")
    dir_fd = os.open(tmp_path, os.O_RDONLY)
    pinned = pin(dir_fd, b"file")
    try:
        (tmp_path / "other").touch()
        os.setxattr(tmp_path / "other", "user.which", b"second")
        os.rename(tmp_path / "other", file)
        assert read_extended(pinned, FILE, ALL, owners) == Extended(xattrs={b"user.which": b"first"})
    finally:
        os.close(pinned)
        os.close(dir_fd)


def test_links_and_nodes_without_attributes_have_nothing(tmp_path: Path, owners: Owners) -> None:
    os.symlink("nowhere", tmp_path / "link")
    os.mkfifo(tmp_path / "fifo")
    for name, mode in (("link", LINK), ("fifo", stat.S_IFIFO | 0o600)):
        assert read_extended(os.fsencode(tmp_path / name), mode, ALL, owners) is None


def test_a_file_system_without_attributes_has_none(opened: Callable[[str], int], owners: Owners) -> None:
    assert read_extended(opened("/proc/self/status"), FILE, ALL, owners, device=4_000_000_001) is None
    assert 4_000_000_001 in file_flags._devices_without
    assert read_extended(opened("/proc/self/status"), FILE, ALL, owners, device=4_000_000_001) is None
    file_flags._devices_without.discard(4_000_000_001)


def test_real_errors_reach_the_caller(tmp_path: Path, owners: Owners) -> None:
    with pytest.raises(FileNotFoundError):
        read_extended(os.fsencode(tmp_path / "gone"), FILE, ALL, owners)
    fd = os.open(tmp_path, os.O_RDONLY)
    os.close(fd)
    with pytest.raises(OSError, match=r"Bad file descriptor|No such file"):
        read_extended(fd, FILE, ALL, owners)
    with pytest.raises(OSError, match=r"Bad file descriptor|No such file"):
        read_extended(fd, LINK, ALL, owners)


def test_what_one_user_may_not_read_leaves_the_rest(
    tmp_path: Path, owners: Owners, tool: Callable[..., str], as_user: Callable[..., Any]
) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o640)
    os.setxattr(secret, "user.hidden", b"x")
    tool("setfacl", "-m", "u:4000009:r", secret)

    def read(dir_fd: int) -> tuple[str, str]:
        try:
            read_extended(path_at(dir_fd, b"secret"), FILE, ALL, owners)
        except PartlyRead as error:
            assert error.extended is not None and error.extended.xattrs is None
            assert error.extended.acl_access is not None and error.errno == errno.EACCES
            return str(error.strerror), error.extended.acl_access.decode()
        return "", ""

    reason, text = as_user(tmp_path, read)
    assert reason == "cannot read the extended attribute user.hidden: Permission denied"
    assert "user:4000009:r--:4000009" in text


def test_more_attributes_than_an_entry_holds_leave_the_rest(
    tmp_path: Path, opened: Callable[[Path], int], owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their bytes were stored in a piece of a tree that was larger than any reader takes."""
    path = tmp_path / "file"
    path.touch()
    for name in ("user.a", "user.b"):
        os.setxattr(path, name, bytes(600))
    monkeypatch.setattr(reading, "MOST_VALUES", 1000)
    with pytest.raises(PartlyRead, match="exceed 1000 bytes") as raised:
        read_extended(opened(path), FILE, ALL, owners)
    assert raised.value.extended is not None and len(raised.value.extended.xattrs or {}) == 1


@pytest.mark.parametrize("letter", ["d", "c", "a", "i"])
@pytest.mark.usefixtures("root")
def test_flags_that_can_be_restored_are_read(
    tmp_path: Path,
    opened: Callable[[Path], int],
    owners: Owners,
    tool: Callable[..., str],
    with_flags: bool,
    letter: str,
) -> None:
    path = tmp_path / "flagged"
    path.mkdir()
    fd = opened(path)
    if not with_flags:
        assert file_flags.read_flags(fd) is None
        return
    tool("chattr", "+A", path)  # one that is not kept
    tool("chattr", f"+{letter}", path)
    try:
        took = letter in tool("lsattr", "-d", path).split()[0]
        expected = {"d": 0x40, "c": 0x4, "a": 0x20, "i": 0x10}[letter] if took else None
        extended = read_extended(fd, stat.S_IFDIR | 0o755, ALL, owners)
        assert (extended and extended.flags) == expected
        assert is_nodump(fd, stat.S_IFDIR | 0o755) == (letter == "d")
    finally:
        tool("chattr", f"-{letter}", path)


def test_nodump_is_never_asked_of_links_and_nodes() -> None:
    assert not is_nodump(-1, LINK)
    assert not is_nodump(-1, stat.S_IFCHR | 0o600)


@pytest.mark.usefixtures("root")
def test_without_proc_links_say_so_and_files_do_not_care(
    tmp_path: Path, file: Path, owners: Owners, in_child: Callable[..., Any]
) -> None:
    os.setxattr(file, "user.a", b"b")
    (tmp_path / "link").symlink_to("file")

    def read() -> list[str]:
        os.chroot(tmp_path)
        os.chdir("/")
        pinning._proc_is_mounted.cache_clear()
        fd = os.open("file", os.O_RDONLY)
        extended = read_extended(fd, FILE, ALL, owners)
        assert extended is not None and extended.xattrs == {b"user.a": b"b"}
        dir_fd = os.open(".", os.O_RDONLY)
        reasons = []
        for attempt in (
            lambda: read_extended(pin(dir_fd, b"link"), LINK, ALL, owners),
            lambda: path_at(dir_fd, b"l"),
        ):
            try:
                attempt()
            except OSError as error:
                reasons.append(str(error.strerror))
        return reasons

    assert (
        in_child(read)
        == ["/proc is not mounted, without it the attributes of links and special files are out of reach"] * 2
    )
