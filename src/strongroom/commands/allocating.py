"""How this process gets memory from the system, for programs that stay: a mount, a server of pages."""

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_ALONE = 8 << 20  # bytes: what is larger is given back when it is freed; opened bundles are used again
_ARENAS = 2


def give_freed_memory_back() -> None:
    """Before threads begin. Nothing where the C library knows no such settings.

    glibc keeps freed memory for each thread apart, up to 32 MiB a block once one so large was freed:
    of a mount whose files were all read, that was a third of what it held.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for setting, value in ((_ARENA_MAX, _ARENAS), (_MMAP_THRESHOLD, _ALONE), (_TRIM_THRESHOLD, _ALONE)):
            mallopt(setting, value)
