import os
import pwd
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.archive.platform import Owners
from strongroom.archive.platform.acls import acl_from_text, acl_to_text, mode_without_acl
from strongroom.errors import AclInvalid

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NONE = 0xFFFFFFFF
PLAIN = [(USER_OBJ, 6, NONE), (GROUP_OBJ, 4, NONE), (OTHER, 0, NONE)]


class Accounts(Owners):
    """A machine with accounts of its own."""

    def __init__(self, users: dict[str, int], groups: dict[str, int] | None = None) -> None:
        super().__init__()
        self._uids, self._gids = dict(users), dict(groups or {})
        self._users = {uid: name for name, uid in users.items()}
        self._groups = {gid: name for name, gid in (groups or {}).items()}


def packed(*entries: tuple[int, int, int], version: int = 2) -> bytes:
    return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def unpacked(binary: bytes) -> dict[tuple[int, int], int]:
    return {(tag, number): bits for tag, bits, number in struct.iter_unpack("<HHI", binary[4:])}


permissions = st.integers(0, 7)
names = st.dictionaries(st.integers(0, NONE - 1), permissions, max_size=20)


@st.composite
def kernel_lists(draw: st.DrawFn) -> bytes:
    users, groups = draw(names), draw(names)
    entries = [(USER_OBJ, draw(permissions), NONE)]
    entries += [(USER, bits, uid) for uid, bits in sorted(users.items())]
    entries += [(GROUP_OBJ, draw(permissions), NONE)]
    entries += [(GROUP, bits, gid) for gid, bits in sorted(groups.items())]
    if users or groups or draw(st.booleans()):
        entries += [(MASK, draw(permissions), NONE)]
    return packed(*entries, (OTHER, draw(permissions), NONE))


@given(kernel_lists(), st.booleans())
def test_every_list_of_the_kernel_survives_text_unchanged(binary: bytes, numeric: bool) -> None:
    owners = Owners()
    text = acl_to_text(binary, owners, numeric_ids=numeric)
    assert acl_from_text(text, owners, numeric_ids=numeric) == binary
    assert acl_from_text(text.replace(b"\n", b","), owners, numeric_ids=numeric) == binary


def test_text_is_as_borg_writes_it(owners: Owners) -> None:
    binary = packed(
        (USER_OBJ, 6, NONE), (USER, 6, 0), (USER, 4, 4_000_009), (GROUP_OBJ, 4, NONE), (GROUP, 5, 0),
        (MASK, 6, NONE), (OTHER, 4, NONE),
    )  # fmt: skip
    root, wheel = pwd.getpwuid(0).pw_name.encode(), b"root"
    assert acl_to_text(binary, owners, numeric_ids=False) == (
        b"user::rw-\nuser:%s:rw-:0\nuser:4000009:r--:4000009\ngroup::r--\ngroup:%s:r-x:0\nmask::rw-\nother::r--"
        % (root, wheel)
    )
    assert b"user:0:rw-:0" in acl_to_text(binary, owners, numeric_ids=True)


def test_text_of_borg_in_its_own_order_is_read(owners: Owners) -> None:
    text = b"user::rw-\ngroup::r--\nmask::rw-\nother::---\nuser:root:rw-:9999\ngroup:root:rw-:9999\n"
    by_name = unpacked(acl_from_text(text, owners, numeric_ids=False))
    assert (USER, 0) in by_name and (GROUP, 0) in by_name
    by_number = unpacked(acl_from_text(text, owners, numeric_ids=True))
    assert (USER, 9999) in by_number and (GROUP, 9999) in by_number


def test_what_borg_leaves_of_a_comment_on_effective_rights_is_read(owners: Owners) -> None:
    text = b"user::rwx\nuser:root:rwx\t:0\ngroup::rwx\t\nmask::r-x\nother::-w-"
    assert acl_from_text(text, owners, numeric_ids=True) == acl_from_text(
        text.replace(b"\t", b""), owners, numeric_ids=True
    )


def test_names_map_to_the_numbers_of_the_restoring_machine() -> None:
    there = Accounts({"ann": 1000, "bob": 1001}, {"staff": 50})
    here = Accounts({"ann": 2000}, {"staff": 60})
    binary = packed(
        (USER_OBJ, 6, NONE), (USER, 4, 1000), (USER, 2, 1001), (GROUP_OBJ, 0, NONE), (GROUP, 1, 50),
        (MASK, 7, NONE), (OTHER, 0, NONE),
    )  # fmt: skip
    text = acl_to_text(binary, there, numeric_ids=False)
    restored = unpacked(acl_from_text(text, here, numeric_ids=False))
    assert restored[USER, 2000] == 4
    assert restored[USER, 1001] == 2  # bob is unknown here: his number stands
    assert restored[GROUP, 60] == 1
    assert acl_from_text(text, here, numeric_ids=True) == binary


def test_a_number_that_had_no_name_is_not_taken_for_an_account_called_like_it() -> None:
    text = b"user::rw-,user:1234:rw-:1234,group::r--,mask::rw-,other::---"
    restored = unpacked(acl_from_text(text, Accounts({"1234": 7}), numeric_ids=False))
    assert (USER, 1234) in restored and (USER, 7) not in restored


def test_two_accounts_that_become_one_get_what_both_allow() -> None:
    text = b"user::rwx,user:ann:rw-:5,user:bob:r-x:6,group::r--,mask::rwx,other::rwx"
    restored = unpacked(acl_from_text(text, Accounts({"ann": 6}), numeric_ids=False))
    assert [bits for (tag, _), bits in restored.items() if tag == USER] == [4]


@pytest.mark.parametrize("name", ["a:b", "a,b", "a\nb", "a b", "a#b", "a\0b"])
def test_an_account_whose_name_breaks_the_syntax_is_stored_by_number(name: str) -> None:
    accounts = Accounts({name: 77})
    binary = packed(
        (USER_OBJ, 6, NONE), (USER, 4, 77), (GROUP_OBJ, 4, NONE), (MASK, 4, NONE), (OTHER, 0, NONE)
    )
    text = acl_to_text(binary, accounts, numeric_ids=False)
    assert b"user:77:r--:77" in text
    assert acl_from_text(text, accounts, numeric_ids=False) == binary


@pytest.mark.parametrize(
    "binary",
    [
        b"",
        b"\2\0\0",
        packed(*PLAIN)[:-1],
        packed(*PLAIN) + b"\0",
        packed(*PLAIN, version=1),
        packed(),
        packed(*PLAIN[:2]),
        packed(*PLAIN[1:]),
        packed(*PLAIN, (OTHER, 0, NONE)),
        packed(*PLAIN, (USER, 4, 1)),  # no mask
        packed(*PLAIN, (MASK, 4, NONE), (USER, 4, NONE)),
        packed(*PLAIN, (MASK, 4, NONE), (USER, 4, 1), (USER, 6, 1)),
        packed(*PLAIN, (64, 4, NONE)),
        packed(*PLAIN, (MASK, 8, NONE)),
    ],
)
def test_a_malformed_binary_list_is_refused(binary: bytes, owners: Owners) -> None:
    with pytest.raises(AclInvalid):
        acl_to_text(binary, owners, numeric_ids=True)


SOUND = b"user::rw-\nuser:root:rw-:0\ngroup::r--\nmask::rw-\nother::---"


@pytest.mark.parametrize(
    "bad",
    [
        b"user:root:rwz:0",
        b"user:root:wr-:0",
        b"user:root:rw:0",
        b"user:root:rwxx:0",
        b"user:root:7:0",
        b"user:root:rw-:-1",
        b"user:root:rw-:+1",
        b"user:root:rw-:1_0",
        b"user:root:rw-: 1",
        b"user:root:rw-:\xd9\xa1",  # an Arabic digit
        b"user:root:rw-:4294967295",
        b"user:root:rw-:99999999999999999999",
        b"user:root:rw-:",
        b"user:root:rw-:0:0",
        b"user:root:rw-",
        b"user:root:rw-:0\nuser:root:rw-:0",
        b"user::rw-",
        b"user::rw-:0",
        b"mask:root:rw-:0",
        b"other:root:rw-:0",
        b"USER:root:rw-:0",
        b"default:user:root:rw-:0",
        b" user:root:rw-:0",
        b"user",
        b"\0",
        b"# comment",
    ],
)
def test_a_malformed_text_is_refused_whole(bad: bytes, owners: Owners) -> None:
    text = SOUND.replace(b"user:root:rw-:0", bad)
    with pytest.raises(AclInvalid):
        acl_from_text(text + (b"\nuser::rw-" if bad == b"user::rw-" else b""), owners, numeric_ids=False)


@pytest.mark.parametrize("left_out", [*SOUND.split(b"\n")[::2], b"mask::rw-"])
def test_a_text_without_a_needed_entry_is_refused(left_out: bytes, owners: Owners) -> None:
    lines = [line for line in SOUND.split(b"\n") if line != left_out]
    with pytest.raises(AclInvalid):
        acl_from_text(b"\n".join(lines), owners, numeric_ids=False)


def test_more_entries_than_a_file_can_have_are_refused(owners: Owners) -> None:
    text = SOUND + b"".join(b"\nuser:%d:r--:%d" % (n, n) for n in range(1, 8200))
    with pytest.raises(AclInvalid):
        acl_from_text(text, owners, numeric_ids=True)


@given(
    st.binary(max_size=200) | kernel_lists().flatmap(lambda whole: st.sampled_from([whole[:-3], whole[1:]]))
)
def test_any_bytes_are_a_list_or_refused(binary: bytes) -> None:
    owners = Owners()
    try:
        text = acl_to_text(binary, owners, numeric_ids=True)
    except AclInvalid:
        return
    assert unpacked(acl_from_text(text, owners, numeric_ids=True)) == unpacked(binary)


line_like = st.lists(
    st.sampled_from(
        [b"user", b"group", b"mask", b"other", b":", b"rw-", b"---", b"0", b"9", b"\n", b"\xff", b"\0"]
    ),
    max_size=40,
).map(b"".join)


@given(st.binary(max_size=100) | line_like | line_like.map(lambda tail: SOUND + b"\n" + tail), st.booleans())
def test_any_text_is_refused_or_grants_only_what_it_says(text: bytes, numeric: bool) -> None:
    owners = Owners()
    try:
        binary = acl_from_text(text, owners, numeric_ids=numeric)
    except AclInvalid:
        assert mode_without_acl(0o777, text) & 0o707 == 0o707
        return
    said = [line.split(b":") for line in text.replace(b",", b"\n").split(b"\n") if line]
    assert len(unpacked(binary)) <= len(said)
    for (tag, _), bits in unpacked(binary).items():
        word = {1: b"user", 2: b"user", 4: b"group", 8: b"group", 16: b"mask", 32: b"other"}[tag]
        letters = b"".join(c if bits & b else b"-" for c, b in ((b"r", 4), (b"w", 2), (b"x", 1)))
        assert any(line[0] == word and (letters == line[2].rstrip() or len(line[1])) for line in said)


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        (b"user::rw-,user:root:rwx:0,group::---,mask::rwx,other::---", 0o670, 0o600),
        (b"user::rw-,user:root:rwx:0,group::rwx,mask::r--,other::---", 0o640, 0o640),
        (b"user::rw-,user:root:rwx:0,group::r-x,mask::rw-,other::r--", 0o4664, 0o4644),
        (b"user::rw-,group::rwx,other::r--", 0o600, 0o600),  # never more than the mode
        (b"nonsense", 0o4675, 0o4605),
        (b"", 0o777, 0o707),
        (b"user::rw-,other::r--", 0o664, 0o604),
    ],
)
def test_without_its_list_the_group_gets_no_more_than_its_own(text: bytes, mode: int, expected: int) -> None:
    assert mode_without_acl(mode, text) == expected


def test_what_setfacl_sets_is_what_text_says_and_getfacl_shows_again(
    tmp_path: Path, tool: Callable[..., str], owners: Owners
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.touch()
    second.touch()
    tool("setfacl", "-m", "u:root:rwx,u:4000009:r,g:root:x,g::-,m::rx,o::w", first)
    binary = os.getxattr(first, "system.posix_acl_access")
    text = acl_to_text(binary, owners, numeric_ids=False)
    assert text.split(b"\n")[1:3] == [b"user:root:rwx:0", b"user:4000009:r--:4000009"]
    os.setxattr(second, "system.posix_acl_access", acl_from_text(text, owners, numeric_ids=False))
    shown = [tool("getfacl", "-p", "-n", "--omit-header", path) for path in (first, second)]
    assert shown[0] == shown[1]
    assert os.stat(first).st_mode == os.stat(second).st_mode
