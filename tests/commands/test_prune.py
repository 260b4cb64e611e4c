"""prune: one signed request, nothing freed; races end in what the rules promise."""

from datetime import UTC, datetime, timedelta

import pytest

from shelf import Shelf, Told, clock_at, put_archive, time_zone
from strongroom.commands.delete import delete_archives
from strongroom.commands.listing import ArchiveFilter, find_archive, list_archives
from strongroom.commands.prune import PruneOptions, PrunePlan, plan_prune, prune_archives
from strongroom.commands.retention import Rules
from strongroom.errors import CommandError, Damaged
from strongroom.repository import archives
from strongroom.repository.repository import Repository

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ALL = ArchiveFilter()
DAY = timedelta(days=1)


def options(rules: Rules, wanted: ArchiveFilter = ALL, *, past_damage: bool = False) -> PruneOptions:
    return PruneOptions(rules, wanted, past_damage)


def fill(repository: Repository, days: int = 4, prefix: str = "a") -> None:
    """Two archives a day: a0-early and a0 of the oldest day, and so on."""
    for day in range(days):
        begun = NOON - (days - 1 - day) * DAY
        put_archive(repository, f"{prefix}{day}-early", begun - timedelta(hours=1))
        put_archive(repository, f"{prefix}{day}", begun)


def pruned(plan: PrunePlan) -> list[str | None]:
    return [info.name for info in plan.pruned]


def test_what_no_rule_keeps_is_marked_in_one_record_and_nothing_is_freed(shelf: Shelf) -> None:
    repository = shelf.open()
    fill(repository)
    before, head = shelf.objects(), repository.state.head.seq
    plan = prune_archives(repository, options(Rules(daily=2)), Told())
    assert [(one.archive.name, str(one.reason)) for one in plan.judged] == [
        ("a3", "daily #1"),
        ("a3-early", "None"),
        ("a2", "daily #2"),
        ("a2-early", "None"),
        ("a1", "None"),
        ("a1-early", "None"),
        ("a0", "None"),
        ("a0-early", "None"),
    ]
    after = shelf.objects()
    assert after.keys() - before.keys() == {f"log/{head + 1:020}"}
    assert before.items() <= after.items()
    assert shelf.names() == ["a2", "a3"]


def test_a_plan_changes_nothing(shelf: Shelf) -> None:
    repository = shelf.open()
    fill(repository)
    before = shelf.objects()
    assert len(pruned(plan_prune(repository, options(Rules(yearly=1)), Told()))) == 7
    assert shelf.objects() == before


def test_where_there_is_nothing_to_prune_nothing_is_recorded(shelf: Shelf) -> None:
    repository = shelf.open()
    for day in range(2):
        before = shelf.objects()
        assert not prune_archives(repository, options(Rules(secondly=-1)), Told()).pruned
        assert shelf.objects() == before
        fill(repository, 1, f"{day}-")


def test_pruning_twice_prunes_once(shelf: Shelf) -> None:
    repository = shelf.open()
    fill(repository)
    rules = options(Rules(daily=2, yearly=2))
    assert pruned(prune_archives(repository, rules, Told())) == [
        "a3-early",
        "a2-early",
        "a1",
        "a1-early",
        "a0",
    ]
    assert not prune_archives(repository, rules, Told()).pruned


@pytest.mark.parametrize("rules", [Rules(), Rules(daily=0)])
def test_without_a_rule_nothing_is_pruned(shelf: Shelf, rules: Rules) -> None:
    repository = shelf.open()
    fill(repository, 1)
    before = shelf.objects()
    for run in (plan_prune, prune_archives):
        with pytest.raises(CommandError, match="--keep-within"):
            run(repository, options(rules), Told())
    assert shelf.objects() == before


def test_only_archives_of_that_name_are_looked_at_and_counted(shelf: Shelf) -> None:
    repository = shelf.open()
    fill(repository, 2, "web-")
    fill(repository, 2, "db-")
    plan = prune_archives(repository, options(Rules(secondly=1), ArchiveFilter(glob="web-*")), Told())
    assert pruned(plan) == ["web-1-early", "web-0", "web-0-early"] and plan.archives == 8
    prune_archives(repository, options(Rules(secondly=1), ArchiveFilter(prefix="db-")), Told())
    assert shelf.names() == ["db-1", "web-1"]


def test_days_are_those_of_the_local_time_zone(shelf: Shelf) -> None:
    repository = shelf.open()
    put_archive(repository, "evening", datetime(2026, 11, 19, 20, tzinfo=UTC))
    put_archive(repository, "night", datetime(2026, 11, 19, 23, 30, tzinfo=UTC))
    with time_zone("UTC"):
        assert pruned(plan_prune(repository, options(Rules(daily=1)), Told())) == ["evening"]
    with time_zone("Europe/Berlin"):
        assert not plan_prune(repository, options(Rules(daily=2)), Told()).pruned


def test_archives_of_one_moment_are_told_apart_by_name_as_in_borg(shelf: Shelf) -> None:
    repository = shelf.open()
    for name in ("b", "c", "a"):
        put_archive(repository, name, NOON)
    assert pruned(plan_prune(repository, options(Rules(secondly=1)), Told())) == ["b", "a"]


# --- with a backup key ---


def test_a_backup_key_prunes_by_the_times_of_the_log(shelf: Shelf) -> None:
    laptop = shelf.open("laptop")
    for day in range(3):
        with clock_at(NOON + day * DAY):
            put_archive(laptop, f"a{day}", NOON - day * DAY)  # its date inside is another, and sealed
    plan = prune_archives(laptop, options(Rules(daily=1)), Told())
    assert pruned(plan) == [None, None]
    assert shelf.names() == ["a0", "a1", "a2"] and len(laptop.state.requested()) == 2
    head = laptop.state.head
    prune_archives(laptop, options(Rules(daily=1)), Told())
    assert laptop.state.head == head, "what is asked for already is not asked for again"


def test_a_backup_key_cannot_choose_by_name(shelf: Shelf) -> None:
    laptop = shelf.open("laptop")
    fill(laptop, 1)
    for wanted in (ArchiveFilter(glob="a*"), ArchiveFilter(prefix="a"), ArchiveFilter(sort_by=["name"])):
        with pytest.raises(CommandError, match="sealed"):
            prune_archives(laptop, options(Rules(secondly=1), wanted), Told())
    assert shelf.names() == ["a0", "a0-early"]


# --- beside others ---


def test_a_plan_is_made_anew_when_another_client_deletes_what_it_keeps(shelf: Shelf) -> None:
    """Else both deletions together would leave nothing of the day."""
    first, second = shelf.open(), shelf.open()
    fill(first, 1)
    second.history.sync()
    delete_archives(first, [find_archive(first, "a0")], Told())
    told = Told()
    plan = prune_archives(second, options(Rules(daily=1)), told)
    assert not plan.pruned and "Another client" in told.infos[-1]
    assert shelf.names() == ["a0-early"]


def test_a_plan_is_made_anew_when_another_archive_comes(shelf: Shelf) -> None:
    first, second = shelf.open("laptop"), shelf.open()
    fill(first, 1)
    second.history.sync()
    put_archive(first, "late", NOON + timedelta(hours=1))
    assert pruned(prune_archives(second, options(Rules(daily=1)), Told())) == ["a0", "a0-early"]
    assert shelf.names() == ["late"]


def test_two_clients_prune_at_once(shelf: Shelf) -> None:
    first, second = shelf.open(), shelf.open()
    fill(first)
    second.history.sync()
    for client in (first, second):
        prune_archives(client, options(Rules(daily=3)), Told())
    assert shelf.names() == ["a1", "a2", "a3"]
    assert first.state.head == second.state.head, "the second had nothing to record"


# --- what somebody may have spoilt or planted ---


def test_a_damaged_archive_stops_pruning_or_is_left_alone(shelf: Shelf) -> None:
    repository = shelf.open()
    fill(repository, 1)
    broken = put_archive(repository, "broken", NOON + timedelta(hours=2))
    (shelf.path / archives.name(broken)).write_bytes(b"rubbish")
    fresh = shelf.open()
    with pytest.raises(Damaged, match="--force"):
        prune_archives(fresh, options(Rules(daily=1)), Told())
    told = Told()
    plan = prune_archives(fresh, options(Rules(daily=1), past_damage=True), told)
    assert pruned(plan) == ["a0-early"], "the damaged one must not be kept in place of a sound one"
    assert broken.hex() in told.notices[0].text
    assert broken in {one.id for one in fresh.state.living()}


def test_an_archive_from_the_future_that_pushes_others_out_is_told(shelf: Shelf) -> None:
    repository = shelf.open()
    put_archive(repository, "real", datetime.now(UTC))
    put_archive(shelf.open("laptop"), "planted", datetime(2200, 1, 1, tzinfo=UTC))
    repository.history.sync()
    told = Told()
    prune_archives(repository, options(Rules(yearly=2)), told)
    assert not told.notices
    assert pruned(prune_archives(repository, options(Rules(secondly=1)), told)) == ["real"]
    (notice,) = told.notices
    assert "planted" in notice.text and "'laptop'" in notice.text and "undelete" in notice.text


def test_the_first_and_the_last_times_that_a_number_can_hold(shelf: Shelf) -> None:
    repository = shelf.open()
    for number, begun in enumerate((-(1 << 63), 0, (1 << 63) - 1)):
        put_archive(repository, f"a{number}", begun)
    every = dict.fromkeys(("secondly", "weekly", "quarterly_13weekly", "yearly"), -1)
    for zone in ("Pacific/Kiritimati", "Pacific/Niue", "UTC"):
        with time_zone(zone):
            plan = plan_prune(repository, options(Rules(**every)), Told())
            assert [one.archive.name for one in plan.judged] == ["a2", "a1", "a0"]


def test_the_record_names_each_archive_once(shelf: Shelf) -> None:
    repository = shelf.open()
    fill(repository)
    ids = {bytes(info.id) for info in list_archives(repository, ArchiveFilter(glob="*-early"))}
    prune_archives(repository, options(Rules(daily=-1)), Told())
    gone = repository.state.dead()
    assert {bytes(one.id) for one in gone} == ids
    assert len({one.deleted.seq for one in gone if one.deleted}) == 1
