import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.archive.entries import Entry
from strongroom.archive.options import Attributes
from strongroom.archive.platform import (
    Extended,
    Owners,
    make_node,
    path_at,
    pin,
    pinning,
    read_extended,
    restore_attributes,
    restore_flags,
)
from strongroom.archive.platform import flags as file_flags

ALL = Attributes()
MTIME = 1_600_000_000_123_456_789
ATIME = 1_500_000_000_987_654_321
ACL = b"user::rw-\nuser:4000009:r-x:4000009\ngroup::r--\nmask::r-x\nother::---"
DEFAULT = b"user::rwx\ngroup::r-x\ngroup:4000008:-wx:4000008\nmask::rwx\nother::---"

# struct vfs_cap_data, revision 2, effective: cap_net_raw
CAP_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")

MakeEntry = Callable[..., Entry]
Tool = Callable[..., str]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A file as a restorer makes it: new, empty, for its maker alone."""
    path = tmp_path / "target"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    yield path, fd
    os.close(fd)


@pytest.fixture
def with_flags(target: tuple[Path, int]) -> bool:
    return file_flags.read_flags(target[1]) is not None


@pytest.mark.usefixtures("root")
def test_root_restores_everything_and_reading_gives_it_back(
    target: tuple[Path, int], make_entry: MakeEntry, owners: Owners, tool: Tool, with_flags: bool
) -> None:
    path, fd = target
    entry = make_entry(
        mode=0o106650,
        uid=4_000_001,
        gid=4_000_002,
        atime=ATIME,
        xattrs={
            b"user.n\xff": b"\0\xff",
            b"security.capability": CAP_NET_RAW,
            b"trusted.x": b"",
            b"user.e": b"",
        },
        acl_access=ACL,
        flags=file_flags.NODUMP | file_flags.IMMUTABLE,
    )
    try:
        problems = restore_attributes(fd, entry, ALL, owners, as_root=True)
        status = os.fstat(fd)
        assert (status.st_mode, status.st_uid, status.st_gid) == (0o106650, 4_000_001, 4_000_002)
        assert (status.st_mtime_ns, status.st_atime_ns) == (MTIME, ATIME)
        extended = read_extended(fd, status.st_mode, ALL, owners)
        assert extended == Extended(
            xattrs=entry.xattrs, acl_access=ACL, flags=entry.flags if with_flags else None
        )
        assert problems == ([] if with_flags else ["file flags (not supported by the file system)"])
    finally:
        if with_flags:
            tool("chattr", "-i", path)


@pytest.mark.usefixtures("root")
def test_a_directory_gets_its_default_list_and_its_times_after_its_contents(
    tmp_path: Path, make_entry: MakeEntry, owners: Owners, opened: Callable[[Path], int], tool: Tool
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    (folder / "inside").touch()
    entry = make_entry(
        mode=0o043750, acl_access=ACL.replace(b"user::rw-", b"user::rwx"), acl_default=DEFAULT, atime=ATIME
    )
    assert restore_attributes(opened(folder), entry, ALL, owners, as_root=True) == []
    status = os.stat(folder)
    assert (status.st_mode, status.st_mtime_ns, status.st_atime_ns) == (0o043750, MTIME, ATIME)
    shown = tool("getfacl", "-p", "-n", folder)
    assert "user:4000009:r-x" in shown and "default:group:4000008:-wx" in shown


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("kind", ["link", "fifo", "device"])
def test_links_and_nodes_are_restored_and_their_targets_left_alone(
    tmp_path: Path, make_entry: MakeEntry, owners: Owners, kind: str
) -> None:
    (tmp_path / "aim").write_text("not to be touched")
    before = os.stat(tmp_path / "aim")
    entry = {
        "link": make_entry(mode=0o120777, target=b"aim"),
        "fifo": make_entry(mode=0o010622),
        "device": make_entry(mode=0o020622, rdev=os.makedev(1, 3)),
    }[kind]
    entry.uid, entry.gid, entry.atime, entry.xattrs = 4_000_001, 4_000_002, ATIME, {b"trusted.t": b"\0"}
    dir_fd = os.open(tmp_path, os.O_RDONLY)
    make_node(dir_fd, b"node", entry)
    fd = pin(dir_fd, b"node")
    try:
        assert restore_attributes(fd, entry, ALL, owners, as_root=True) == []
        extended = read_extended(path_at(dir_fd, b"node"), entry.mode, ALL, owners)
    finally:
        os.close(fd)
        os.close(dir_fd)
    status = os.lstat(tmp_path / "node")
    assert (status.st_mode, status.st_uid, status.st_gid) == (entry.mode, 4_000_001, 4_000_002)
    assert (status.st_mtime_ns, status.st_atime_ns) == (MTIME, ATIME)
    assert extended == Extended(xattrs=entry.xattrs)
    after = os.stat(tmp_path / "aim")
    assert (after.st_uid, after.st_mode, after.st_ctime_ns) == (
        before.st_uid,
        before.st_mode,
        before.st_ctime_ns,
    )


@pytest.mark.usefixtures("root")
def test_names_count_before_numbers_unless_numbers_are_asked_for(
    target: tuple[Path, int], make_entry: MakeEntry, owners: Owners
) -> None:
    _, fd = target
    entry = make_entry(uid=4_000_001, gid=4_000_002, user="root", group="root")
    restore_attributes(fd, entry, ALL, owners, as_root=True)
    assert (os.fstat(fd).st_uid, os.fstat(fd).st_gid) == (0, 0)
    restore_attributes(fd, entry, Attributes(numeric_ids=True), owners, as_root=True)
    assert (os.fstat(fd).st_uid, os.fstat(fd).st_gid) == (4_000_001, 4_000_002)
    entry.user = entry.group = "no-one-here"
    os.fchown(fd, 0, 0)
    restore_attributes(fd, entry, ALL, owners, as_root=True)
    assert (os.fstat(fd).st_uid, os.fstat(fd).st_gid) == (4_000_001, 4_000_002)


def test_the_access_time_is_the_modification_time_where_none_is_stored(
    target: tuple[Path, int], make_entry: MakeEntry, owners: Owners
) -> None:
    _, fd = target
    assert restore_attributes(fd, make_entry(mtime=-1_000_000_001), ALL, owners, as_root=False) == []
    assert (os.fstat(fd).st_mtime_ns, os.fstat(fd).st_atime_ns) == (-1_000_000_001, -1_000_000_001)


def test_what_is_not_wanted_is_left_out_and_gives_nobody_more(
    target: tuple[Path, int], make_entry: MakeEntry, owners: Owners
) -> None:
    _, fd = target
    entry = make_entry(
        mode=0o100670,
        xattrs={b"user.a": b"b"},
        acl_access=b"user::rw-,user:4000009:rwx:4000009,group::---,mask::rwx,other::---",
        flags=file_flags.NODUMP,
    )
    nothing = Attributes(xattrs=False, acls=False, flags=False)
    assert restore_attributes(fd, entry, nothing, owners, as_root=False) == []
    assert os.fstat(fd).st_mode == 0o100600  # 070 was the mask of the list, never the group's own
    assert read_extended(fd, entry.mode, ALL, owners) is None


def test_an_ordinary_user_is_told_what_was_left(
    tmp_path: Path, make_entry: MakeEntry, owners: Owners, as_user: Callable[..., Any]
) -> None:
    entry = make_entry(
        mode=0o106555,
        uid=0,
        gid=0,
        user="root",
        group="root",
        xattrs={b"user.kept": b"\0", b"trusted.t": b"x", b"security.capability": CAP_NET_RAW},
        acl_access=b"user::r-x,user:root:rwx:0,group::r-x,mask::r-x,other::r-x",
        flags=file_flags.IMMUTABLE | file_flags.NODUMP,
    )

    def restore(dir_fd: int) -> list[Any]:
        fd = os.open("mine", os.O_RDWR | os.O_CREAT, 0o600, dir_fd=dir_fd)
        problems = restore_attributes(fd, entry, ALL, owners, as_root=False)
        extended = read_extended(fd, 0o100555, ALL, owners)
        assert extended is not None and extended.xattrs == {b"user.kept": b"\0"}
        assert extended.acl_access is not None
        status = os.fstat(fd)
        return [
            problems,
            oct(status.st_mode),
            status.st_mtime_ns,
            extended.flags,
            extended.acl_access.decode(),
        ]

    problems, mode, mtime, flags, acl = as_user(tmp_path, restore)
    flag_problem = "file flags i (not permitted)"
    if flags is None:
        flag_problem = "file flags (not supported by the file system)"
    assert problems == [
        "owner root:root (not permitted)",
        "set-user-ID and set-group-ID bits (left out, since the owner was not restored)",
        "extended attribute trusted.t (not permitted)",
        "extended attribute security.capability (not permitted)",
        flag_problem,
    ]
    assert (mode, mtime) == ("0o100555", MTIME)
    assert flags in (None, file_flags.NODUMP)
    assert "user:root:rwx:0" in acl


def test_a_user_keeps_his_own_and_hears_nothing_of_it(
    tmp_path: Path, make_entry: MakeEntry, owners: Owners, as_user: Callable[..., Any]
) -> None:
    def restore(dir_fd: int) -> list[Any]:
        fd = os.open("mine", os.O_RDWR | os.O_CREAT, 0o600, dir_fd=dir_fd)
        entry = make_entry(mode=0o106440, uid=os.geteuid(), gid=os.getegid())
        problems = restore_attributes(fd, entry, ALL, owners, as_root=False)
        os.symlink("x", "link", dir_fd=dir_fd)
        link = pin(dir_fd, b"link")
        theirs = make_entry(mode=0o120777, uid=0, gid=0, user="root")
        problems.append(restore_attributes(link, theirs, ALL, owners, as_root=False))
        return [problems, oct(os.fstat(fd).st_mode)]

    assert as_user(tmp_path, restore) == [[["owner root:0 (not permitted)"]], "0o106440"]


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("number", [-1, 0xFFFFFFFF, 1 << 32, 1 << 80])
def test_an_impossible_owner_never_leaves_a_set_id_program_to_root(
    target: tuple[Path, int], make_entry: MakeEntry, owners: Owners, number: int
) -> None:
    _, fd = target
    for fields in ({"uid": number}, {"gid": number}):
        problems = restore_attributes(fd, make_entry(mode=0o106755, **fields), ALL, owners, as_root=True)
        assert "no such number can exist" in problems[0] and len(problems) == 2
        assert os.fstat(fd).st_mode == 0o100755


@pytest.mark.parametrize("bad", [b"user::rwx", b"\xff", ACL + b"\nuser:4000009:rwx:4000009", b""])
@pytest.mark.parametrize("inherited", [False, True])
def test_a_list_that_cannot_be_read_grants_nobody_anything(
    target: tuple[Path, int], make_entry: MakeEntry, owners: Owners, tool: Tool, bad: bytes, inherited: bool
) -> None:
    path, fd = target
    if inherited:
        tool("setfacl", "-m", "u:4000007:rwx", path)
    problems = restore_attributes(fd, make_entry(mode=0o100670, acl_access=bad), ALL, owners, as_root=False)
    assert len(problems) == 1 and problems[0].startswith("access control list (")
    extended = read_extended(fd, 0o100670, ALL, owners)
    assert extended is None
    assert os.fstat(fd).st_mode & ~0o040 == 0o100600


def test_lists_smuggled_in_as_attributes_are_refused(
    target: tuple[Path, int], make_entry: MakeEntry, owners: Owners
) -> None:
    path, fd = target
    os.setxattr(path, "user.a", b"b")
    entry = make_entry(xattrs={b"system.posix_acl_access": b"\2\0\0\0", b"user.a\0b": b"", b"": b""})
    problems = restore_attributes(fd, entry, ALL, owners, as_root=False)
    assert problems[0] == (
        "extended attribute system.posix_acl_access (access control lists are not stored this way)"
    )
    assert problems[1] == "extended attribute user.a\0b (not a possible name)"
    assert len(problems) == 3


def test_a_default_list_on_a_file_is_refused(
    target: tuple[Path, int], make_entry: MakeEntry, owners: Owners
) -> None:
    problems = restore_attributes(target[1], make_entry(acl_default=DEFAULT), ALL, owners, as_root=False)
    assert problems == ["default access control list (only directories have one)"]


def test_a_list_inherited_from_the_destination_is_removed(
    tmp_path: Path, make_entry: MakeEntry, owners: Owners, tool: Tool, opened: Callable[[Path], int]
) -> None:
    tool("setfacl", "-m", "d:u:4000009:rwx", tmp_path)
    (tmp_path / "file").touch(mode=0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "fifo", 0o600)
    dir_fd = opened(tmp_path)
    for name, mode in ((b"file", 0o100660), (b"folder", 0o040770), (b"fifo", 0o010660)):
        fd = pin(dir_fd, name) if name == b"fifo" else opened(tmp_path / os.fsdecode(name))
        given = read_extended(fd, mode, ALL, owners)
        assert given is not None and given.acl_access is not None
        assert restore_attributes(fd, make_entry(mode=mode), ALL, owners, as_root=False) == []
        assert read_extended(fd, mode, ALL, owners) is None
        assert os.stat(tmp_path / os.fsdecode(name)).st_mode == mode
        if name == b"fifo":
            os.close(fd)


def test_times_beyond_reckoning_are_reported(
    target: tuple[Path, int], make_entry: MakeEntry, owners: Owners
) -> None:
    problems = restore_attributes(target[1], make_entry(mtime=1 << 100), ALL, owners, as_root=False)
    assert problems == ["times (beyond what the system can count)"]


def test_an_attribute_too_large_for_the_file_system_is_reported(
    target: tuple[Path, int], make_entry: MakeEntry, owners: Owners
) -> None:
    entry = make_entry(xattrs={b"user.huge": bytes(65537), b"user.fine": b"x", b"user." + b"n" * 300: b"x"})
    problems = restore_attributes(target[1], entry, ALL, owners, as_root=False)
    assert problems[0] == (
        "extended attribute user.huge (too large for the file system, or no space is left on it)"
    )
    assert problems[1].endswith("(too large for the file system, or no space is left on it)")
    extended = read_extended(target[1], entry.mode, ALL, owners)
    assert extended is not None and extended.xattrs == {b"user.fine": b"x"}


def test_user_attributes_of_links_are_reported_as_not_permitted(
    tmp_path: Path, make_entry: MakeEntry, owners: Owners, opened: Callable[[Path], int]
) -> None:
    (tmp_path / "link").symlink_to("x")
    fd = pin(opened(tmp_path), b"link")
    entry = make_entry(mode=0o120777, target=b"x", xattrs={b"user.a": b"b"}, flags=file_flags.IMMUTABLE)
    try:
        problems = restore_attributes(fd, entry, ALL, owners, as_root=False)
    finally:
        os.close(fd)
    assert problems == ["extended attribute user.a (not permitted)"]


@pytest.mark.usefixtures("root")
def test_a_flag_the_file_system_drops_in_silence_is_reported(
    target: tuple[Path, int], make_entry: MakeEntry, tool: Tool, with_flags: bool
) -> None:
    path, fd = target
    tool("chattr", "+A", path) if with_flags else None
    problems = restore_flags(fd, make_entry(flags=file_flags.COMPRESS | file_flags.NODUMP | 0x80000))
    if not with_flags:
        assert problems == ["file flags (not supported by the file system)"]
        return
    letters = tool("lsattr", path).split()[0]
    assert "d" in letters and "A" in letters
    assert problems == ([] if "c" in letters else ["file flags c (not supported by the file system)"])


@pytest.mark.usefixtures("root")
def test_an_immutable_file_takes_its_last_name_before_its_flags(
    target: tuple[Path, int], make_entry: MakeEntry, owners: Owners, tool: Tool, with_flags: bool
) -> None:
    path, fd = target
    entry = make_entry(flags=file_flags.IMMUTABLE)
    assert restore_attributes(fd, entry, Attributes(flags=False), owners, as_root=True) == []
    os.link(path, path.with_name("second"))
    try:
        left = restore_flags(fd, entry)
        assert left == ([] if with_flags else ["file flags (not supported by the file system)"])
        if with_flags:
            with pytest.raises(PermissionError):
                os.link(path, path.with_name("third"))
    finally:
        if with_flags:
            tool("chattr", "-i", path)


def test_flags_on_a_file_system_without_them_are_reported(make_entry: MakeEntry) -> None:
    with open("/proc/self/status", "rb") as file:
        assert restore_flags(file.fileno(), make_entry(flags=file_flags.NODUMP)) == [
            "file flags (not supported by the file system)"
        ]


@pytest.mark.usefixtures("root")
def test_without_proc_a_link_keeps_what_it_was_made_with_and_says_so(
    tmp_path: Path, make_entry: MakeEntry, owners: Owners, in_child: Callable[..., Any]
) -> None:
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "file").touch()

    def restore() -> list[Any]:
        os.chroot(tmp_path)
        os.chdir("/")
        pinning._proc_is_mounted.cache_clear()
        dir_fd = os.open(".", os.O_RDONLY)
        link = make_entry(mode=0o120777, target=b"file", uid=4_000_001)
        first = restore_attributes(pin(dir_fd, b"link"), link, ALL, owners, as_root=True)
        fd = os.open("file", os.O_RDONLY)
        second = restore_attributes(fd, make_entry(uid=4_000_001), ALL, owners, as_root=True)
        return [first, second, os.fstat(fd).st_uid, stat.S_IMODE(os.fstat(fd).st_mode)]

    first, second, uid, mode = in_child(restore)
    assert first == [
        "owner, mode, times and extended attributes of a link or special file (/proc is not mounted, "
        "without it the attributes of links and special files are out of reach)"
    ]
    assert (second, uid, mode) == ([], 4_000_001, 0o640)
