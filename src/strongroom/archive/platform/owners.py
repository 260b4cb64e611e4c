"""Names and numbers of users and groups, each asked of the system once a run.

A look-up may go through NSS to a directory server: milliseconds, for the same few ids a million
times over.
"""

import grp
import pwd


class Owners:
    """Remembers every answer, "unknown" (None) included. Safe to share between threads."""

    def __init__(self) -> None:
        self._users: dict[int, str | None] = {}
        self._groups: dict[int, str | None] = {}
        self._uids: dict[str, int | None] = {}
        self._gids: dict[str, int | None] = {}

    def user(self, uid: int) -> str | None:
        try:
            return self._users[uid]
        except KeyError:
            name = self._users[uid] = _user_name(uid)
            return name

    def group(self, gid: int) -> str | None:
        try:
            return self._groups[gid]
        except KeyError:
            name = self._groups[gid] = _group_name(gid)
            return name

    def uid(self, user: str) -> int | None:
        try:
            return self._uids[user]
        except KeyError:
            uid = self._uids[user] = _user_number(user)
            return uid

    def gid(self, group: str) -> int | None:
        try:
            return self._gids[group]
        except KeyError:
            gid = self._gids[group] = _group_number(group)
            return gid


def _user_name(uid: int) -> str | None:
    try:
        return _storable(pwd.getpwuid(uid).pw_name)
    except (KeyError, OverflowError):
        return None


def _group_name(gid: int) -> str | None:
    try:
        return _storable(grp.getgrgid(gid).gr_name)
    except (KeyError, OverflowError):
        return None


def _user_number(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):  # ValueError: a NUL or a lone surrogate, from a hostile archive
        return None


def _group_number(group: str) -> int | None:
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        return None


def _storable(name: str) -> str | None:
    """A name that is not UTF-8 cannot be written into a tree; the number stands for it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return None
    return name or None
