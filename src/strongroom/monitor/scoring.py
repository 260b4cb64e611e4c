"""From what changed to points, and to sentences for the person who is to judge."""

from collections.abc import Sequence
from statistics import median

import msgspec

from strongroom.monitor.changes import Changes
from strongroom.monitor.thresholds import Thresholds
from strongroom.monitor.turnover import Turnover
from strongroom.reporting import counted

HOUR = 3600 * 10**9  # ns
_LEAST_PREDECESSORS = 3  # before a median or a usual hour means anything


class Sign(msgspec.Struct, frozen=True):
    code: str
    points: int
    what: str


class Score(msgspec.Struct):
    """Of one archive against its predecessor; `what` is known only with the key."""

    archive: str  # id, hex
    name: str | None
    seq: int
    key: str
    predecessor: str
    view: str  # "full" or "server"
    signs: list[Sign] = []
    changes: Changes | None = None
    turnover: Turnover | None = None
    flagged: bool = False
    accepted: bool = False

    @property
    def points(self) -> int:
        return sum(sign.points for sign in self.signs)


def _ramp(value: float, start: float, end: float, points: int) -> int:
    """Half of the points where it starts, all where it ends, none before."""
    if value < start or not points:
        return 0
    if value >= end or end <= start:
        return points
    return round(points * (0.5 + 0.5 * (value - start) / (end - start)))


def signs_of_changes(changes: Changes, files: int, limits: Thresholds, *, same_command: bool) -> list[Sign]:
    """`files` are the predecessor's regular files."""
    found: list[Sign] = []
    points = limits.points
    for path in changes.vanished:
        divisor = 1 if same_command else 2
        words = "although the command was the same" if same_command else "the command was another one"
        found.append(Sign("vanished", points.vanished // divisor, f"The source {path} is gone, {words}."))
    if files < limits.least_files:
        return found
    touched = (changes.changed + changes.removed) / files
    turned = changes.new_incompressible - changes.old_incompressible
    if touched >= limits.touched and changes.old_content and changes.new_content:
        found += _sign(
            "scrambled",
            _ramp(turned, limits.scrambled, min(1.0, limits.scrambled * 1.25), points.scrambled),
            f"{_percent(changes.new_incompressible)} of the new content does not compress; of what it "
            f"replaces it was {_percent(changes.old_incompressible)}. That is what encryption does.",
        )  # fmt: skip
    if changes.renamed and changes.renamed / files >= limits.touched:
        share = changes.renamed / max(1, changes.removed)
        found += _sign(
            "renamed", _ramp(share, limits.renamed, 2 * limits.renamed, points.renamed),
            f"{changes.renamed} of {changes.removed} files that are gone came back with the unknown suffix "
            f".{changes.renamed_to}.",
        )  # fmt: skip
    gone = (changes.removed - changes.added) / files
    found += _sign(
        "lost", _ramp(gone, limits.lost, limits.lost, points.lost),
        f"{changes.removed} of {files} files are gone, and {changes.added} came.",
    )  # fmt: skip
    found += _sign(
        "churn", _ramp(touched, limits.churn, 1.0, points.churn),
        f"{changes.changed} files changed and {changes.removed} are gone, of {files}.",
    )  # fmt: skip
    return found


def signs_of_turnover(turnover: Turnover, limits: Thresholds) -> list[Sign]:
    found: list[Sign] = []
    if turnover.before < limits.least_files:
        return found
    replaced = turnover.gone / turnover.before
    growth = turnover.new_stored / turnover.gone_stored if turnover.gone_stored else 0.0
    if replaced >= limits.touched and turnover.new:
        found += _sign(
            "scrambled", _ramp(growth, limits.growth, 1.25 * limits.growth, limits.points.scrambled)
            if replaced >= limits.churn else 0,
            f"{_percent(replaced)} of the chunks used were replaced by others that take {growth:.1f} times "
            "the space: content that compressed does so no more, or much was added.",
        )  # fmt: skip
    lost = (turnover.gone - turnover.new) / turnover.before
    found += _sign(
        "lost", _ramp(lost, limits.lost, limits.lost, limits.points.lost),
        f"It makes {turnover.gone} of {turnover.before} uses of chunks no more, and {turnover.new} new ones.",
    )  # fmt: skip
    found += _sign(
        "churn", _ramp(replaced, limits.churn, 1.0, limits.points.churn),
        f"{turnover.gone} of {turnover.before} uses of chunks are gone.",
    )  # fmt: skip
    return found


def signs_of_size(new_bytes: int, before: Sequence[int], limits: Thresholds) -> list[Sign]:
    """`before` are the stored bytes that the predecessors added, the first one's excepted."""
    if len(before) < _LEAST_PREDECESSORS:
        return []
    usual = max(1.0, median(before))
    return _sign(
        "new-bytes",
        _ramp(new_bytes / usual, limits.new_bytes, 10 * limits.new_bytes, limits.points.new_bytes),
        f"It added {new_bytes:,} bytes, {new_bytes / usual:.0f} times what is usual.",
    )  # fmt: skip


def signs_of_hour(start: int, before: Sequence[int], limits: Thresholds) -> list[Sign]:
    """Times in ns."""
    if len(before) < _LEAST_PREDECESSORS:
        return []
    apart = min(_apart(start, one) for one in before)
    return _sign(
        "hour", _ramp(apart, limits.hours, 12, limits.points.hour),
        f"It was made {apart:.0f} hours from the time of day of any archive before.",
    )  # fmt: skip


def _apart(one: int, other: int) -> float:
    """Hours between two times of day."""
    hours = abs(one - other) / HOUR % 24
    return min(hours, 24 - hours)


def signs_of_deletions(count: int, key: str, limits: Thresholds) -> list[Sign]:
    return _sign(
        "deletions", limits.points.deletions if count else 0,
        f"The key {key!r}, which wrote it, asked for the deletion of {counted(count, 'archive')} "
        "about that time.",
    )  # fmt: skip


def _sign(code: str, points: int, what: str) -> list[Sign]:
    return [Sign(code, points, what)] if points else []


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
