"""Where a repository lives, and how that is written: paths, `file://`, `ssh://` and `user@host:path`.

The grammar is Borg 1.4's: `REPOSITORY` or `REPOSITORY::ARCHIVE`, where a repository path holds no
`::` and an archive name no `/`. An ssh path is kept the way the server's shell would name it:
`/srv/repo`, `repo` (below the login folder, written `ssh://host/./repo`) or `~/repo`.

A repository that Borg made is named by `borg:` before its location, or by `borg+ssh://` for `ssh://`.
"""

import os
import re

import msgspec

from strongroom.errors import CommandError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = r"(?:(?P<user>[^@:/]+)@)?(?P<host>\[[0-9a-fA-F:.]+\]|(?!\[)[^:/@]+(?<!\]))"
_SSH = re.compile(r"ssh://" + _HOST + r"(?::(?P<port>\d{1,5}))?(?P<rest>/.+)", re.DOTALL)
_BORG, _BORG_SSH = "borg", "borg+ssh"
_SCP = re.compile(_HOST + r":(?!:|//)(?P<rest>.+)", re.DOTALL)


class Location(msgspec.Struct, frozen=True):
    """A repository, and possibly an archive in it.

    `scheme` is "file" or "ssh", or "borg" or "borg+ssh" for Borg's. `path` is normalized; of a local
    repository it may be relative to the working folder, of a remote one it is absolute, or starts with
    `~`, or is relative to the login folder.
    """

    scheme: str
    path: str
    user: str | None = None
    host: str | None = None  # without the brackets of an IPv6 address
    port: int | None = None
    archive: str | None = None

    @property
    def is_remote(self) -> bool:
        return self.scheme in ("ssh", _BORG_SSH)

    @property
    def is_borg(self) -> bool:
        """Whether Borg made the repository: it is only read."""
        return self.scheme in (_BORG, _BORG_SSH)

    def canonical(self) -> str:
        """The repository in its one spelling; `parse_location` gives the same location back."""
        if not self.is_remote:
            return ("borg:" if self.is_borg else "") + os.path.abspath(self.path)
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host
        path = self.path
        if path.startswith("~"):
            path = "/" + path
        elif not path.startswith("/"):
            path = "/./" + path
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}://{user}{host}{port}{path}"

    def repository(self) -> "Location":
        """The same without the archive."""
        return msgspec.structs.replace(self, archive=None)

    def key_file_name(self) -> str:
        """A file name for the repository's key, at most 100 characters: Borg's rule."""
        name = re.sub(r"\W", "_", self.path).strip("_")
        if self.host:
            name = re.sub(r"\W", "_", self.host) + "__" + name
        return name[:100]

    def __str__(self) -> str:
        return self.canonical() + (f"::{self.archive}" if self.archive else "")


def parse_location(text: str) -> Location:
    """Read a location. Raises `CommandError` saying what is wrong with it."""
    if "\0" in text:
        raise CommandError(f"The location {text!r} holds a NUL character.")
    if text.startswith(("borg:", "borg+ssh://")):
        place = parse_location(text.removeprefix("borg+").removeprefix("borg:"))
        return msgspec.structs.replace(place, scheme=_BORG_SSH if place.is_remote else _BORG)
    scheme = _SCHEME.match(text)
    if scheme and scheme[1] == "ssh":
        match = _SSH.fullmatch(text)
        if not match:
            raise CommandError(f'"{text}" is no valid location: ssh://[user@]host[:port]/path is expected.')
        return _remote(text, match, match["port"])
    if scheme and scheme[1] == "file":
        rest = text[len("file://") :]
        rest = rest.removeprefix("localhost") if rest.startswith("localhost/") else rest
        if not rest.startswith("/"):
            raise CommandError(f'"{text}" is no valid location: file:///path is expected.')
        path, archive = _split_archive(text, rest)
        return Location("file", os.path.normpath(path), archive=archive)
    if scheme:
        raise CommandError(f'"{text}" is no valid location: the scheme "{scheme[1]}" is not supported.')
    match = _SCP.fullmatch(text)
    if match:
        return _remote(text, match, None)
    path, archive = _split_archive(text, text)
    return Location("file", os.path.normpath(path), archive=archive)


def check_archive_name(name: str) -> str:
    """Return the name if an archive may be called so. Raises `CommandError`.

    Names become folder names when a repository is mounted, hence no `/`.
    """
    if not name or name in {".", ".."} or "/" in name or "::" in name or "\0" in name:
        raise CommandError(f'"{name}" cannot name an archive: it must not be empty, nor hold "/" or "::".')
    return name


def _remote(text: str, match: re.Match[str], port: str | None) -> Location:
    rest, archive = _split_archive(text, match["rest"])
    host = match["host"].strip("[]")
    user = match["user"]
    # ssh would take such a word as an option, and run what it says
    if host.startswith("-") or (user or "").startswith("-"):
        raise CommandError(f'"{text}" is no valid location: a host or user must not start with "-".')
    if port is not None and not 0 < int(port) < 65536:
        raise CommandError(f'"{text}" is no valid location: there is no port {port}.')
    if rest.startswith("/./"):
        path = os.path.normpath(rest[3:].lstrip("/") or ".")
    elif rest.startswith("/~"):
        path = os.path.normpath(rest[1:])
    else:
        path = os.path.normpath(rest)
    return Location("ssh", path, user, host, int(port) if port else None, archive)


def _split_archive(text: str, rest: str) -> tuple[str, str | None]:
    path, separator, archive = rest.partition("::")
    if not path:
        raise CommandError(f'"{text}" names no repository.')
    if not separator:
        return path, None
    if not archive:
        raise CommandError(f'"{text}" names no archive after "::".')
    if "/" in archive:
        raise CommandError(f'"{text}" is no valid location: an archive name must not hold "/".')
    return path, archive
