"""Folders that say of themselves that they are not to be backed up."""

import os
import stat

from strongroom.archive.options import ScanOptions

CACHE_TAG = b"CACHEDIR.TAG"
CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"  # https://bford.info/cachedir/


def exclusion_tags(folder: int, options: ScanOptions) -> set[bytes]:
    """The names in an open folder that exclude it; none if it is to be taken."""
    found = {name for name in options.exclude_if_present if _exists(folder, name)}
    if options.exclude_caches and _is_cache(folder):
        found.add(CACHE_TAG)
    return found


def _exists(folder: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def _is_cache(folder: int) -> bool:
    try:
        fd = os.open(CACHE_TAG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return False
    try:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        return regular and os.read(fd, len(CACHE_SIGNATURE)) == CACHE_SIGNATURE
    except OSError:
        return False
    finally:
        os.close(fd)
