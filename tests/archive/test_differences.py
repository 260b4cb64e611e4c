"""What differs between two trees is found, all of it and in order, and what they share is not read."""

import stat
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagined import Memory, file, folders, listing
from strongroom.archive import trees
from strongroom.archive.changes import (
    Appeared,
    AttributesChanged,
    Concerns,
    ModeChanged,
    OwnerChanged,
    Redirected,
    Retargeted,
    TimeChanged,
    Vanished,
    changes_of,
)
from strongroom.archive.differences import different
from strongroom.archive.entries import HOLE, Entry
from strongroom.archive.same_content import ContentComparison, Modified
from strongroom.ids import ChunkId


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Folders of a few entries are cut as huge ones are."""
    monkeypatch.setattr(trees, "_CUT_FROM", 60)
    monkeypatch.setattr(trees, "_CUT_MASK", 1)
    yield


def unread(_: ChunkId) -> memoryview:
    raise AssertionError("content was read")


CONTENTS = ContentComparison(unread, comparable=True)


def pairs(memory: Memory, old: Any, new: Any) -> dict[bytes, tuple[Entry | None, Entry | None]]:
    found = list(different(memory.tree(old), memory.tree(new), lambda _: True))
    assert len({pair.path for pair in found}) == len(found)
    return {pair.path: (pair.old, pair.new) for pair in found}


@given(folders(), folders())
def test_differences_are_those_of_the_full_listings(old: dict[bytes, Any], new: dict[bytes, Any]) -> None:
    memory = Memory()
    one, other = memory.plant(old), memory.plant(new)
    before, after = listing(memory.tree(one)), listing(memory.tree(other))
    wanted = {
        path: (before.get(path), after.get(path))
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    }
    assert pairs(memory, one, other) == wanted


@given(folders())
def test_nothing_is_read_of_what_is_the_same(folder: dict[bytes, Any]) -> None:
    memory = Memory()
    root = memory.plant(folder)
    memory.reads.clear()
    assert pairs(memory, root, root) == {}
    assert memory.reads == []


def test_of_a_huge_folder_only_the_segment_that_changed_is_read() -> None:
    memory = Memory()
    folder: dict[bytes, Any] = {b"%04d" % n: file(b"%04d" % n, b"x") for n in range(1000)}
    old = memory.plant({b"huge": folder, b"same": folder}, implied=True)
    new = memory.plant({b"huge": folder | {b"0500": file(b"0500", b"y")}, b"same": folder}, implied=True)
    memory.reads.clear()
    assert set(pairs(memory, old, new)) == {b"huge", b"huge/0500"}
    assert len(memory.reads) <= 2 + 2  # the roots, and a segment on each side


def test_folders_come_before_what_they_hold_in_the_order_of_names() -> None:
    memory = Memory()
    tree = {b"a": {b"x": file(b"x", b"1")}, b"a.b": file(b"a.b", b"1"), b"b": {}}
    found = list(pairs(memory, memory.plant({}), memory.plant(tree)))
    assert found == [b".", b"a", b"a/x", b"a.b", b"b"]


def test_implied_folders_do_not_exist_and_are_looked_into() -> None:
    memory = Memory()
    inner = memory.plant({b"x": file(b"x", b"1")}, b"home", implied=True)
    old = memory.plant({}, implied=True)
    new = memory.plant({b"home": inner}, implied=True)
    assert list(pairs(memory, old, new)) == [b"home/x"]
    real = memory.plant({b"home": msgspec.structs.replace(inner, implied=False)}, implied=True)
    assert pairs(memory, new, real)[b"home"][0] is None


def test_a_file_that_became_a_folder_is_both() -> None:
    memory = Memory()
    old = memory.plant({b"x": file(b"x", b"1")})
    new = memory.plant({b"x": {b"y": file(b"y", b"1")}})
    assert list(pairs(memory, old, new)) == [b".", b"x", b"x/y"]
    found = pairs(memory, new, old)
    assert found[b"x/y"][1] is None


def test_a_folder_that_is_not_entered_is_not_read() -> None:
    memory = Memory()
    old, new = memory.plant({b"in": {}, b"out": {}}), memory.plant({b"in": {}, b"out": {b"x": {}}})
    memory.reads.clear()
    found = list(different(memory.tree(old), memory.tree(new), lambda path: path != b"out"))
    assert [pair.path for pair in found] == [b".", b"out"] and len(memory.reads) == 2


# --- what became of one path ---

PLAIN = file(b"x", b"data")


def changed(new: Entry | None, old: Entry | None = PLAIN, **concerns: bool) -> list[Any]:
    return list(changes_of(old, new, CONTENTS.compare, Concerns(**concerns)))


def but(**fields: Any) -> Entry:
    return msgspec.structs.replace(PLAIN, **fields)


def test_each_kind_of_change_is_told() -> None:
    assert changed(PLAIN) == []
    assert changed(but(atime=7)) == []
    assert changed(None) == [Vanished("file", 4)]
    assert changed(PLAIN, None) == [Appeared("file", 4)]
    assert changed(file(b"x", b"other")) == [Modified(5, 4)]
    assert changed(but(mode=PLAIN.mode | 0o111)) == [ModeChanged(PLAIN.mode, PLAIN.mode | 0o111)]
    assert changed(but(mtime=1)) == [TimeChanged("mtime", 0, 1)]
    assert changed(but(ctime=1), but(ctime=2)) == [TimeChanged("ctime", 2, 1)]
    assert changed(but(ctime=1), but(ctime=2), ctime=False) == []
    assert changed(but(ctime=1)) == []  # one side does not know
    named = {b"user.gone": b"", b"user.same": b"1", b"user.x": b"1"}
    after = {b"user.came": b"", b"user.same": b"1", b"user.x": b"2"}
    names = (b"user.came", b"user.gone", b"user.x")
    assert changed(but(xattrs=after), but(xattrs=named)) == [AttributesChanged("xattrs", names)]
    assert changed(but(acl_access=b"user::r--")) == [AttributesChanged("acl")]
    assert changed(but(flags=16)) == [AttributesChanged("flags")]
    assert changed(but(flags=0)) == []


def test_owners_are_compared_by_name_where_both_sides_have_one() -> None:
    old = but(user="me", group="us", uid=1, gid=1)
    assert changed(but(user="me", group="us", uid=2, gid=2), old) == []
    assert changed(but(user="me", group="us", uid=2, gid=1), old, numeric_ids=True) == [
        OwnerChanged(1, 1, 2, 1)
    ]
    assert changed(but(user="you", group="us", uid=1, gid=1), old) == [OwnerChanged("me", "us", "you", "us")]
    assert changed(but(uid=1, gid=1), old) == []
    assert changed(but(uid=2, gid=1), old) == [OwnerChanged(1, 1, 2, 1)]


def test_content_alone_still_tells_another_kind_of_file() -> None:
    link = Entry(b"x", stat.S_IFLNK | 0o777, 0, 0, None, None, 9, 0, b"", target=b"a")
    assert changed(but(mtime=1, mode=PLAIN.mode | 0o111), metadata=False) == []
    assert changed(link, metadata=False) == [ModeChanged(PLAIN.mode, link.mode)]
    elsewhere = msgspec.structs.replace(link, target=b"b")
    assert changed(elsewhere, link, metadata=False) == [Retargeted(b"a", b"b")]


def test_a_device_with_another_number_is_told() -> None:
    device = Entry(b"x", stat.S_IFCHR | 0o600, 0, 0, None, None, 0, 0, b"", rdev=1)
    assert changed(msgspec.structs.replace(device, rdev=2), device) == [Redirected(1, 2)]


# --- content ---


def cut(memory: Memory, data: bytes, sizes: list[int], *, holes: bool) -> Entry:
    ids, at = b"", 0
    for size in sizes:
        piece = data[at : at + size]
        ids += HOLE if holes and not piece.strip(b"\0") else memory.put(piece)
        at += size
    needed = len(sizes) > 1 or ids == HOLE
    return Entry(b"x", stat.S_IFREG, 0, 0, None, None, 0, len(data), ids, list(sizes) if needed else None)


@st.composite
def cuts(draw: st.DrawFn, length: int) -> list[int]:
    ends = sorted(draw(st.sets(st.integers(1, length - 1), max_size=5)) | {length})
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


@given(st.data(), st.booleans())
def test_however_it_is_cut_the_same_bytes_are_the_same_content(data: st.DataObject, change: bool) -> None:
    memory = Memory()
    content = data.draw(st.lists(st.sampled_from([b"\0", b"\0\0\0\0", b"a", b"bc"]), min_size=2))
    old = b"".join(content) + b"\0"
    new = old
    if change:
        at = data.draw(st.integers(0, len(old) - 1))
        new = old[:at] + b"!" + old[at + 1 :]
    one = cut(memory, old, data.draw(cuts(len(old))), holes=data.draw(st.booleans()))
    other = cut(memory, new, data.draw(cuts(len(new))), holes=data.draw(st.booleans()))
    found = ContentComparison(memory.read, comparable=False).compare(one, other)
    assert found == (Modified(None, None) if change else None)


def test_a_hole_and_stored_zeros_are_the_same_and_only_they_are_read() -> None:
    memory = Memory()
    data = b"A" * 100 + bytes(50) + b"B" * 100
    dense = cut(memory, data, [100, 50, 100], holes=False)
    sparse = cut(memory, data, [100, 50, 100], holes=True)
    assert ContentComparison(memory.read, comparable=True).compare(dense, sparse) is None
    assert len(memory.reads) == 1
    longer = cut(memory, data + b"C", [100, 50, 101], holes=True)
    assert ContentComparison(unread, comparable=True).compare(sparse, longer) == Modified(101, 100)


def test_sizes_are_those_of_the_chunks_that_differ() -> None:
    memory = Memory()
    old = cut(memory, b"aabbb", [2, 3], holes=False)
    new = cut(memory, b"aaccccaa", [2, 4, 2], holes=False)
    assert CONTENTS.compare(old, new) == Modified(4, 3)
    swapped = cut(memory, b"bbbaa", [3, 2], holes=False)
    assert CONTENTS.compare(old, swapped) == Modified(0, 0)
