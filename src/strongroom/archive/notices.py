"""What is said of files that could not be backed up, in Borg's words."""

import errno
import os

from strongroom.reporting import FILE_RACED, FILE_VANISHED, IO_ERROR, OS_ERROR, PERMISSION, Notice


class FileRaced(OSError):
    """The object is not the one that the listing showed."""


def notice_of(path: bytes, doing: str, error: OSError) -> Notice:
    """The warning for a file that could not be backed up, in Borg's words."""
    if isinstance(error, FileRaced):
        kind = FILE_RACED
    elif error.errno in (errno.EPERM, errno.EACCES):
        kind = PERMISSION
    elif error.errno == errno.ENOENT:
        kind = FILE_VANISHED
    elif error.errno == errno.EIO:
        kind = IO_ERROR
    else:
        kind = OS_ERROR
    shown = os.fsdecode(path)
    number = f"[Errno {error.errno}] " if error.errno else ""
    return Notice(f"{shown}: {doing}: {number}{error.strerror}", *kind)
