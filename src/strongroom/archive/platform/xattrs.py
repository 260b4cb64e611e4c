"""Extended attributes as the kernel has them: names and values are bytes, whatever they hold.

A target is a descriptor, a path whose last component is not followed (`follow` False), or a path
of `pinning` that names a pinned object (`follow` True).
"""

import errno
import os
import sys

from strongroom.archive.platform.pinning import proc_path

ACL_ACCESS = b"system.posix_acl_access"
ACL_DEFAULT = b"system.posix_acl_default"

UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.ENOTTY})

if sys.platform == "linux":
    _GONE = errno.ENODATA

    def list_names(target: int | bytes) -> tuple[int | bytes, bool, list[bytes]]:
        """(target, follow, names): what to pass to `read_value`, and the attributes that are there.

        One system call, except for an O_PATH descriptor. No support means no names. Raises OSError.
        """
        follow = isinstance(target, int)
        try:
            # A descriptor has no last component to follow, and Python refuses the argument for one.
            names = os.listxattr(target) if follow else os.listxattr(target, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.EBADF and isinstance(target, int):
                # flistxattr(2) refuses O_PATH descriptors. A truly bad one fails again below.
                return _list_pinned(proc_path(target))
            if error.errno in UNSUPPORTED:
                return target, follow, []
            raise
        return target, follow, [os.fsencode(name) for name in names] if names else []

    def _list_pinned(path: bytes) -> tuple[bytes, bool, list[bytes]]:
        try:
            return path, True, [os.fsencode(name) for name in os.listxattr(path)]
        except OSError as error:
            if error.errno in UNSUPPORTED:
                return path, True, []
            raise

    def read_value(target: int | bytes, follow: bool, name: bytes) -> bytes | None:
        """None if it vanished since it was listed. Raises OSError."""
        try:
            if follow:
                return os.getxattr(target, name)
            return os.getxattr(target, name, follow_symlinks=False)
        except OSError as error:
            if error.errno == _GONE:
                return None
            raise

    def write_value(target: int | bytes, name: bytes, value: bytes) -> None:
        """On a descriptor or a pinned object's path. Raises OSError."""
        os.setxattr(target, name, value)

    def remove(target: int | bytes, name: bytes) -> None:
        """Nothing happens if it is not there. Raises OSError."""
        try:
            os.removexattr(target, name)
        except OSError as error:
            if error.errno != _GONE:
                raise

else:

    def list_names(target: int | bytes) -> tuple[int | bytes, bool, list[bytes]]:
        return target, True, []

    def read_value(target: int | bytes, follow: bool, name: bytes) -> bytes | None:
        return None

    def write_value(target: int | bytes, name: bytes, value: bytes) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    def remove(target: int | bytes, name: bytes) -> None:
        return None
