"""compact: what is dead goes, what lives stays, whoever else is at work and wherever it is killed."""

import contextlib
import shutil
from collections.abc import Callable, Iterator

import pytest

from contents import Killed, assert_holds, chunk, put_chunks, read_chunks, watch
from shelf import Shelf, Told, put_archive
from strongroom.commands.check import CheckOptions, check_repository
from strongroom.commands.compact import DAY, CompactOptions, accept, compact, plan_compact, requests
from strongroom.commands.delete import delete_archives
from strongroom.commands.infos import archive_infos
from strongroom.commands.undelete import find_deleted
from strongroom.errors import ArchiveMissing, RoleInsufficient
from strongroom.ids import ArchiveId
from strongroom.repository import packs
from strongroom.repository.planning import Terms, plan
from strongroom.repository.repository import Repository

NOW = CompactOptions(quarantine=0, threshold=0.0)


def delete(repository: Repository, *archives: ArchiveId) -> None:
    repository.history.sync()
    states = [repository.state.archives[one] for one in archives]
    delete_archives(repository, archive_infos(repository, states), Told())


def assert_sound(shelf: Shelf) -> None:
    with shelf.open() as fresh:
        assert (
            check_repository(fresh, CheckOptions(repository_only=True, verify_data=True), Told()).problems
            == []
        )


def stored(shelf: Shelf, area: str) -> set[str]:
    return {name for name in shelf.objects() if name.startswith(f"{area}/")}


@pytest.fixture
def filled(shelf: Shelf) -> tuple[Shelf, ArchiveId, ArchiveId]:
    """a (deleted) uses 0 to 9, of which b uses 8 and 9, and 10 to 19."""
    admin = shelf.open()
    a = put_chunks(admin, "a", range(10))
    b = put_chunks(admin, "b", range(8, 20))
    delete(admin, a)
    return shelf, a, b


def test_what_is_dead_goes_and_what_lives_is_read_as_before(
    filled: tuple[Shelf, ArchiveId, ArchiveId],
) -> None:
    shelf, a, b = filled
    admin = shelf.open()
    before = shelf.objects()
    result = compact(admin, NOW, Told())
    assert [info.name for info in result.archives] == ["a"] and result.freed > 8 * 700
    after = shelf.objects()
    assert not any(a.hex() in name for name in after) and len(stored(shelf, "refs")) == 1
    assert len(stored(shelf, "packs")) == 2 and not stored(shelf, "packs") <= before.keys()
    assert_holds(shelf, {b: list(range(8, 20))})
    assert_sound(shelf)
    with pytest.raises(ArchiveMissing):
        find_deleted(admin, "a")
    head = admin.state.head
    assert compact(admin, NOW, Told()).objects == 0 and admin.state.head == head, "nothing is left to do"


def test_the_quarantine_is_kept_by_the_stores_clock(filled: tuple[Shelf, ArchiveId, ArchiveId]) -> None:
    shelf, a, _ = filled
    admin = shelf.open()
    stamp = admin.state.archives[a].deleted
    assert stamp is not None and stamp.stamp is not None
    before = shelf.objects()
    compact(admin, CompactOptions(), Told(), now=stamp.stamp + 30 * DAY - 1)
    assert shelf.objects() == before
    compact(admin, CompactOptions(threshold=1.0), Told(), now=stamp.stamp + 30 * DAY)
    assert a not in admin.state.archives


def test_a_pack_below_the_threshold_is_left(filled: tuple[Shelf, ArchiveId, ArchiveId]) -> None:
    shelf, _, b = filled
    before = stored(shelf, "packs")
    compact(shelf.open(), CompactOptions(quarantine=0, threshold=0.9), Told())
    assert stored(shelf, "packs") == before
    assert_holds(shelf, {b: list(range(8, 20))})


def test_requests_wait_until_they_are_accepted(shelf: Shelf) -> None:
    admin, laptop = shelf.open(), shelf.open("laptop")
    made = [put_chunks(laptop, name, range(n, n + 3)) for n, name in ((0, "a"), (10, "b"), (20, "c"))]
    delete(laptop, *made)
    admin.history.sync()
    before = shelf.objects()
    assert compact(admin, NOW, Told()).freed == 0 and shelf.objects() == before
    for wrong in ("nobody", "d*", "server"):
        with pytest.raises(ArchiveMissing):
            requests(admin, [wrong])
    result = compact(admin, CompactOptions(quarantine=0, accept=["a", "b*"]), Told())
    assert sorted(info.name or "" for info in result.accepted) == ["a", "b"]
    assert shelf.names() == ["c"]
    accept(admin, requests(admin, ["laptop"]))
    compact(admin, NOW, Told())
    assert shelf.names() == [] and not stored(shelf, "packs")


def test_a_backup_key_compacts_nothing(filled: tuple[Shelf, ArchiveId, ArchiveId]) -> None:
    shelf, _, _ = filled
    laptop = shelf.open("laptop")
    before = {name: blob for name, blob in shelf.objects().items() if not name.startswith("index/")}
    with pytest.raises(RoleInsufficient):
        compact(laptop, NOW, Told())
    assert before.items() <= shelf.objects().items()


# --- killed ---


@contextlib.contextmanager
def copied(shelf: Shelf, number: int) -> Iterator[Shelf]:
    """The same repository, in another place: what happens there happens there."""
    copy = object.__new__(Shelf)
    copy.__dict__.update(shelf.__dict__)
    copy.root, copy._opened = shelf.root / f"copy{number}", []
    copy.path = copy.root / "repo"
    shutil.copytree(shelf.path, copy.path)
    try:
        yield copy
    finally:
        copy.close()
        shutil.rmtree(copy.root)


def kill_at(wanted: int) -> Callable[[int], None]:
    def before(number: int) -> None:
        if number == wanted:
            raise Killed

    return before


def test_killed_at_any_step_it_harms_nothing_and_is_finished_by_the_next_run(
    filled: tuple[Shelf, ArchiveId, ArchiveId],
) -> None:
    shelf, _, b = filled
    for number in range(1, 100):
        with copied(shelf, number) as copy:
            admin = copy.open()
            watched = watch(admin, kill_at(number))
            with contextlib.suppress(Killed):
                compact(admin, NOW, Told())
            assert_holds(copy, {b: list(range(8, 20))})
            assert_sound(copy)
            fresh = copy.open()
            compact(fresh, NOW, Told())
            assert_holds(copy, {b: list(range(8, 20))})
            assert_sound(copy)
            left = plan_compact(fresh, NOW).survey
            assert not left.leftovers
            assert not left.strays["refs"] and not left.strays["archives"]
            if watched.calls < number:
                break
    else:
        pytest.fail("it never came to an end")
    assert number > 8


# --- beside others ---

WRITTEN = [*range(10), 15, 30]  # all of what a used, something of b, something new


@pytest.mark.parametrize("numbers", [list(range(10)), WRITTEN], ids=["the same refs", "other refs"])
def test_a_compact_at_any_moment_of_a_backup(
    filled: tuple[Shelf, ArchiveId, ArchiveId], numbers: list[int]
) -> None:
    shelf, _, b = filled
    for moment in range(1, 200):
        with copied(shelf, moment) as copy:
            writer, admin = copy.open("laptop"), copy.open()
            writer.load_index()

            def before(number: int, admin: Repository = admin, moment: int = moment) -> None:
                if number == moment:
                    admin.history.sync()
                    compact(admin, NOW, Told())

            watched = watch(writer, before, reads=len(numbers) > 10)
            made = put_chunks(writer, "c", numbers)
            assert_holds(copy, {made: numbers, b: list(range(8, 20))})
            compact(copy.open(), NOW, Told())
            assert_holds(copy, {made: numbers, b: list(range(8, 20))})
            assert_sound(copy)
            if watched.calls < moment:
                break
    else:
        pytest.fail("it never came to an end")
    assert moment > 3


@pytest.mark.parametrize("numbers", [list(range(10)), WRITTEN], ids=["the same refs", "other refs"])
def test_a_backup_at_any_moment_of_a_compact(
    filled: tuple[Shelf, ArchiveId, ArchiveId], numbers: list[int]
) -> None:
    shelf, _, b = filled
    for moment in range(1, 200):
        with copied(shelf, moment) as copy:
            writer, admin = copy.open("laptop"), copy.open()
            writer.load_index()
            made = []

            def before(
                number: int,
                writer: Repository = writer,
                made: list[ArchiveId] = made,
                moment: int = moment,
            ) -> None:
                if number == moment:
                    made.append(put_chunks(writer, "c", numbers))

            watched = watch(admin, before)
            compact(admin, NOW, Told())
            wanted = dict.fromkeys(made, numbers) | {b: list(range(8, 20))}
            assert_holds(copy, wanted)
            assert_sound(copy)
            if watched.calls < moment:
                break
    else:
        pytest.fail("it never came to an end")
    assert moment > 3


def test_a_reader_with_an_old_index_finds_what_was_moved(
    filled: tuple[Shelf, ArchiveId, ArchiveId],
) -> None:
    shelf, _, b = filled
    reader = shelf.open("reader")
    reader.load_index()
    compact(shelf.open(), NOW, Told())
    assert read_chunks(reader, b) == [chunk(number) for number in range(8, 20)]


def test_what_was_moved_is_deduplicated_against_by_a_machine_that_knew_it_before(
    filled: tuple[Shelf, ArchiveId, ArchiveId],
) -> None:
    shelf, _, b = filled
    laptop = shelf.open("laptop")
    laptop.load_index()
    compact(shelf.open(), NOW, Told())
    laptop.history.sync()
    made = put_chunks(laptop, "c", range(8, 20))
    assert laptop.state.archives[made].body.packs == b""
    again = put_chunks(laptop, "d", range(10))
    assert laptop.state.archives[again].body.new_chunks == 8
    assert_holds(shelf, {b: list(range(8, 20)), made: list(range(8, 20)), again: list(range(10))})


# --- what no record accounts for ---


def test_an_interrupted_backups_packs_are_kept_for_it_and_given_up_one_day(shelf: Shelf) -> None:
    admin, laptop = shelf.open(), shelf.open("laptop")
    put_archive(admin, "x")
    with contextlib.suppress(Killed):
        watch(laptop, _die_before_the_record(laptop))
        put_chunks(laptop, "a", range(10))
    strays = stored(shelf, "packs")
    assert strays
    now = 1 << 60
    compact(admin, NOW, Told())
    compact(admin, NOW, Told())
    assert stored(shelf, "packs") == strays, "a week has not passed"
    with shelf.open() as other:
        terms = Terms(0, 0.1, now + 365 * 10**5 * DAY)
        aged = plan(other.store, other.state, terms).survey.aged
        assert {packs.name(one) for one in aged["packs"]} == strays  # type: ignore[arg-type]
    compact(admin, NOW, Told(), now=now * 2)
    assert not stored(shelf, "packs")
    laptop.history.sync()
    made = put_chunks(shelf.open("laptop"), "a", range(10))
    assert_holds(shelf, {made: list(range(10))})


def _die_before_the_record(repository: Repository) -> Callable[[int], None]:
    def dead(name: str, record: bytes) -> bytes:
        raise Killed

    setattr(repository.store, "append_record", dead)  # noqa: B010
    return lambda _: None
