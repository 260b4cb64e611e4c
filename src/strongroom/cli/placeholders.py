"""Placeholders in locations, archive names, comments and globs: `{hostname}-{now:%Y-%m-%d}`."""

import os
from collections.abc import Callable
from datetime import UTC, datetime

from strongroom import __version__
from strongroom.cli.environment import Environment
from strongroom.errors import InvalidPlaceholder, PlaceholderError

BORG_VERSION = "1.4.5"
"""What `{borgversion}` says: the version whose command line this is."""


class _Time:
    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __format__(self, spec: str) -> str:
        return self.moment.strftime(spec or "%Y-%m-%dT%H:%M:%S")


class Placeholders:
    """The values at one moment: all names of one run agree on the time.

    `now`, aware, stands in for the clock (`--timestamp`).
    """

    def __init__(self, environment: Environment, now: datetime | None = None) -> None:
        self._environment = environment
        self._now = now or datetime.now(UTC)
        # looked up only when used: a full host name may ask the network
        self._values: dict[str, Callable[[], object]] = {
            "hostname": self._hostname,
            "fqdn": self._fqdn,
            "reverse-fqdn": lambda: ".".join(reversed(self._fqdn().split("."))),
            "now": lambda: _Time(self._now.astimezone()),
            "utcnow": lambda: _Time(self._now.astimezone(UTC)),
            "unixtime": lambda: int(self._now.timestamp()),
            "user": self._user,
            "pid": os.getpid,
            "uuid4": self._uuid4,
            "strongroomversion": lambda: __version__,
            **_version_parts(BORG_VERSION),
        }

    @property
    def names(self) -> list[str]:
        return sorted(self._values)

    def replace(self, text: str) -> str:
        """Raises `InvalidPlaceholder` for an unknown name, `PlaceholderError` for bad syntax."""
        if "{" not in text and "}" not in text:
            return text
        from string import Formatter

        done = []
        try:
            for literal, name, spec, conversion in Formatter().parse(text):
                done.append(literal)
                if name is None:
                    continue
                if conversion or name not in self._values:
                    raise InvalidPlaceholder(
                        f'Invalid placeholder "{name}" in "{text}". There are: {", ".join(self.names)}.'
                    )
                done.append(format(self._values[name](), spec or ""))
        except (ValueError, TypeError) as error:
            raise PlaceholderError(
                f'Cannot fill in the placeholders of "{text}": {error}. Write {{{{ and }}}} for plain braces.'
            ) from error
        return "".join(done)

    def _hostname(self) -> str:
        return self._environment.get("HOSTNAME") or os.uname().nodename.split(".")[0]

    def _fqdn(self) -> str:
        import socket

        name = socket.gethostname()
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM, flags=socket.AI_CANONNAME)
        except OSError:
            return name
        return next((entry[3] for entry in found if entry[3]), name)

    @staticmethod
    def _uuid4() -> str:
        import uuid

        return str(uuid.uuid4())

    def _user(self) -> str:
        named = self._environment.get("USERNAME")
        if named:
            return named
        import pwd

        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            return str(os.getuid())


def _version_parts(version: str) -> dict[str, Callable[[], object]]:
    parts = version.split(".")
    return {
        "borgversion": lambda: version,
        "borgmajor": lambda: parts[0],
        "borgminor": lambda: ".".join(parts[:2]),
        "borgpatch": lambda: ".".join(parts[:3]),
    }
