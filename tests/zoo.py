"""Trees that hold everything a file system can hold, and the parts they are made of."""

import errno
import fcntl
import os
import random
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from program import patterned

KiB, MiB = 1024, 1024 * 1024
GETFLAGS, SETFLAGS = 0x80086601, 0x40086602
COMPRESS, IMMUTABLE, APPEND, NODUMP = 0x4, 0x10, 0x20, 0x40
SIZES = (0, 1, 256 * KiB - 1, 256 * KiB, 256 * KiB + 1, MiB, 4 * MiB - 1, 4 * MiB, 4 * MiB + 1, 20 * MiB)
EVERY_BYTE = bytes(byte for byte in range(1, 256) if byte != ord("/"))
NAMES = (
    *(EVERY_BYTE[:127], EVERY_BYTE[127:], b"\n", b" ", b"\x1b[31mred\x1b[0m\x07", b"-rf", b"..."),
    *(b"a" * 255, b"\xff" * 255),
    *(bytes([byte]) for byte in EVERY_BYTE if bytes([byte]) not in (b".", b"\n", b" ")),
)
_LARGEST_VALUE = 65_536  # bytes: XATTR_SIZE_MAX
_NO_ID = 0xFFFFFFFF


@dataclass(frozen=True)
class Scale:
    levels: int  # of folders, one inside the other
    entries: int  # of one folder
    sparse: int  # bytes of the largest file, most of it a hole
    modes: int  # each so manieth of the 4,096 there are


SMALL = Scale(levels=300, entries=2_000, sparse=1024 * MiB, modes=37)
FULL = Scale(levels=5_000, entries=200_000, sparse=20 * 1024 * MiB, modes=1)


def build(top: Path, scale: Scale) -> list[str]:
    """Fill an empty folder; what this user may not make, or this file system cannot hold, is told."""
    lacking: list[str] = []
    for kind in (_kinds, _modes, _attributes, _lists, _contents, sparse_files, _names, _deep, _wide, _flags):
        place = top / kind.__name__.strip("_")
        place.mkdir()
        lacking += kind(place, scale)
    return lacking


# --- the parts ---


def sparse(path: Path, size: int, *data: tuple[int, int]) -> None:
    with open(path, "wb") as stream:
        stream.truncate(size)
        for at, length in data:
            stream.seek(at)
            stream.write(patterned(length, at))


def make_deep(top: Path, depth: int, name: bytes, leaf: bytes = b"leaf") -> None:
    fd = os.open(top, os.O_RDONLY)
    for level in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        if leaf:
            file = os.open(leaf, os.O_CREAT | os.O_WRONLY, dir_fd=fd)
            os.write(file, b"%d" % level)
            os.close(file)
    os.symlink(b"x" * 1000, b"end", dir_fd=fd)
    os.close(fd)


def set_flags(path: bytes | Path, flags: int) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        raw = bytearray(8)
        fcntl.ioctl(fd, GETFLAGS, raw)
        fcntl.ioctl(fd, SETFLAGS, struct.pack("=Q", struct.unpack("=Q", raw)[0] | flags))
    finally:
        os.close(fd)


def age(top: Path, seed: int = 1) -> None:
    """Give all in it different times, down to the nanosecond."""
    dice = random.Random(seed)
    fd = os.open(top, os.O_RDONLY)
    stack = [_aged(fd, dice)]
    # one descriptor, and no recursion: a deep tree has more levels than either can take
    while stack:
        if stack[-1]:
            below = os.open(stack[-1].pop(), os.O_RDONLY, dir_fd=fd)
            stack.append(_aged(below, dice))
        else:
            stack.pop()
            below = os.open("..", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    os.utime(top, ns=(5, 1_234_567_890_123_456_789))


def _aged(fd: int, dice: random.Random) -> list[str]:
    """The folders that are in an open one."""
    with os.scandir(fd) as entries:
        inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, _ in sorted(inside):
        moment = dice.randrange(-(10**18), 4 * 10**18)
        os.utime(name, ns=(moment, moment + 1), dir_fd=fd, follow_symlinks=False)
    return [name for name, is_folder in inside if is_folder]


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """In the kernel's form, of (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


# --- the zoo ---


def _kinds(top: Path, scale: Scale) -> list[str]:
    (top / "file").write_text("x")
    (top / "empty").write_text("")
    (top / "folder").mkdir()
    (top / "dangling").symlink_to("/no/such\nthing")
    (top / "to-folder").symlink_to("folder")
    (top / "to-itself").symlink_to("to-itself")
    lacking = _longest_link(top / "longest")
    os.mkfifo(top / "fifo", 0o620)
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(".", os.O_RDONLY)
        os.chdir(top)
        listening.bind("socket")
        os.fchdir(here)
        os.close(here)
    linked = ["file", "dangling", "fifo"]
    if os.geteuid() == 0:
        os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        lacking += _largest_device(top / "block")
        os.mknod(top / "whiteout", stat.S_IFCHR | 0o600, 0)
        linked.append("null")
        for number, path in enumerate(sorted(top.iterdir())):
            os.chown(path, 4_294_967_294 - number, 100_000 + number, follow_symlinks=False)
    else:
        lacking.append("device nodes and other owners (not root)")
    for name in linked:
        for copy in range(3):
            os.link(top / name, top / "folder" / f"{name}-{copy}", follow_symlinks=False)
    return lacking


def _longest_link(path: Path) -> list[str]:
    try:
        os.symlink(b"\xff\xfe" * 2047, os.fsencode(path))
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        os.symlink(b"\xff\xfe" * 511, os.fsencode(path))  # the most that XFS takes
        return ["a symbolic link of more than 1,022 bytes"]
    return []


def _largest_device(path: Path) -> list[str]:
    try:
        os.mknod(path, stat.S_IFBLK | 0o660, os.makedev(4095, 1_048_575))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        os.mknod(path, stat.S_IFBLK | 0o660, os.makedev(511, 262_143))  # the most that XFS takes
        return ["a device of numbers above 511 and 262,143"]
    return []


def _modes(top: Path, scale: Scale) -> list[str]:
    everything = os.geteuid() == 0
    for mode in range(0, 0o10000, scale.modes):
        if not everything and mode & 0o500 != 0o500:
            continue  # its owner could not read it
        path = top / f"{mode:04o}"
        if mode % 3:
            path.write_text("x")
        else:
            path.mkdir()
            (path / "inside").write_text("x")
        os.chmod(path, mode)
    return [] if everything else ["files that their owner cannot read (not root)"]


def _attributes(top: Path, scale: Scale) -> list[str]:
    lacking: list[str] = []
    spaces = ["user"] + (["trusted", "security"] if os.geteuid() == 0 else [])
    for kind in ("file", "folder"):
        for size in (0, 1, 255, 3000, 3900):
            path = _made(top / f"{kind}-{size}", kind)
            for space in spaces[:1] if size > 1000 else spaces:
                os.setxattr(path, f"{space}.value", patterned(size, size))
        path = _made(top / f"{kind}-names", kind)
        for space in spaces:
            for name in (EVERY_BYTE[:127], EVERY_BYTE[127:], b"\xff" * (255 - len(space) - 1)):
                os.setxattr(path, space.encode() + b"." + name, b"\0" + name[:1])
        path = _made(top / f"{kind}-many", kind)
        for number in range(60):
            os.setxattr(path, f"user.{number}", b"%d" % number)
        path = _made(top / f"{kind}-largest", kind)
        for size in (_LARGEST_VALUE, 16_000, 4_000):
            try:
                os.setxattr(path, "user.large", patterned(size))
                break
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.E2BIG, errno.ERANGE):
                    raise
                lacking.append(f"an extended attribute of {size} bytes")
    if os.geteuid() == 0:
        os.symlink("file-0", top / "link")
        os.mkfifo(top / "fifo")
        os.mknod(top / "device", stat.S_IFCHR, os.makedev(1, 3))
        for name in ("link", "fifo", "device"):
            os.setxattr(top / name, "trusted.note", b"\0" + name.encode(), follow_symlinks=False)
        _made(top / "capable", "file")
        capability = struct.pack("<5I", 0x02000001, 0x3000, 0, 0, 0)
        os.setxattr(top / "capable", "security.capability", capability)
    return lacking


def _made(path: Path, kind: str) -> Path:
    if kind == "file":
        path.write_text("x")
    else:
        path.mkdir()
    return path


def _lists(top: Path, scale: Scale) -> list[str]:
    """Access control lists, and folders whose default list files inherit."""
    own = (0x01, 7, _NO_ID), (0x04, 4, _NO_ID), (0x20, 0, _NO_ID)
    few = access_list(own[0], (0x02, 7, 1), own[1], (0x08, 5, 0), (0x08, 4, 2), (0x10, 5, _NO_ID), own[2])
    named = [(0x02, number % 8, 1000 + number) for number in range(200)]
    many = access_list(own[0], *named, own[1], (0x10, 7, _NO_ID), own[2])
    for name, value in (("few", few), ("many", many)):
        for kind in ("file", "folder"):
            os.setxattr(_made(top / f"{kind}-{name}", kind), "system.posix_acl_access", value)
        folder = _made(top / f"default-{name}", "folder")
        os.setxattr(folder, "system.posix_acl_default", value)
        (folder / "heir").write_text("it inherits the list")
        (folder / "heirs").mkdir()
        (folder / "bare").write_text("it has none")
        os.removexattr(folder / "bare", "system.posix_acl_access")
    return []


def _contents(top: Path, scale: Scale) -> list[str]:
    """Sizes at the borders of chunks, of bytes that do not compress and of zeros that were written."""
    for number, size in enumerate(SIZES):
        (top / f"random-{size}").write_bytes(patterned(size, number))
        (top / f"zeros-{size}").write_bytes(bytes(min(size, 4 * MiB + 1)))
    return []


def sparse_files(top: Path, scale: Scale) -> list[str]:
    """Holes and data at odd places."""
    sparse(top / "all-hole", 10 * MiB)
    sparse(top / "hole-at-odd-size", MiB + 1)
    sparse(top / "data-at-end", 3 * MiB, (3 * MiB - 5000, 5000))
    sparse(top / "data-at-start", 3 * MiB + 77, (0, 4096))
    sparse(top / "in-pieces", 9 * MiB, *[(at * 333_333, 9000) for at in range(20)])
    sparse(top / "long-data", 12 * MiB, (MiB, 6 * MiB), (11 * MiB, 1))
    sparse(top / "tiny", 5000, (4500, 10))
    size = scale.sparse
    sparse(top / "huge", size, (size // 3 + 5, 7), (size // 2, 100_000), (size - 1, 1))
    sparse(top / "huge-hole", size)
    sparse(top / "every-other-block", 4 * MiB, *[(at * 8192, 4096) for at in range(512)])
    return []


def _names(top: Path, scale: Scale) -> list[str]:
    for name in NAMES:
        path = os.path.join(os.fsencode(top), name)
        fd = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.write(fd, name)
        os.close(fd)
    inner = os.path.join(os.fsencode(top), b"folder\n\xff")
    os.mkdir(inner)
    os.symlink(b"\n\x80", os.path.join(inner, b"l\x01"))
    for name in NAMES:
        os.mkdir(os.path.join(inner, name))
    return []


def _deep(top: Path, scale: Scale) -> list[str]:
    make_deep(top, scale.levels, b"f")
    (top / "long").mkdir()
    make_deep(top / "long", min(40, scale.levels), b"d" * 250)  # paths longer than the kernel takes
    return []


def _wide(top: Path, scale: Scale) -> list[str]:
    fd = os.open(top, os.O_RDONLY)
    for number in range(scale.entries):
        name = b"entry-%d" % number
        if number % 10 == 0:
            os.symlink(b"%d" % number, name, dir_fd=fd)
        elif number % 10 == 1:
            os.mkdir(name, dir_fd=fd)
        else:
            file = os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd)
            os.write(file, b"%d" % (number // 3))
            os.close(file)
    os.close(fd)
    return []


def _flags(top: Path, scale: Scale) -> list[str]:
    """Made last of all, and its times are set before the flags are: an immutable file takes none."""
    privileged = os.geteuid() == 0
    known = {"nodump": NODUMP, "compress": COMPRESS} | (
        {"immutable": IMMUTABLE, "append": APPEND} if privileged else {}
    )
    for name in known:
        (top / name).mkdir()
        (top / name / "inside").write_text("x")
        (top / f"{name}-file").write_text("y")
        os.link(top / f"{name}-file", top / name / "linked")
    age(top.parent)
    lacking = [] if privileged else ["the flags immutable and append-only (not root)"]
    for name, flag in known.items():
        try:
            set_flags(top / f"{name}-file", flag)
            set_flags(top / name, flag)
        except OSError:
            lacking.append(f"the flag {name}")
    return lacking
