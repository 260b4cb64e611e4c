"""What became of a path between two looks at it, in the terms and the order of Borg's `diff`."""

import stat
from collections.abc import Callable
from typing import Literal

import msgspec

from strongroom.archive.entries import Entry
from strongroom.archive.same_content import Modified

Kind = Literal["file", "link", "directory", "blkdev", "chrdev", "fifo"]
_KINDS: dict[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
    stat.S_IFDIR: "directory",
    stat.S_IFBLK: "blkdev",
    stat.S_IFCHR: "chrdev",
    stat.S_IFIFO: "fifo",
}


class Appeared(msgspec.Struct, frozen=True):
    kind: Kind
    size: int  # in bytes, of a regular file


class Vanished(msgspec.Struct, frozen=True):
    kind: Kind
    size: int


class Retargeted(msgspec.Struct, frozen=True):
    """A symbolic link leads elsewhere."""

    old: bytes
    new: bytes


class Redirected(msgspec.Struct, frozen=True):
    """A device node has another number."""

    old: int
    new: int


class OwnerChanged(msgspec.Struct, frozen=True):
    """Names, or numbers where there are none or they were asked for."""

    old_user: str | int
    old_group: str | int
    new_user: str | int
    new_group: str | int


class ModeChanged(msgspec.Struct, frozen=True):
    old: int
    new: int


class TimeChanged(msgspec.Struct, frozen=True):
    which: Literal["ctime", "mtime"]
    old: int  # ns since the epoch
    new: int


class AttributesChanged(msgspec.Struct, frozen=True):
    """`names` are those of the extended attributes that came, went or changed; empty for others."""

    which: Literal["xattrs", "acl", "flags"]
    names: tuple[bytes, ...] = ()


Change = (
    Appeared
    | Vanished
    | Modified
    | Retargeted
    | Redirected
    | OwnerChanged
    | ModeChanged
    | TimeChanged
    | AttributesChanged
)


class Concerns(msgspec.Struct, frozen=True):
    """What counts as a change."""

    metadata: bool = True
    numeric_ids: bool = False
    ctime: bool = True


Compare = Callable[[Entry, Entry], Modified | None]
"""How the content of two regular files differs, None if it does not."""


def changes_of(old: Entry | None, new: Entry | None, compare: Compare, concerns: Concerns) -> list[Change]:
    """Empty if nothing that counts has changed. Raises what `compare` does."""
    if old is None or new is None:
        if new is not None:
            return [Appeared(kind_of(new), new.size)]
        return [] if old is None else [Vanished(kind_of(old), old.size)]
    found: list[Change] = []
    if old.target is not None and new.target is not None and old.target != new.target:
        found.append(Retargeted(old.target, new.target))
    if old.is_regular and new.is_regular:
        modified = compare(old, new)
        if modified is not None:
            found.append(modified)
    if old.rdev is not None and new.rdev is not None and old.rdev != new.rdev:
        found.append(Redirected(old.rdev, new.rdev))
    if concerns.metadata:
        found += _metadata(old, new, concerns)
    elif stat.S_IFMT(old.mode) != stat.S_IFMT(new.mode):
        found.append(ModeChanged(old.mode, new.mode))  # another kind of file is other content
    return found


def kind_of(entry: Entry) -> Kind:
    return _KINDS[stat.S_IFMT(entry.mode)]


def _metadata(old: Entry, new: Entry, concerns: Concerns) -> list[Change]:
    found: list[Change] = []
    owner = _owner(old, new, numeric=concerns.numeric_ids)
    if owner is not None:
        found.append(owner)
    if old.mode != new.mode:
        found.append(ModeChanged(old.mode, new.mode))
    if concerns.ctime and old.ctime is not None and new.ctime is not None and old.ctime != new.ctime:
        found.append(TimeChanged("ctime", old.ctime, new.ctime))
    if old.mtime != new.mtime:
        found.append(TimeChanged("mtime", old.mtime, new.mtime))
    before, after = old.xattrs or {}, new.xattrs or {}
    if before != after:
        names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        found.append(AttributesChanged("xattrs", tuple(names)))
    if (old.acl_access, old.acl_default) != (new.acl_access, new.acl_default):
        found.append(AttributesChanged("acl"))
    if (old.flags or 0) != (new.flags or 0):
        found.append(AttributesChanged("flags"))
    return found


def _owner(old: Entry, new: Entry, *, numeric: bool) -> OwnerChanged | None:
    # an archive may hold numbers alone: a name and its number are not two owners
    by_name = not numeric and old.user is not None and new.user is not None
    users: tuple[str | int, str | int] = (old.user or "", new.user or "") if by_name else (old.uid, new.uid)
    by_name = not numeric and old.group is not None and new.group is not None
    groups: tuple[str | int, str | int] = (
        (old.group or "", new.group or "") if by_name else (old.gid, new.gid)
    )
    if users[0] == users[1] and groups[0] == groups[1]:
        return None
    return OwnerChanged(users[0], groups[0], users[1], groups[1])
