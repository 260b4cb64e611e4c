"""delete and undelete: signed requests that can be taken back, in whatever order clients make them.

A second opened repository plays the second client: it does not know yet what the first one did.
"""

from collections.abc import Callable
from datetime import timedelta

import pytest

from shelf import Shelf, Told, put_archive
from strongroom.commands.delete import delete_archives
from strongroom.commands.keys import revoke_key
from strongroom.commands.listing import ArchiveFilter, find_archive, list_archives, list_deleted
from strongroom.commands.rename import rename_archive
from strongroom.commands.undelete import find_deleted, obstacles, undelete_archives
from strongroom.errors import ArchiveExists, ArchiveMissing, RoleInsufficient
from strongroom.repository import archives
from strongroom.repository.keyfiles import Need
from strongroom.repository.repository import Repository


def delete(repository: Repository, *names: str) -> None:
    delete_archives(repository, [find_archive(repository, name) for name in names], Told())


def undelete(repository: Repository, *names: str) -> None:
    undelete_archives(repository, [find_deleted(repository, name) for name in names], Told())


@pytest.fixture
def two(shelf: Shelf) -> tuple[Repository, Repository]:
    """Two clients that both know the archives a and b; c was deleted."""
    first, second = shelf.open(), shelf.open()
    for name in ("a", "b", "c"):
        put_archive(first, name)
    delete(first, "c")
    second.history.sync()
    return first, second


def asked(shelf: Shelf) -> list[str | None]:
    with shelf.open() as fresh:
        return [info.name for info in list_archives(fresh, ArchiveFilter()) if info.requested]


# --- one client ---


def test_deleting_and_undeleting_add_a_record_each_and_change_nothing_else(shelf: Shelf) -> None:
    repository = shelf.open()
    put_archive(repository, "a")
    put_archive(repository, "b")
    for act in (delete, undelete):
        before, head = shelf.objects(), repository.state.head.seq
        act(repository, "a", "b")
        after = shelf.objects()
        assert after.keys() - before.keys() == {f"log/{head + 1:020}"} and before.items() <= after.items()
        assert shelf.names() == ([] if act is delete else ["a", "b"])


def test_nothing_chosen_is_nothing_recorded(shelf: Shelf) -> None:
    repository = shelf.open()
    before = shelf.objects()
    delete_archives(repository, [], Told())
    undelete_archives(repository, [], Told())
    assert shelf.objects() == before


def test_the_log_tells_who_asked_for_a_deletion_and_when(shelf: Shelf) -> None:
    laptop, admin = shelf.open("laptop"), shelf.open()
    for name in ("a", "b"):
        put_archive(laptop, name)
    delete(laptop, "a")
    admin.history.sync()
    delete(admin, "b")
    (a,), (b,) = list_archives(admin, ArchiveFilter()), list_deleted(admin, ArchiveFilter())
    assert (a.name, a.requested_by, a.deleted) == ("a", "laptop", None)
    assert (b.name, b.deleted_by, b.requested) == ("b", "admin", None)
    assert a.requested and b.deleted and a.start and b.start
    assert a.requested >= a.start and b.deleted >= b.start
    undelete(admin, "a")
    assert all(info.requested is None for info in list_archives(admin, ArchiveFilter()))
    assert [info.name for info in list_deleted(admin, ArchiveFilter(glob="b*"))] == ["b"]


def test_a_renamed_archive_is_not_a_deleted_one(two: tuple[Repository, Repository]) -> None:
    admin, _ = two
    rename_archive(admin, "a", "x")
    assert [info.name for info in list_deleted(admin, ArchiveFilter())] == ["c"]
    with pytest.raises(ArchiveMissing, match="no deleted archive a "):
        find_deleted(admin, "a")
    delete(admin, "x")
    undelete(admin, "x")
    assert find_archive(admin, "x").deleted is None


def test_only_a_deleted_archive_can_come_back(two: tuple[Repository, Repository]) -> None:
    admin, _ = two
    with pytest.raises(ArchiveMissing, match="--deleted"):
        find_deleted(admin, "never")
    with pytest.raises(ArchiveExists, match="not deleted"):
        find_deleted(admin, "a")
    undelete(admin, "c")
    with pytest.raises(ArchiveExists, match="not deleted"):
        find_deleted(admin, "c")


def test_a_name_that_was_taken_meanwhile_is_refused_with_advice(shelf: Shelf) -> None:
    admin = shelf.open()
    old = put_archive(admin, "a")
    delete(admin, "a")
    new = put_archive(admin, "a")
    with pytest.raises(ArchiveExists, match="strongroom rename"):
        undelete(admin, "aid:" + old.hex())
    rename_archive(admin, "a", "newer")
    undelete(admin, "a")
    assert shelf.names() == ["a", "newer"]
    assert find_archive(admin, "a").id == old and new not in {one.id for one in admin.state.living()}


def test_of_several_deleted_archives_of_one_name_the_id_chooses(shelf: Shelf) -> None:
    admin = shelf.open()
    real = put_archive(admin, "a")
    delete(admin, "a")
    planted = put_archive(admin, "a")
    delete(admin, "a")
    with pytest.raises(ArchiveExists, match=f"aid:{real.hex()[:16]}, aid:{planted.hex()[:16]}"):
        find_deleted(admin, "a")
    both = [find_deleted(admin, "aid:" + one.hex()) for one in (real, planted)]
    assert all(isinstance(one, ArchiveExists) for one in obstacles(admin, both))
    with pytest.raises(ArchiveExists, match="one of several"):
        undelete_archives(admin, both, Told())
    undelete(admin, "aid:" + real.hex()[:8])
    assert find_archive(admin, "a").id == real


@pytest.mark.parametrize("word", ["aid:", "aid:xyz", "aid:" + "0" * 65, "aid:*", "", "aid:-1"])
def test_an_id_that_is_none_finds_nothing(two: tuple[Repository, Repository], word: str) -> None:
    with pytest.raises(ArchiveMissing):
        find_deleted(two[0], word)


def test_a_name_that_looks_like_an_id_is_a_name(shelf: Shelf) -> None:
    admin = shelf.open()
    a = put_archive(admin, "a")
    put_archive(admin, f"aid:{a.hex()[:8]}")
    delete(admin, "a", f"aid:{a.hex()[:8]}")
    assert find_deleted(admin, f"aid:{a.hex()[:8]}").id != a


def test_a_damaged_archive_can_come_back_to_be_repaired(shelf: Shelf) -> None:
    admin = shelf.open()
    a = put_archive(admin, "a")
    delete(admin, "a")
    (shelf.path / archives.name(a)).unlink()
    fresh = shelf.open()
    info = find_deleted(fresh, "a")
    assert info.problem is not None and info.name == "a"
    undelete_archives(fresh, [info], Told())
    assert a in {one.id for one in fresh.state.living()}


# --- who may ---


def test_a_backup_key_deletes_and_undeletes_by_name_although_names_are_sealed(shelf: Shelf) -> None:
    laptop = shelf.open("laptop", Need.DELETE)
    put_archive(laptop, "a")
    put_archive(laptop, "b")
    delete(laptop, "a")
    assert asked(shelf) == ["a"] and shelf.names() == ["a", "b"]
    assert find_deleted(laptop, "a").name == "a"
    undelete(laptop, "a")
    assert asked(shelf) == []
    delete_archives(laptop, list_archives(laptop, ArchiveFilter(last=1)), Told())
    assert asked(shelf) == ["b"] and shelf.names() == ["a", "b"]


def test_what_is_asked_for_already_is_not_asked_for_again(shelf: Shelf) -> None:
    laptop = shelf.open("laptop", Need.DELETE)
    put_archive(laptop, "a")
    put_archive(laptop, "b")
    delete(laptop, "a")
    head = laptop.state.head
    delete(laptop, "a")
    assert laptop.state.head == head
    delete(laptop, "a", "b")
    assert asked(shelf) == ["a", "b"]


def test_an_administrator_refuses_a_request_or_accepts_it(shelf: Shelf) -> None:
    admin, laptop = shelf.open(), shelf.open("laptop")
    for name in ("a", "b"):
        put_archive(admin, name)
    laptop.history.sync()
    delete(laptop, "a", "b")
    admin.history.sync()
    undelete(admin, "a")
    delete(admin, "b")
    assert shelf.names() == ["a"] and asked(shelf) == []


def test_a_backup_key_does_not_bring_back_what_an_administrator_deleted(shelf: Shelf) -> None:
    admin, laptop = shelf.open(), shelf.open("laptop")
    put_archive(laptop, "a")
    delete(laptop, "a")
    found = find_deleted(laptop, "a")
    admin.history.sync()
    delete(admin, "a")
    before = shelf.objects()
    with pytest.raises(RoleInsufficient, match="administrator"):
        undelete_archives(laptop, [found], Told())
    laptop.history.sync()
    with pytest.raises(ArchiveMissing):
        find_deleted(laptop, "a")
    assert shelf.objects() == before and shelf.names() == []


def test_a_restore_key_asks_for_nothing(shelf: Shelf) -> None:
    with pytest.raises(RoleInsufficient):
        shelf.open("reader", Need.DELETE)
    put_archive(shelf.open(), "a")
    reader = shelf.open("reader")
    before = shelf.objects()
    for act in (delete, lambda r, name: put_archive(r, name + "2")):
        with pytest.raises(RoleInsufficient, match="restore key 'reader'"):
            act(reader, "a")
    assert shelf.objects().keys() - before.keys() <= {name for name in shelf.objects() if "log/" not in name}
    assert shelf.names() == ["a"]


def test_a_revoked_key_asks_for_nothing(shelf: Shelf) -> None:
    admin, laptop = shelf.open(), shelf.open("laptop")
    put_archive(laptop, "a")
    admin.history.sync()
    revoke_key(admin, "laptop", None)
    before = shelf.objects()
    # it does not know yet: a record of its own would break the log for everybody
    with pytest.raises(RoleInsufficient, match="revoked"):
        delete(laptop, "a")
    assert shelf.objects() == before
    assert shelf.names() == ["a"]


# --- two at once ---

Act = Callable[[Repository], object]

RACES: dict[str, tuple[Act, Act, str]] = {
    "delete, delete": (lambda r: delete(r, "a"), lambda r: delete(r, "a"), "deleted meanwhile"),
    "delete, delete with another": (
        lambda r: delete(r, "a"),
        lambda r: delete(r, "b", "a"),
        "Archive a was deleted meanwhile. Nothing",
    ),
    "rename, delete": (lambda r: rename_archive(r, "a", "x"), lambda r: delete(r, "a"), "renamed meanwhile"),
    "delete, rename": (lambda r: delete(r, "a"), lambda r: rename_archive(r, "a", "x"), "not exist any more"),
    "undelete, undelete": (lambda r: undelete(r, "c"), lambda r: undelete(r, "c"), "undeleted meanwhile"),
    "undelete, create": (lambda r: undelete(r, "c"), lambda r: put_archive(r, "c"), "already exists"),
    "create, undelete": (lambda r: put_archive(r, "c"), lambda r: undelete(r, "c"), "newer one has its name"),
    "undelete, rename": (
        lambda r: undelete(r, "c"),
        lambda r: rename_archive(r, "a", "c"),
        "already exists",
    ),
    "rename, undelete": (
        lambda r: rename_archive(r, "a", "c"),
        lambda r: undelete(r, "c"),
        "newer one has its name",
    ),
}


@pytest.mark.parametrize("race", RACES)
def test_the_second_of_two_hears_one_sentence_and_records_nothing(
    shelf: Shelf, two: tuple[Repository, Repository], race: str
) -> None:
    first, second = two
    act, late_act, sentence = RACES[race]
    act(first)
    log = sorted(name for name in shelf.objects() if name.startswith("log/"))
    living = shelf.names()
    with pytest.raises((ArchiveExists, ArchiveMissing), match=sentence) as told:
        late_act(second)
    assert "\n" not in str(told.value)
    assert sorted(name for name in shelf.objects() if name.startswith("log/")) == log
    assert shelf.names() == living, "a fresh reader verifies the whole log"
    put_archive(second, "still writing")
    assert shelf.names() == sorted([*living, "still writing"])


GOES_WELL: dict[str, tuple[Act, Act, list[str]]] = {
    "delete, delete of another": (lambda r: delete(r, "a"), lambda r: delete(r, "b"), []),
    "delete, undelete of another": (lambda r: delete(r, "a"), lambda r: undelete(r, "c"), ["b", "c"]),
    "delete, create of that name": (lambda r: delete(r, "a"), lambda r: put_archive(r, "d"), ["b", "d"]),
    "delete, rename of another": (
        lambda r: delete(r, "a"),
        lambda r: rename_archive(r, "b", "x"),
        ["x"],
    ),
    "undelete, delete of another": (lambda r: undelete(r, "c"), lambda r: delete(r, "a"), ["b", "c"]),
}


@pytest.mark.parametrize("race", GOES_WELL)
def test_what_does_not_contradict_itself_happens_both(
    shelf: Shelf, two: tuple[Repository, Repository], race: str
) -> None:
    first, second = two
    act, late_act, left = GOES_WELL[race]
    act(first)
    late_act(second)
    assert shelf.names() == left


def test_a_deletion_that_was_taken_back_meanwhile_is_asked_for_anew(
    shelf: Shelf, two: tuple[Repository, Repository]
) -> None:
    first, second = two
    delete(first, "a")
    undelete(first, "a")
    delete(second, "a")
    assert shelf.names() == ["b"]


def test_archives_are_chosen_by_age(shelf: Shelf) -> None:
    from datetime import UTC, datetime

    admin = shelf.open()
    now = datetime.now(UTC)
    for days in (1, 10, 20, 30):
        put_archive(admin, f"{days:02}", now - timedelta(days=days))

    def chosen(**wanted: timedelta | int) -> list[str | None]:
        return [info.name for info in list_archives(admin, ArchiveFilter(**wanted))]  # type: ignore[arg-type]

    assert chosen(older=timedelta(days=15)) == ["30", "20"]
    assert chosen(newer=timedelta(days=15)) == ["10", "01"]
    assert chosen(oldest=timedelta(days=10)) == ["30", "20"]
    assert chosen(newest=timedelta(days=9)) == ["10", "01"]
    assert chosen(older=timedelta(days=5), newer=timedelta(days=25), last=1) == ["10"]
    assert chosen(older=timedelta(days=999_999)) == [] and len(chosen(newer=timedelta(days=999_999))) == 4
