"""What an audit finds, and what it says on the whole."""

from typing import Literal

import msgspec

from strongroom.repository.log import Head

Severity = Literal["tampering", "loss", "warning", "note"]

_EXIT: dict[Severity, int] = {"tampering": 2, "loss": 2, "warning": 1, "note": 0}


class Finding(msgspec.Struct, frozen=True):
    """`object` is a store name or what else it is about; `code` is interface, `what` is for people.

    tampering: no honest server and no rot makes it. loss: what the log names is missing or has other
    bytes, be it by rot or by intent. warning: for a person to judge. note: as it should be.
    """

    severity: Severity
    code: str
    object: str
    what: str
    key: str | None = None  # name of the key that signed what it is about
    since: int | None = None  # ns, when it came to be, as far as anybody can tell
    archives: tuple[str, ...] = ()  # ids of those concerned, hex


class Comparison(msgspec.Struct, frozen=True):
    """The log against a head that somebody saw."""

    observer: str
    head: Head
    agrees: bool


class Findings(msgspec.Struct):
    """Collects; the worst of them makes the exit code."""

    all: list[Finding] = []

    def add(self, finding: Finding) -> None:
        self.all.append(finding)

    def of(self, *severities: Severity) -> list[Finding]:
        return [one for one in self.all if one.severity in severities]

    @property
    def exit_code(self) -> int:
        return max((_EXIT[one.severity] for one in self.all), default=0)
