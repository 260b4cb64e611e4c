"""Linux file flags, the letters of chattr(1), of regular files and directories.

Only four are kept, as Borg does: immutable, append-only, nodump and compress. They are what an
administrator sets and what every file system that has flags gives the same meaning. The others
describe how the file system stores this very file (extents, inline data, encryption, hashed
directories), cannot be set, or fix a layout (no copy-on-write) that is not the next disk's business.
"""

import errno
import fcntl
import os
import stat
import struct
import sys

from strongroom.archive.platform.pinning import is_path_only
from strongroom.archive.platform.xattrs import UNSUPPORTED

# include/uapi/linux/fs.h
COMPRESS = 0x00000004
IMMUTABLE = 0x00000010
APPEND = 0x00000020
NODUMP = 0x00000040
SEALING = IMMUTABLE | APPEND
"""With one of these nothing about a file can be changed but the flag itself."""
RESTORABLE = COMPRESS | IMMUTABLE | APPEND | NODUMP

_LETTERS = {NODUMP: "d", COMPRESS: "c", APPEND: "a", IMMUTABLE: "i"}
"""In the order to set them one by one: the last two need a privilege."""

_BSD = {
    NODUMP: stat.UF_NODUMP,
    IMMUTABLE: stat.UF_IMMUTABLE,
    APPEND: stat.UF_APPEND,
    COMPRESS: stat.UF_COMPRESSED,
}

# _IOR('f', 1, long) and _IOW('f', 2, long); asm-generic/ioctl.h, and the architectures that differ.
# The type says long, the kernel reads and writes an int.
_OTHER_LAYOUT = sys.platform == "linux" and os.uname().machine.startswith(("ppc", "mips", "sparc", "alpha"))
_READ, _WRITE = (0x40000000, 0x80000000) if _OTHER_LAYOUT else (0x80000000, 0x40000000)
_LONG = struct.calcsize("l")
_INT = struct.Struct("=I")
GET = _READ | _LONG << 16 | ord("f") << 8 | 1
_SET = _WRITE | _LONG << 16 | ord("f") << 8 | 2

_WITHOUT = UNSUPPORTED | {errno.EINVAL}

_devices_without: set[int] = set()
"""st_dev of the file systems that refused once: an ioctl that fails costs several that succeed.

For the life of the process: a run is over long before a number could be given to another mount
that matters to it.
"""


def read_flags(fd: int, device: int | None = None) -> int | None:
    """The restorable flags of an open regular file or directory; None where there is no such thing.

    `device` is its st_dev, if the caller has it at hand: a file system without flags is asked once.
    An O_PATH descriptor is not open, and gives None. Raises OSError.
    """
    if sys.platform != "linux" or device in _devices_without:
        return None
    raw = bytearray(_LONG)
    try:
        fcntl.ioctl(fd, GET, raw)
    except OSError as error:
        if error.errno == errno.EBADF and is_path_only(fd):
            return None
        if error.errno not in _WITHOUT:
            raise
        if device is not None:
            _devices_without.add(device)
        return None
    return int(_INT.unpack_from(raw)[0]) & RESTORABLE


def is_nodump(fd: int, mode: int, device: int | None = None) -> bool:
    """Whether `chattr +d` asks for the file to be left out. `mode` is its st_mode. Raises OSError."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return False
    return bool((read_flags(fd, device) or 0) & NODUMP)


def to_bsd(flags: int) -> int:
    """As chflags(2) numbers them, and Borg on every system."""
    return sum(bsd for flag, bsd in _BSD.items() if flags & flag)


def from_bsd(flags: int) -> int:
    """The restorable ones."""
    return sum(flag for flag, bsd in _BSD.items() if flags & bsd)


def write_flags(fd: int, wanted: int) -> tuple[str, OSError | None]:
    """Add the restorable ones of `wanted`; leave whatever else the file has as it is.

    Gives the letters of those that could not be set and the reason, if there is one: some file
    systems take a flag without a word and drop it. Raises OSError only if the flags cannot be read.
    """
    wanted &= RESTORABLE
    if not wanted:
        return "", None
    if sys.platform != "linux":
        return _letters(wanted), OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    before = _get(fd)
    if wanted & before == wanted:
        return "", None
    refusal = _set(fd, before | wanted)
    if refusal is not None:
        now = before
        for flag in _LETTERS:
            if flag & wanted and _set(fd, now | flag) is None:
                now |= flag
    return _letters(wanted & ~_get(fd)), refusal


def _get(fd: int) -> int:
    raw = bytearray(_LONG)
    fcntl.ioctl(fd, GET, raw)
    return int(_INT.unpack_from(raw)[0])


def _set(fd: int, flags: int) -> OSError | None:
    try:
        fcntl.ioctl(fd, _SET, _INT.pack(flags).ljust(_LONG, b"\0"))
    except OSError as error:
        return error
    return None


def _letters(flags: int) -> str:
    return "".join(letter for flag, letter in _LETTERS.items() if flag & flags)
