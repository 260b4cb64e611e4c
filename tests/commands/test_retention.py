"""Retention rules keep what Borg's keep, for Borg's reasons.

data/borg-1.4.5-prune.json was answered by Borg 1.4.5's own `prune_within` and `prune_split`: times
are in microseconds since the epoch, `within` in hours, archives are called a000, a001, ...
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelf import EPOCH, time_zone
from strongroom.commands.retention import PERIODS, Reason, Rules, decide

BORG: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "borg-1.4.5-prune.json").read_text())
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    with time_zone("UTC"):
        yield


def moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


@pytest.mark.parametrize("zone", sorted({case["zone"] for case in BORG["cases"]}))
def test_the_same_archives_are_kept_as_by_borg(zone: str) -> None:
    compared = 0
    for case in BORG["cases"]:
        if case["zone"] != zone:
            continue
        named = sorted(((moment(at), f"a{n:03}") for n, at in enumerate(case["times"])), reverse=True)
        within = timedelta(hours=case["within"]) if case["within"] else None
        with time_zone(zone):
            reasons = decide([at for at, _ in named], Rules(within, **case["rules"]), moment(BORG["now"]))
        kept = {name: str(reason) for (_, name), reason in zip(named, reasons, strict=True) if reason}
        assert kept == case["kept"], case
        compared += 1
    assert compared >= 30


def test_the_cases_from_borg_know_every_rule() -> None:
    given = {reason.split(" ")[0] for case in BORG["cases"] for reason in case["kept"].values()}
    assert given == {"within", *PERIODS, *(f"{rule}[oldest]" for rule in PERIODS)}


times = st.lists(
    st.datetimes(datetime(2015, 1, 1), datetime(2026, 11, 23, 12)).map(lambda at: at.replace(tzinfo=UTC)),
    max_size=40,
).map(lambda found: sorted(found, reverse=True))
counts = st.sampled_from([0, 0, 0, 1, 2, 5, -1])
rules = st.builds(
    Rules,
    st.none() | st.integers(1, 10_000).map(lambda hours: timedelta(hours=hours)),
    **dict.fromkeys(PERIODS, counts),
)


@given(times, rules)
def test_rules_keep_no_more_than_they_say_and_always_the_newest(found: list[datetime], rules: Rules) -> None:
    reasons = decide(found, rules, NOW)
    assert len(reasons) == len(found)
    for rule, wanted in rules.counted():
        kept = [one for one in reasons if one and one.rule.removesuffix("[oldest]") == rule]
        assert sorted(one.number for one in kept) == list(range(1, len(kept) + 1))
        assert wanted < 0 or len(kept) <= wanted
    if found and any(wanted for _, wanted in rules.counted()):
        assert reasons[0] is not None
    if not rules:
        assert not any(reasons)


@given(times, rules)
def test_what_was_kept_is_kept_when_nothing_has_changed(found: list[datetime], rules: Rules) -> None:
    kept = [at for at, reason in zip(found, decide(found, rules, NOW), strict=True) if reason]
    assert all(decide(kept, rules, NOW))


@given(times, st.sampled_from(sorted(PERIODS)), st.integers(1, 12))
def test_one_rule_keeps_the_newest_of_each_period_and_else_the_oldest(
    found: list[datetime], rule: str, wanted: int
) -> None:
    reasons = decide(found, Rules(**{rule: wanted}), NOW)
    periods = [list(group) for _, group in groupby(range(len(found)), lambda n: PERIODS[rule](found[n]))]
    expected = {group[0] for group in periods[:wanted]}
    if found and len(periods) < wanted:
        expected.add(len(found) - 1)
    assert {n for n, reason in enumerate(reasons) if reason} == expected


@given(times, st.integers(1, 100_000))
def test_within_keeps_all_of_that_time_and_nothing_else(found: list[datetime], hours: int) -> None:
    span = timedelta(hours=hours)
    reasons = decide(found, Rules(within=span), NOW)
    assert [reason is not None for reason in reasons] == [NOW - at < span for at in found]


def test_a_time_longer_than_all_calendars_keeps_all() -> None:
    assert decide([NOW, EPOCH], Rules(within=timedelta(days=10**6)), NOW) == [
        Reason("within", 1),
        Reason("within", 2),
    ]


def test_periods_are_those_of_the_local_time_zone() -> None:
    late, early = datetime(2026, 11, 22, 23, 30, tzinfo=UTC), datetime(2026, 11, 22, 12, tzinfo=UTC)
    one_day, two_days = [Reason("daily", 1), None], [Reason("daily", 1), Reason("daily", 2)]
    assert decide([late, early, EPOCH], Rules(daily=2), NOW)[:2] == one_day
    with time_zone("Europe/Berlin"):
        assert decide([late, early, EPOCH], Rules(daily=2), NOW)[:2] == two_days


def test_the_hour_that_comes_twice_is_one_hour() -> None:
    """As in Borg: what the clock on the wall shows is what counts."""
    second, first = datetime(2026, 10, 25, 1, 10, tzinfo=UTC), datetime(2026, 10, 25, 0, 50, tzinfo=UTC)
    with time_zone("Europe/Berlin"):
        assert decide([second, first, EPOCH], Rules(hourly=1), NOW) == [Reason("hourly", 1), None, None]
        assert decide([second, first, EPOCH], Rules(hourly=2), NOW)[1] is None


def test_a_53rd_week_belongs_to_the_last_quarter() -> None:
    at = datetime(2020, 12, 31, tzinfo=UTC)
    assert at.isocalendar()[:2] == (2020, 53)
    assert PERIODS["quarterly_13weekly"](at) == PERIODS["quarterly_13weekly"](at - timedelta(weeks=13))
    assert PERIODS["quarterly_13weekly"](at) != PERIODS["quarterly_13weekly"](at + timedelta(weeks=1))
