"""What is mapped from a file counts as memory of whoever maps it, until the kernel wants it back.

The local cache is mapped whole: a run that goes through it would seem to grow with it. It lets the pages
go now and then; they stay in the system's page cache, and come back at their next use.
"""

import contextlib
import os
from pathlib import Path

_MOST = 32 * 1024 * 1024  # bytes of files in this process; half of it are its libraries
_DONTNEED = 4  # MADV_DONTNEED, which for a shared mapping of a file drops nothing but the mapping
_PAGE = os.sysconf("SC_PAGE_SIZE")


def let_go(path: Path) -> None:
    """If this process has much mapped: what of it is this file's. Any thread, while others read there.

    Nothing where there is no /proc.
    """
    with contextlib.suppress(OSError):
        with open("/proc/self/statm", "rb") as stream:
            mapped = int(stream.read().split()[2]) * _PAGE
        if mapped > _MOST:
            _let_go(path)


def _let_go(path: Path) -> None:
    import ctypes

    inode = os.stat(path).st_ino
    name = os.fsencode(path.name) + b"\n"
    with open("/proc/self/maps", "rb") as stream:
        for line in stream:
            addresses, _, _, _, of, *_ = line.split()
            # not by its device: of btrfs that is another one here than in what stat says
            if int(of) == inode and line.endswith(name):
                start, end = (int(one, 16) for one in addresses.split(b"-"))
                ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONTNEED)
