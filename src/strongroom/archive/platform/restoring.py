"""Putting an entry's attributes onto the object that was made for it.

The order is what keeps a file safe while it is being restored, and complete afterwards:

1. owner: chown(2) clears the set-id bits and `security.capability`, so it comes before both;
2. extended attributes: an ordinary user may write them only while the file is writable to him;
3. mode, without what an access control list alone gave the group;
4. access control lists, which complete the mode;
5. times, which all of the above but the access time leave alone, yet writing content does not;
6. flags: nothing can be changed on an immutable file.

What cannot be restored is a sentence each, free of the file's name, so that a caller can count
equal ones: an ordinary user would else read the same line a million times.
"""

import errno
import os
import stat

from strongroom.archive.entries import Entry
from strongroom.archive.options import Attributes
from strongroom.archive.platform import flags as file_flags
from strongroom.archive.platform import xattrs
from strongroom.archive.platform.acls import acl_from_text, mode_without_acl
from strongroom.archive.platform.owners import Owners
from strongroom.archive.platform.pinning import handle, is_path_only
from strongroom.errors import AclInvalid

_MOST_ID = 0xFFFFFFFE  # the next one tells chown(2) to leave the owner as it is

_Target = int | bytes


def restore_attributes(
    fd: int,
    entry: Entry,
    attributes: Attributes,
    owners: Owners,
    *,
    as_root: bool,
    opened: bool = False,
    inherited: bool = True,
) -> list[str]:
    """Restore all that `attributes` asks for; give what could not be, as sentences for the user.

    `fd` is open (regular files and directories, for reading or writing) or an O_PATH descriptor
    (links and nodes, `pinning.pin`). Call it when the content is complete; for a directory when
    everything in it is restored; for a file with hard links either when all its names exist or with
    `attributes.flags` False, and `restore_flags` afterwards: an immutable file takes no new names.

    What an earlier restore has finished and made immutable or append-only is left alone.

    `as_root` says whether owners are to be given away at all. The access time is restored if the
    archive has it, else it becomes the modification time. `opened`: `fd` is known to be no O_PATH descriptor.
    `inherited`: the folder may have handed its default list on to it.
    """
    try:
        target = fd if opened else handle(fd)
    except OSError as error:
        return [f"owner, mode, times and extended attributes of a link or special file ({error.strerror})"]
    if _is_sealed(fd, entry):
        return []
    problems: list[str] = []
    is_link = stat.S_ISLNK(entry.mode)
    mode = _restore_owner(target, entry, attributes, owners, as_root, problems)
    if attributes.xattrs:
        _restore_xattrs(target, entry, problems)
    if not is_link:
        _restore_mode(
            target, mode if entry.acl_access is None else mode_without_acl(mode, entry.acl_access), problems
        )
        if attributes.acls and (inherited or entry.acl_access is not None or entry.acl_default is not None):
            _restore_acls(fd, target, entry, attributes, owners, problems)
    _restore_times(target, entry, problems)
    if attributes.flags:
        problems += restore_flags(fd, entry)
    return problems


def _is_sealed(fd: int, entry: Entry) -> bool:
    """Whether it has the flag that is set last of all, and looks as what was finished before that."""
    sealing = (entry.flags or 0) & file_flags.SEALING
    if not sealing or not (entry.is_regular or entry.is_dir) or is_path_only(fd):
        return False
    try:
        status, flags = os.fstat(fd), file_flags.read_flags(fd)
    except OSError:
        return False  # what sets attributes will tell
    same = status.st_mode == entry.mode and status.st_mtime_ns == entry.mtime
    return same and (flags or 0) & sealing == sealing


def restore_flags(fd: int, entry: Entry) -> list[str]:
    """Set the stored flags of an open regular file or directory; the last thing to do to it."""
    if not entry.flags or not (entry.is_regular or entry.is_dir):
        return []
    if is_path_only(fd):
        return [f"file flags ({_reason(OSError(errno.EBADF, os.strerror(errno.EBADF)))})"]
    try:
        left, refusal = file_flags.write_flags(fd, entry.flags)
    except OSError as error:
        return [f"file flags ({_reason(error)})"]
    if not left:
        return []
    return [f"file flags {left} ({_reason(refusal) if refusal else 'not supported by the file system'})"]


def _restore_owner(
    target: _Target,
    entry: Entry,
    attributes: Attributes,
    owners: Owners,
    as_root: bool,
    problems: list[str],
) -> int:
    """The permissions to set afterwards.

    A set-id bit is worth its owner's rights, and must not come to lend those of another.
    """
    if not attributes.owners:
        return _without_set_ids(entry, stat.S_IMODE(entry.mode), [])
    uid, gid = entry.uid, entry.gid
    if not attributes.numeric_ids:
        uid = _first(owners.uid(entry.user) if entry.user else None, uid)
        gid = _first(owners.gid(entry.group) if entry.group else None, gid)

    def told(why: str) -> int:
        user, group = _shown(entry.user, entry.uid, attributes), _shown(entry.group, entry.gid, attributes)
        problems.append(f"owner {user}:{group} ({why})")
        return _without_set_ids(entry, mode, problems)

    mode = stat.S_IMODE(entry.mode)
    if not (0 <= uid <= _MOST_ID and 0 <= gid <= _MOST_ID):
        return told("no such number can exist")
    try:
        if as_root or uid == os.geteuid():
            os.chown(target, uid, gid)
            return mode
        os.chown(target, -1, gid)
    except OSError as error:
        return told(_reason(error))
    return told("not permitted")


def _without_set_ids(entry: Entry, mode: int, problems: list[str]) -> int:
    if entry.is_dir or not mode & (stat.S_ISUID | stat.S_ISGID):
        return mode  # on a directory the bit only hands its group on
    if not stat.S_ISLNK(entry.mode):
        problems.append("set-user-ID and set-group-ID bits (left out, since the owner was not restored)")
    return mode & ~(stat.S_ISUID | stat.S_ISGID)


def _restore_xattrs(target: _Target, entry: Entry, problems: list[str]) -> None:
    for name, value in (entry.xattrs or {}).items():
        shown = name.decode(errors="backslashreplace")
        if name in (xattrs.ACL_ACCESS, xattrs.ACL_DEFAULT):
            # Only a forged or foreign archive has these here; they would pass by all checks of lists.
            problems.append(f"extended attribute {shown} (access control lists are not stored this way)")
            continue
        try:
            xattrs.write_value(target, name, value)
        except OSError as error:
            problems.append(f"extended attribute {shown} ({_reason(error)})")
        except ValueError:  # a NUL in the name
            problems.append(f"extended attribute {shown} (not a possible name)")


def _restore_mode(target: _Target, mode: int, problems: list[str]) -> None:
    try:
        os.chmod(target, mode)
    except OSError as error:
        problems.append(f"mode {mode:04o} ({_reason(error)})")


def _restore_acls(
    fd: int, target: _Target, entry: Entry, attributes: Attributes, owners: Owners, problems: list[str]
) -> None:
    stored = {xattrs.ACL_ACCESS: entry.acl_access}
    if entry.is_dir:
        stored[xattrs.ACL_DEFAULT] = entry.acl_default
    elif entry.acl_default is not None:
        problems.append("default access control list (only directories have one)")
    missing = [
        name
        for name, text in stored.items()
        if text is None or not _restore_acl(target, name, text, attributes, owners, problems)
    ]
    if missing:
        _remove_inherited(fd, target, missing, problems)


def _restore_acl(
    target: _Target, name: bytes, text: bytes, attributes: Attributes, owners: Owners, problems: list[str]
) -> bool:
    try:
        xattrs.write_value(target, name, acl_from_text(text, owners, numeric_ids=attributes.numeric_ids))
    except AclInvalid as error:
        reason = str(error).rstrip(".")
    except OSError as error:
        reason = _reason(error)
    else:
        return True
    problems.append(f"{'default ' if name == xattrs.ACL_DEFAULT else ''}access control list ({reason})")
    return False


def _remove_inherited(fd: int, target: _Target, missing: list[bytes], problems: list[str]) -> None:
    """What a new object has from its parent's default list would give access that was not stored."""
    try:
        _, _, present = xattrs.list_names(fd)
        for name in missing:
            if name in present:
                xattrs.remove(target, name)
    except OSError as error:
        problems.append(f"absence of an inherited access control list ({_reason(error)})")


def _restore_times(target: _Target, entry: Entry, problems: list[str]) -> None:
    accessed = entry.mtime if entry.atime is None else entry.atime
    try:
        os.utime(target, ns=(accessed, entry.mtime))
    except OSError as error:
        problems.append(f"times ({_reason(error)})")
    except OverflowError:
        problems.append("times (beyond what the system can count)")


def _first(found: int | None, stored: int) -> int:
    return stored if found is None else found


def _shown(name: str | None, number: int, attributes: Attributes) -> str:
    return str(number) if attributes.numeric_ids or name is None else name


def _reason(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return "not permitted"
    if error.errno in xattrs.UNSUPPORTED:
        return "not supported by the file system"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.E2BIG, errno.ERANGE):
        return "too large for the file system, or no space is left on it"
    return error.strerror or str(error)
