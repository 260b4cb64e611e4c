"""What many trees have at each path is found, all of it, and what they share is read once."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagined import Memory, file, folders, listing
from strongroom.archive import long_files
from strongroom.archive import trees as encoding
from strongroom.archive.entries import Entry
from strongroom.archive.histories import History, histories, history_of
from strongroom.errors import Damaged


def numbered(history: History) -> dict[int, Entry]:
    return {number: entry for entry, numbers in history.states for number in numbers}


def everything(memory: Memory, roots: list[Entry]) -> dict[bytes, dict[int, Entry]]:
    found: dict[bytes, dict[int, Entry]] = {}
    for history in histories([memory.tree(root) for root in roots], lambda _: True):
        assert history.path not in found
        entries = numbered(history)
        assert sum(len(numbers) for _, numbers in history.states) == len(entries)
        found[history.path] = entries
    return found


@given(st.lists(folders(), min_size=1, max_size=4), st.lists(st.integers(0, 3), max_size=3))
def test_histories_are_those_of_the_full_listings(made: list[dict[bytes, Any]], again: list[int]) -> None:
    memory = Memory()
    folders_of = made + [made[number % len(made)] for number in again]  # some are the same
    roots = [memory.plant(folder) for folder in folders_of]
    listings = [listing(memory.tree(root)) for root in roots]
    wanted: dict[bytes, dict[int, Entry]] = {}
    for number, one in enumerate(listings):
        for path, entry in one.items():
            wanted.setdefault(path, {})[number] = entry
    assert everything(memory, roots) == wanted
    trees = [memory.tree(root) for root in roots]
    for history in histories(trees, lambda _: True):
        alone = history_of(trees, history.path)
        assert alone is not None and alone.path == history.path and alone.covering == history.covering
        assert numbered(alone) == numbered(history)
    for path in (b"nothing", b"a/nothing/x", b"a/b/c/d/e/f/g/h/i/j"):
        alone = history_of(trees, path)
        assert (numbered(alone) if alone is not None else {}) == wanted.get(path, {})


@given(folders(), st.integers(1, 20))
def test_what_is_shared_is_read_once(folder: dict[bytes, Any], count: int) -> None:
    memory = Memory()
    root = memory.plant(folder)
    everything(memory, [root])
    once = len(memory.reads)
    memory.reads.clear()
    everything(memory, [root] * count)
    assert len(memory.reads) == once


def test_a_tree_covers_what_lies_below_a_folder_that_was_backed_up_in_it() -> None:
    memory = Memory()
    home = memory.plant({b"me": {b"x": file(b"x", b"1")}}, b"home", implied=True)
    with_file = memory.plant({b"home": home}, implied=True)
    without = memory.plant({b"home": memory.plant({b"me": {}}, b"home", implied=True)}, implied=True)
    elsewhere = memory.plant({b"etc": {}}, implied=True)
    gone = memory.plant({b"home": memory.plant({}, b"home")}, implied=True)
    trees = [memory.tree(root) for root in (with_file, without, elsewhere, gone)]
    found = {history.path: history for history in histories(trees, lambda _: True)}
    assert found[b"home/me/x"].covering == {0, 1, 3}
    assert found[b"home/me"].covering == {3}
    assert [numbers for _, numbers in found[b"home"].states] == [[3]]  # elsewhere it is implied


def test_folders_that_are_not_entered_are_not_read() -> None:
    memory = Memory()
    root = memory.plant({b"in": {b"x": {}}, b"out": {b"y": {b"z": {}}}})
    memory.reads.clear()
    found = [one.path for one in histories([memory.tree(root)], lambda path: not path.startswith(b"out"))]
    assert found == [b".", b"in", b"in/x", b"out"] and len(memory.reads) == 2


def test_one_path_of_a_huge_folder_takes_few_of_its_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_files, "CHUNKS", 2)
    memory = Memory()
    folder: dict[bytes, Any] = {b"%06d" % number: file(b"%06d" % number, b"1") for number in range(20_000)}
    folder[b"010000"] = msgspec.structs.replace(
        folder[b"010000"], content=b"".join(memory.put(b"%d" % number) for number in range(7)), size=7,
        sizes=[1] * 7,
    )  # fmt: skip
    root = memory.plant({b"huge": folder})
    trees = [memory.tree(root)] * 2
    segments = len(memory.chunks)
    for name in (b"000000", b"009999", b"010000", b"010001", b"019999"):
        memory.reads.clear()
        found = history_of(trees, b"huge/" + name)
        assert found is not None and numbered(found) == dict.fromkeys((0, 1), folder[name])
        assert len(memory.reads) < 14 < segments // 2
    for name in (b"", b"00999", b"0099990", b"020000", b"~"):
        assert history_of(trees, b"huge/" + name) is None


@given(st.data(), st.lists(st.sets(st.integers(0, 60)), min_size=1, max_size=4))
def test_versions_of_a_huge_folder_are_merged(data: st.DataObject, made: list[set[int]]) -> None:
    """Cut into segments anywhere, with files of several segments in between."""
    memory = Memory()
    long = {number: _long(memory, b"%02d" % number) for number in (7, 20, 21)}

    def plant(numbers: set[int]) -> Entry:
        entries = []
        for number in sorted(numbers):
            other = file(b"%02d" % number, data.draw(st.sampled_from([b"1", b"1", b"2"])))
            entries.append(long.get(number, other))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(encoding, "_CUT_FROM", 1)
            patched.setattr(encoding, "_CUT_MASK", 1)
            patched.setattr(long_files, "CHUNKS", 2)
            content = b"".join(map(memory.put, encoding.encode_tree(entries)))
        return msgspec.structs.replace(memory.plant({}), content=content)

    roots = [plant(numbers) for numbers in made]
    memory.reads.clear()
    found = everything(memory, roots)
    assert len(memory.reads) == len(set(memory.reads))
    assert list(found) == sorted(found)
    wanted: dict[bytes, dict[int, Entry]] = {}
    for number, root in enumerate(roots):
        for path, entry in listing(memory.tree(root)).items():
            wanted.setdefault(path, {})[number] = entry
    assert found == wanted


def _long(memory: Memory, name: bytes) -> Entry:
    content = b"".join(memory.put(name + b"%d" % number) for number in range(5))
    return msgspec.structs.replace(file(name, b"x"), content=content, sizes=[1] * 5, size=5)


def test_a_huge_folder_is_read_segment_by_segment() -> None:
    memory = Memory()
    folder: dict[bytes, Any] = {b"%06d" % number: file(b"%06d" % number, b"1") for number in range(20_000)}
    trees = [memory.tree(memory.plant({b"huge": folder}))]
    walk = histories(trees, lambda _: True)
    for _ in range(10):
        next(walk)
    assert len(memory.reads) == 2  # the top, and the first segment


def test_segments_out_of_order_are_refused() -> None:
    memory = Memory()
    one, two = (
        b"".join(map(memory.put, encoding.encode_tree([file(name, b"1") for name in names])))
        for names in ((b"a", b"n"), (b"b", b"m"))
    )
    other = memory.plant({})
    for contents in ([two + one], [one + two], [one + one], [one, two + one], [two, one + two]):
        roots = [msgspec.structs.replace(other, content=content) for content in contents]
        with pytest.raises(Damaged, match="does not follow"):
            everything(memory, roots)


def test_no_tree_has_no_history() -> None:
    assert list(histories([], lambda _: True)) == []
