"""POSIX access control lists: the kernel's binary form, and the text that an archive keeps.

Binary (Linux, include/uapi/linux/posix_acl_xattr.h), the value of the extended attributes
`system.posix_acl_access` and `system.posix_acl_default`, all little-endian: u32 version = 2, then
for each entry u16 tag, u16 permissions (4 read, 2 write, 1 execute), u32 id (0xFFFFFFFF where the
tag takes none).

Text, Borg's own: POSIX.1e short lines, to which those that name somebody add the number as a
fourth field. Names are UTF-8; a name that the system does not know, or that would break the
syntax, is the number itself:

    user::rw-
    user:root:rw-:0
    group::r--
    mask::rw-
    other::r--

Written with newlines between entries, in the order above, users and groups by number; read in any
order, with newlines or commas between, and with the blanks that Borg leaves after permissions that
a mask restricts (it cuts libacl's "#effective" off, not the tab before it). Archives travel between
machines whose numbers differ, so what counts on reading is the name, then the number; with
`numeric_ids` the number alone.

A list is taken whole or not at all: nothing is guessed, since a missing entry may be the one that
denies.
"""

import re
import struct

from strongroom.archive.platform.owners import Owners
from strongroom.errors import AclInvalid

_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_VERSION = 2
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_NO_ID = 0xFFFFFFFF  # the kernel's "undefined", and never a real uid or gid
_MOST_ENTRIES = (65536 - _HEADER.size) // _ENTRY.size  # XATTR_SIZE_MAX

_TAGS = {
    b"user": (_USER_OBJ, _USER),
    b"group": (_GROUP_OBJ, _GROUP),
    b"mask": (_MASK, None),
    b"other": (_OTHER, None),
}
_WORDS = {
    _USER_OBJ: b"user",
    _USER: b"user",
    _GROUP_OBJ: b"group",
    _GROUP: b"group",
    _MASK: b"mask",
    _OTHER: b"other",
}
_PERMISSIONS = [
    (b"r" if n & 4 else b"-") + (b"w" if n & 2 else b"-") + (b"x" if n & 1 else b"-") for n in range(8)
]
_PERMISSION_BITS = {text: bits for bits, text in enumerate(_PERMISSIONS)}
_SPECIAL = re.compile(r"[:,#\s\x00]")  # separators, and libacl's comments

_Entries = dict[tuple[int, int], int]  # (tag, id) -> permissions


def acl_to_text(binary: bytes, owners: Owners, *, numeric_ids: bool) -> bytes:
    """The archive's form of what the kernel gave. Raises AclInvalid."""
    lines: list[bytes] = []
    for (tag, number), permissions in sorted(_unpack(binary).items()):
        word, letters = _WORDS[tag], _PERMISSIONS[permissions]
        if tag in (_USER, _GROUP):
            known = None
            if not numeric_ids:
                known = owners.user(number) if tag == _USER else owners.group(number)
            name = known if known and not _SPECIAL.search(known) else str(number)
            lines.append(b"%s:%s:%s:%d" % (word, name.encode(), letters, number))
        else:
            lines.append(b"%s::%s" % (word, letters))
    return b"\n".join(lines)


def acl_from_text(text: bytes, owners: Owners, *, numeric_ids: bool) -> bytes:
    """The kernel's form, with this machine's numbers.

    Two entries that this machine's accounts make one get what both allow. Raises AclInvalid.
    """
    stored: set[tuple[int, bytes, int]] = set()
    entries: _Entries = {}
    for tag, name, number, permissions in _parse(text):
        if (tag, name, number) in stored:
            raise AclInvalid(f"The access control list names an entry twice: {_shown(text)}.")
        stored.add((tag, name, number))
        if name and not numeric_ids:
            number = _local_id(tag, name, number, owners)  # noqa: PLW2901
        entries[tag, number] = entries.get((tag, number), 7) & permissions
    _require_sound(entries)
    return _HEADER.pack(_VERSION) + b"".join(
        _ENTRY.pack(tag, permissions, number) for (tag, number), permissions in sorted(entries.items())
    )


def is_mode_alone(text: bytes) -> bool:
    """Whether a sound list says no more than a mode: Borg stores such, the kernel keeps none of them."""
    return {(tag, name) for tag, name, _, _ in _parse(text)} == {
        (_USER_OBJ, b""),
        (_GROUP_OBJ, b""),
        (_OTHER, b""),
    }


def mode_without_acl(mode: int, text: bytes) -> int:
    """`mode` for a file that has to do without its list: the group's own bits in place of the mask.

    With a list in force st_mode shows its mask where the group's permissions are else, so the
    stored mode alone would give the group what only named users had (acl(5), "correspondence
    between ACL entries and file permission bits"). A list that cannot be read leaves the group nothing.
    """
    try:
        entries = _parse(text)
    except AclInvalid:
        entries = []
    groups = [permissions for tag, _, _, permissions in entries if tag == _GROUP_OBJ]
    allowed = min(groups, default=0)
    for tag, _, _, permissions in entries:
        if tag in (_GROUP_OBJ, _MASK):
            allowed &= permissions
    return mode & ~(~allowed << 3 & 0o070)


def _unpack(binary: bytes) -> _Entries:
    if len(binary) < _HEADER.size or (len(binary) - _HEADER.size) % _ENTRY.size:
        raise AclInvalid(f"The access control list has an impossible length of {len(binary)} bytes.")
    (version,) = _HEADER.unpack_from(binary)
    if version != _VERSION:
        raise AclInvalid(f"The access control list has version {version}, only {_VERSION} is known.")
    entries: _Entries = {}
    for tag, permissions, number in _ENTRY.iter_unpack(memoryview(binary)[_HEADER.size :]):
        if tag not in _WORDS or permissions > 7:
            raise AclInvalid(
                f"The access control list has an entry of unknown kind {tag:#x}:{permissions:#x}."
            )
        named = tag in (_USER, _GROUP)
        if named and number == _NO_ID:
            raise AclInvalid("The access control list names nobody in an entry for a user or group.")
        key = (tag, number if named else _NO_ID)
        if key in entries:
            raise AclInvalid("The access control list has two entries for the same one.")
        entries[key] = permissions
    _require_sound(entries)
    return entries


def _parse(text: bytes) -> list[tuple[int, bytes, int, int]]:
    """(tag, name, stored number, permissions) of each entry."""
    lines = [line for line in text.replace(b",", b"\n").split(b"\n") if line]
    if len(lines) > _MOST_ENTRIES:
        raise AclInvalid(
            f"The access control list has {len(lines)} entries, a file can have {_MOST_ENTRIES}."
        )
    return [_parse_line(line) for line in lines]


def _parse_line(line: bytes) -> tuple[int, bytes, int, int]:
    fields = line.split(b":")
    tags = _TAGS.get(fields[0])
    permissions = _PERMISSION_BITS.get(fields[2].rstrip(b" \t")) if len(fields) in (3, 4) else None
    if tags is None or permissions is None:
        raise AclInvalid(f"The access control list has an entry that cannot be read: {_shown(line)}.")
    own, named = tags
    name = fields[1]
    if not name:
        if len(fields) == 4:
            raise AclInvalid(f"The access control list has a number without a name: {_shown(line)}.")
        return own, b"", _NO_ID, permissions
    if named is None:
        raise AclInvalid(f"The access control list names somebody where nobody can be: {_shown(line)}.")
    number = fields[3] if len(fields) == 4 else name if name.isdigit() else b""
    if not number.isdigit() or len(number) > 10 or int(number) >= _NO_ID:
        raise AclInvalid(f"The access control list lacks a valid number: {_shown(line)}.")
    return named, name, int(number), permissions


def _local_id(tag: int, name: bytes, number: int, owners: Owners) -> int:
    if name == b"%d" % number:  # had no name where it was stored: not to be taken for one here
        return number
    try:
        word = name.decode()
    except UnicodeDecodeError:
        return number
    found = owners.uid(word) if tag == _USER else owners.gid(word)
    return number if found is None else found


def _require_sound(entries: _Entries) -> None:
    """The rules of the kernel's posix_acl_valid (fs/posix_acl.c), order aside."""
    tags = {tag for tag, _ in entries}
    for needed in (_USER_OBJ, _GROUP_OBJ, _OTHER):
        if needed not in tags:
            raise AclInvalid(f"The access control list has no entry {_WORDS[needed].decode()}::.")
    if (_USER in tags or _GROUP in tags) and _MASK not in tags:
        raise AclInvalid("The access control list names users or groups and has no mask.")


def _shown(text: bytes) -> str:
    return repr(text[:80])[1:]
