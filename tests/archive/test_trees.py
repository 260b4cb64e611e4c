"""Trees: entries come back whole, huge folders are cut stably, entries that cannot be are refused."""

import stat
from typing import Any

import msgspec
import pytest
from blake3 import blake3

from strongroom.archive import trees
from strongroom.archive.entries import HOLE, Entry
from strongroom.errors import Damaged, VersionUnknown
from strongroom.ids import ChunkId
from vectors.build import entries

CHUNK = ChunkId(bytes(32))
ONE = blake3(b"1").digest()
FILE: dict[str, Any] = {
    "name": b"x", "mode": stat.S_IFREG | 0o644, "uid": 0, "gid": 0, "user": None, "group": None,
    "mtime": 0, "size": 5, "content": ONE,
}  # fmt: skip
FOLDER = FILE | {"mode": stat.S_IFDIR | 0o755, "size": 0}
LINK = FILE | {"mode": stat.S_IFLNK | 0o777, "size": 0, "content": b"", "target": b"t"}
DEVICE = FILE | {"mode": stat.S_IFCHR | 0o600, "size": 0, "content": b"", "rdev": 1}
PIPE = FILE | {"mode": stat.S_IFIFO | 0o600, "size": 0, "content": b""}


def small(count: int) -> list[Entry]:
    return [Entry(**FILE | {"name": b"file %07d" % n}) for n in range(count)]


def decoded(*found: Entry) -> list[Entry]:
    (segment,) = trees.encode_tree(list(found))
    return trees.decode_segment(segment, CHUNK)


def test_every_kind_and_field_comes_back() -> None:
    assert decoded(*entries()) == entries()


def test_an_empty_folder_has_no_segment() -> None:
    assert list(trees.encode_tree([])) == []
    assert trees.decode_segment(b"\x01\x90", CHUNK) == []


def test_a_huge_folder_is_cut_and_a_new_name_changes_one_segment() -> None:
    before = small(20_000)
    segments = list(trees.encode_tree(before))
    assert len(segments) > 5 and max(map(len, segments)) < 2 << 20
    found = [entry for segment in segments for entry in trees.decode_segment(segment, CHUNK)]
    assert found == before
    after = list(
        trees.encode_tree([*before[:9000], Entry(**FILE | {"name": b"file 0008999a"}), *before[9000:]])
    )
    assert len(set(after) - set(segments)) == 1


@pytest.mark.parametrize(
    "fields",
    [
        FILE, FOLDER, LINK, DEVICE, PIPE,
        FILE | {"size": 0, "content": b""},
        FILE | {"content": ONE + HOLE, "sizes": [2, 3]},
        FILE | {"content": HOLE, "sizes": [5]},
        FOLDER | {"content": b"", "implied": True},
        FILE | {"mtime": (1 << 64) - 1, "ctime": -1},
        FILE | {"mtime": -(1 << 63), "uid": (1 << 32) - 2, "link": b"12345678", "flags": 0xFFFFFFFF},
    ],
)  # fmt: skip
def test_entries_of_honest_writers_pass(fields: dict[str, Any]) -> None:
    assert decoded(Entry(**fields)) == [Entry(**fields)]


@pytest.mark.parametrize(
    "fields",
    [
        *[FILE | {"name": name} for name in (b"", b".", b"..", b"a/b", b"/", b"a\0", b"x" * 1025)],
        *[FILE | {"mode": mode} for mode in (0, 0o644, stat.S_IFSOCK | 0o600, 1 << 16 | FILE["mode"], -1)],
        *[FILE | {key: value} for key in ("uid", "gid") for value in (-1, (1 << 32) - 1, 1 << 32)],
        *[FILE | {"mode": mode} for mode in (-(1 << 63), (1 << 64) - 1)],
        FILE | {"size": 1 << 63},
        FILE | {"size": -1},
        FILE | {"size": 0},
        FILE | {"content": b""},
        FILE | {"content": ONE[:31]},
        FILE | {"content": ONE + ONE},
        FILE | {"content": ONE + ONE, "sizes": [5]},
        FILE | {"content": ONE + ONE, "sizes": [5, 0]},
        FILE | {"content": ONE + ONE, "sizes": [6, -1]},
        FILE | {"content": ONE + ONE, "sizes": [2, 2]},
        FILE | {"target": b"t"},
        FILE | {"rdev": 1},
        FILE | {"implied": True},
        FILE | {"link": b""},
        FILE | {"link": bytes(33)},
        FILE | {"flags": -1},
        FILE | {"flags": 1 << 32},
        FILE | {"xattrs": {b"": b""}},
        FILE | {"xattrs": {b"a\0": b""}},
        FILE | {"xattrs": {b"a" * 256: b""}},
        FOLDER | {"size": 1},
        FOLDER | {"sizes": [1]},
        LINK | {"target": None},
        LINK | {"target": b""},
        LINK | {"target": b"a\0"},
        LINK | {"target": bytes(65_537)},
        LINK | {"content": ONE},
        DEVICE | {"rdev": None},
        DEVICE | {"rdev": -1},
        DEVICE | {"content": ONE},
        PIPE | {"size": 3},
        PIPE | {"rdev": 3},
    ],
)
def test_entries_that_cannot_be_are_refused(fields: dict[str, Any]) -> None:
    """Path tricks, numbers that chown takes for "leave it", content where none can be."""
    with pytest.raises(Damaged):
        decoded(Entry(**fields))


def test_names_are_in_order_and_there_once() -> None:
    one, two = (Entry(**FILE | {"name": name}) for name in (b"a", b"b"))
    assert len(decoded(one, two)) == 2
    for wrong in ((two, one), (one, one)):
        with pytest.raises(Damaged, match="order"):
            decoded(*wrong)


def test_future_forms_are_refused() -> None:
    with pytest.raises(VersionUnknown, match="format 2"):
        trees.decode_segment(b"\x02\x90", CHUNK)
    more = [*msgspec.msgpack.decode(msgspec.msgpack.encode(Entry(**FILE))), 1]
    with pytest.raises(Damaged):
        trees.decode_segment(b"\x01" + msgspec.msgpack.encode([more]), CHUNK)
    for size in (b"", b"\x01"):
        with pytest.raises(Damaged):
            trees.decode_segment(size, CHUNK)


def test_the_root_has_no_name_and_is_a_folder() -> None:
    root = Entry(**FOLDER | {"name": b""})
    assert trees.decode_root(trees.encode_root(root)) == root
    for wrong in (Entry(**FOLDER), Entry(**FILE | {"name": b""})):
        with pytest.raises(Damaged):
            trees.decode_root(trees.encode_root(wrong))
