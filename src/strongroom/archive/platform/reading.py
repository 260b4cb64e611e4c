"""The attributes of a file that stat does not give. Called once for every file of a backup."""

import errno
import stat

import msgspec

from strongroom.archive.options import Attributes
from strongroom.archive.platform import flags as file_flags
from strongroom.archive.platform import xattrs
from strongroom.archive.platform.acls import acl_to_text
from strongroom.archive.platform.owners import Owners
from strongroom.errors import AclInvalid

MOST_VALUES = 8 << 20
"""Bytes that the attributes of one file may have: what holds an entry is read again up to twice that size."""


class Extended(msgspec.Struct):
    """In the form of the fields of `Entry`; None stands for "has none"."""

    xattrs: dict[bytes, bytes] | None = None
    acl_access: bytes | None = None
    acl_default: bytes | None = None
    flags: int | None = None


class PartlyRead(OSError):
    """Some attribute exists and cannot be read; `extended` has the others, None if there are none."""

    def __init__(self, first: OSError, names: list[bytes], extended: Extended | None) -> None:
        shown = ", ".join(name.decode(errors="backslashreplace") for name in names)
        super().__init__(first.errno, f"cannot read the extended attribute {shown}: {first.strerror}")
        self.extended = extended


def read_extended(
    fd_or_path: int | bytes,
    entry_mode: int,
    attributes: Attributes,
    owners: Owners,
    *,
    device: int | None = None,
) -> Extended | None:
    """None if there is nothing to store, the common case: one flistxattr, one ioctl for the flags.

    Takes an open descriptor, an O_PATH one (`pinning.pin`), or a path whose last component is not
    followed (for links and nodes, `pinning.path_at` makes one that costs no opening). Flags are
    read through an open descriptor only. `entry_mode` and `device` are st_mode and st_dev.

    Whatever the file system lists is kept as it is, `security.*`, `trusted.*` and `system.*` (such
    as NFSv4 lists) included, as Borg does; only the two POSIX lists become text. The system lists
    `trusted.*` to root alone.

    Raises OSError if nothing can be known, PartlyRead (an OSError) if single attributes cannot.
    """
    flags = None
    if attributes.flags and isinstance(fd_or_path, int) and stat.S_IFMT(entry_mode) in _MAY_HAVE_FLAGS:
        flags = file_flags.read_flags(fd_or_path, device) or None
    if attributes.xattrs or attributes.acls:
        target, follow, names = xattrs.list_names(fd_or_path)
        if names:
            return _read_listed(target, follow, names, Extended(flags=flags), attributes, owners)
    return None if flags is None else Extended(flags=flags)


def _read_listed(
    target: int | bytes,
    follow: bool,
    names: list[bytes],
    extended: Extended,
    attributes: Attributes,
    owners: Owners,
) -> Extended | None:
    values: dict[bytes, bytes] = {}
    failed: list[bytes] = []
    reason: OSError | None = None
    room = MOST_VALUES
    for name in names:
        is_acl = name in (xattrs.ACL_ACCESS, xattrs.ACL_DEFAULT)
        if not (attributes.acls if is_acl else attributes.xattrs):
            continue
        try:
            value = xattrs.read_value(target, follow, name)
            if value is None:
                continue
            room -= len(name) + len(value)
            if room < 0:
                raise OSError(errno.E2BIG, f"the attributes of one file exceed {MOST_VALUES} bytes")
            if not is_acl:
                values[name] = value
            elif name == xattrs.ACL_ACCESS:
                extended.acl_access = _text(value, owners, attributes)
            else:
                extended.acl_default = _text(value, owners, attributes)
        except OSError as error:
            failed.append(name)
            reason = reason or error
    extended.xattrs = values or None
    found = extended if extended != _NOTHING else None
    if reason is not None:
        raise PartlyRead(reason, failed, found) from reason
    return found


_NOTHING = Extended()
_MAY_HAVE_FLAGS = (stat.S_IFREG, stat.S_IFDIR)


def _text(value: bytes, owners: Owners, attributes: Attributes) -> bytes:
    try:
        return acl_to_text(value, owners, numeric_ids=attributes.numeric_ids)
    except AclInvalid as error:
        raise OSError(None, str(error)) from error
