"""What folders take is what a count of each folder for itself gives."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from imagined import Memory, file, folders, listing
from strongroom.archive.entries import Entry
from strongroom.archive.usage import folder_usage


def stored(chunk: bytes) -> int:
    return chunk[0] + 1


def below(tree: dict[bytes, Entry], folder: bytes) -> list[Entry]:
    return [
        entry
        for path, entry in tree.items()
        if not entry.is_dir and (folder == b"." or path.startswith(folder + b"/"))
    ]


@given(folders(), st.sets(st.integers(0, 255)))
def test_every_folder_takes_what_its_own_files_take(folder: dict[bytes, Any], shared: set[int]) -> None:
    memory = Memory()
    root = memory.plant(folder)
    tree = listing(memory.tree(root))
    found = folder_usage(memory.tree(root), stored, lambda chunk: chunk[0] in shared)
    assert {one.path for one in found} == {path for path, entry in tree.items() if entry.is_dir}
    uses = Counter(entry.content for entry in tree.values() if entry.is_regular and entry.content)
    for one in found:
        inside = below(tree, one.path)
        own = Counter(entry.content for entry in inside if entry.is_regular and entry.content)
        assert one.files == len(inside)
        assert one.size == sum(entry.size for entry in inside)
        assert one.stored == sum(map(stored, own))
        assert one.unique == sum(
            stored(chunk) for chunk in own if own[chunk] == uses[chunk] and chunk[0] not in shared
        )


def test_a_file_with_several_names_counts_once_in_each_folder() -> None:
    memory = Memory()
    linked = file(b"x", b"data", link=b"1"), file(b"y", b"data", link=b"1")
    root = memory.plant({b"a": {b"x": linked[0], b"y": linked[1]}, b"b": {b"x": linked[0]}})
    sizes = {one.path: one.size for one in folder_usage(memory.tree(root), stored, lambda _: False)}
    assert sizes == {b".": 4, b"a": 4, b"b": 4}
