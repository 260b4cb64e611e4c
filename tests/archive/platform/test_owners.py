import grp
import pwd

import pytest

from strongroom.archive.platform import Owners

UNKNOWN = 4_000_009


def test_names_and_numbers_are_those_of_the_system(owners: Owners) -> None:
    for user in pwd.getpwall()[:5]:
        assert owners.user(user.pw_uid) == pwd.getpwuid(user.pw_uid).pw_name
        assert owners.uid(user.pw_name) == user.pw_uid
    for group in grp.getgrall()[:5]:
        assert owners.group(group.gr_gid) == grp.getgrgid(group.gr_gid).gr_name
        assert owners.gid(group.gr_name) == group.gr_gid


def test_the_system_is_asked_once(owners: Owners, monkeypatch: pytest.MonkeyPatch) -> None:
    known = (owners.user(0), owners.group(0), owners.uid("root"), owners.gid("root"))
    unknown = (
        owners.user(UNKNOWN),
        owners.group(UNKNOWN),
        owners.uid("no-one-here"),
        owners.gid("no-one-here"),
    )
    assert unknown == (None, None, None, None)
    for module, name in ((pwd, "getpwuid"), (pwd, "getpwnam"), (grp, "getgrgid"), (grp, "getgrnam")):
        monkeypatch.delattr(module, name)
    assert known == (owners.user(0), owners.group(0), owners.uid("root"), owners.gid("root"))
    assert owners.user(UNKNOWN) is None and owners.uid("no-one-here") is None


@pytest.mark.parametrize("name", ["", "a\0b", "\udcff", "a:b", "x" * 10_000])
def test_names_from_a_hostile_archive_are_unknown(owners: Owners, name: str) -> None:
    assert owners.uid(name) is None
    assert owners.gid(name) is None


@pytest.mark.parametrize("number", [-1, 1 << 32, 1 << 80])
def test_numbers_that_cannot_be_are_unknown(owners: Owners, number: int) -> None:
    assert owners.user(number) is None
    assert owners.group(number) is None
