"""What counts as suspicious: shares and points, changeable by a TOML file.

Each sign gives points, in proportion to how far it is from its threshold; an archive with `flag` points
or more is flagged. One strong sign is enough; churn, size and time together are not, as they come with
every upgrade of a system.
"""

from pathlib import Path
from typing import Annotated

import msgspec

from strongroom.errors import CommandError
from strongroom.malformed import MALFORMED

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Factor = Annotated[float, msgspec.Meta(ge=1)]
_Points = Annotated[int, msgspec.Meta(ge=0, le=1000)]
_Id = Annotated[str, msgspec.Meta(pattern="^(aid:)?[0-9a-f]{8,64}$")]


class Points(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most that each sign gives."""

    scrambled: _Points = 60
    renamed: _Points = 45
    lost: _Points = 60
    vanished: _Points = 60
    churn: _Points = 25
    new_bytes: _Points = 15
    hour: _Points = 10
    deletions: _Points = 20


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    flag: _Points = 60
    least_files: int = 20  # of the predecessor: below that shares say nothing
    touched: _Share = 0.05  # files changed or removed, from which on their kind of change counts
    scrambled: _Share = 0.4  # more of the new content than of the old is incompressible
    renamed: _Share = 0.3  # of the removed files, to one unknown suffix
    lost: _Share = 0.5  # of the files or chunks, without replacement
    churn: _Share = 0.3  # of the files or chunks, changed or removed
    new_bytes: _Factor = 10.0  # times the median of the predecessors
    growth: _Factor = 1.6  # stored bytes of new content for those of what it replaces; without a key
    hours: Annotated[float, msgspec.Meta(ge=0, le=12)] = 3.0  # from the time of day of any predecessor
    days: Annotated[float, msgspec.Meta(ge=0)] = 7.0  # between an archive and deletions by the same key
    points: Points = Points()
    accepted: list[_Id] = []  # ids of archives that a person has judged: they are scored, not flagged

    def accepts(self, archive: bytes) -> bool:
        return any(archive.hex().startswith(one.removeprefix("aid:")) for one in self.accepted)


def read_thresholds(path: str) -> Thresholds:
    """Raises `CommandError`."""
    try:
        return msgspec.toml.decode(Path(path).read_bytes(), type=Thresholds)
    except OSError as error:
        raise CommandError(f"The thresholds in {path} cannot be read: {error.strerror}.") from error
    except (*MALFORMED, ValueError) as error:
        raise CommandError(f"The thresholds in {path} are not valid: {error}.") from error
