"""Which archives retention rules keep, and why: Borg 1.4's rules, on nothing but times.

Behaves as `prune_within` and `prune_split` of Borg 1.4.5 (borg/helpers/misc.py).
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec


class Rules(msgspec.Struct, frozen=True):
    """How many to keep by each rule: 0 is none, a negative number all that the rule can find."""

    within: timedelta | None = None
    secondly: int = 0
    minutely: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    quarterly_13weekly: int = 0
    quarterly_3monthly: int = 0
    yearly: int = 0

    def __bool__(self) -> bool:
        """Whether any of them keeps anything."""
        return self.within is not None or any(number for _, number in self.counted())

    def counted(self) -> Iterator[tuple[str, int]]:
        """The rules that count, from the finest to the coarsest: the order in which they choose."""
        for rule in PERIODS:
            yield rule, getattr(self, rule)


class Reason(msgspec.Struct, frozen=True):
    """What keeps an archive: the rule, and that it is the rule's 1st, 2nd, ... archive."""

    rule: str
    number: int

    def __str__(self) -> str:
        return f"{self.rule} #{self.number}"


def _quarter_of_13_weeks(local: datetime) -> Hashable:
    year, week, _ = local.isocalendar()
    return year, min((week - 1) // 13, 3)  # a 53rd week belongs to the last quarter


PERIODS: dict[str, Callable[[datetime], Hashable]] = {
    "secondly": lambda local: local.timetuple()[:6],
    "minutely": lambda local: local.timetuple()[:5],
    "hourly": lambda local: local.timetuple()[:4],
    "daily": lambda local: local.timetuple()[:3],
    "weekly": lambda local: local.isocalendar()[:2],
    "monthly": lambda local: local.timetuple()[:2],
    "quarterly_13weekly": _quarter_of_13_weeks,
    "quarterly_3monthly": lambda local: (local.year, (local.month - 1) // 3),
    "yearly": lambda local: local.year,
}
"""Which period a local time falls into; two archives of equal periods compete for one place."""


def decide(times: Sequence[datetime], rules: Rules, now: datetime) -> list[Reason | None]:
    """What keeps each archive, None for those that nothing keeps.

    `times` and `now` are aware; `times` come newest first, the answers in their order. Periods
    are those of the local time zone.
    """
    reasons: list[Reason | None] = [None] * len(times)
    if rules.within is not None:
        _keep_within(times, _before(now, rules.within), reasons)
    for rule, number in rules.counted():
        _keep_one_a_period(times, rule, number, reasons)
    return reasons


def _before(now: datetime, span: timedelta) -> datetime:
    try:
        return now - span
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _keep_within(times: Sequence[datetime], after: datetime, reasons: list[Reason | None]) -> None:
    number = 0
    for at, time in enumerate(times):
        if time > after:
            number += 1
            reasons[at] = Reason("within", number)


def _keep_one_a_period(
    times: Sequence[datetime], rule: str, wanted: int, reasons: list[Reason | None]
) -> None:
    """The newest of each period, unless a finer rule keeps that one already."""
    if not wanted or not times:
        return
    period_of = PERIODS[rule]
    last: Hashable = None
    number = 0
    for at, time in enumerate(times):
        period = period_of(time.astimezone())
        if period == last:
            continue
        last = period
        if reasons[at] is None:
            number += 1
            reasons[at] = Reason(rule, number)
            if number == wanted:
                return
    # The first archive of all ages on until it fills its place in a coarser rule.
    if number < wanted and reasons[-1] is None:
        reasons[-1] = Reason(f"{rule}[oldest]", number + 1)
