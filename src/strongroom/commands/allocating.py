"""How this process gets memory from the system, and when it gives it back."""

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_ALONE = 8 << 20  # bytes: what is larger is given back when it is freed; opened bundles are used again
_KEPT = 8 << 20  # bytes of freed memory
_ARENAS = 2


def give_freed_memory_back(beyond: int = _KEPT) -> None:
    """What is `beyond` so many bytes. Before threads begin; nothing where the C library has no such settings.

    glibc keeps freed memory for each thread apart, up to 32 MiB a block once one so large was freed:
    of a mount whose files were all read, that was a third of what it held.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for setting, value in ((_ARENA_MAX, _ARENAS), (_MMAP_THRESHOLD, _ALONE), (_TRIM_THRESHOLD, beyond)):
            mallopt(setting, value)
