"""Trees: entries come back whole, huge folders are cut stably, entries that cannot be are refused."""

import stat
from typing import Any

import msgspec
import pytest
from blake3 import blake3

from chest import Chest
from strongroom.archive import long_files, trees
from strongroom.archive.entries import HOLE, Entry
from strongroom.errors import Damaged, StrongroomError, VersionUnknown
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


def long(name: bytes = b"long", count: int = 10) -> Entry:
    content = b"".join(blake3(b"%d" % number).digest() for number in range(count))
    return Entry(**FILE | {"name": name, "size": 3 * count, "content": content, "sizes": [3] * count})


def read(*segments: bytes) -> list[Entry]:
    chest = Chest()
    content = b"".join(map(chest.put, segments))
    return list(chest.archive(chest.folder(b"", [])).folder(Entry(**FOLDER | {"content": content})))


def test_a_file_of_very_many_chunks_has_segments_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_files, "CHUNKS", 3)
    found = [Entry(**FILE | {"name": b"a"}), long(), long(b"long, too", 4), Entry(**FILE | {"name": b"z"})]
    segments = list(trees.encode_tree(found))
    assert len(segments) == 1 + 4 + 2 + 1
    assert read(*segments) == found
    assert list(trees.encode_tree(read(*segments))) == segments


def test_pieces_that_are_not_all_there_and_in_order_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_files, "CHUNKS", 3)
    one, two, three, four = trees.encode_tree([long()])
    other = list(trees.encode_tree([long(count=11)]))
    after = next(trees.encode_tree([Entry(**FILE | {"name": b"z"})]))
    for segments in (
        [one, two, three],
        [two, three, four],
        [one, three, two, four],
        [one, two, two, three, four],
        [one, two, after],
        [one, two, other[2], four],
        [after, one, two, three, four],
    ):
        with pytest.raises(Damaged):
            read(*segments)


@pytest.mark.parametrize("target", [b"t", bytes(40), b"\0\0\0\1" * 2 + bytes(32)])
def test_impossible_pieces_are_refused(target: bytes) -> None:
    with pytest.raises(Damaged):
        decoded(Entry(**FILE | {"sizes": [5], "target": target}))


def test_the_largest_files_have_segments_that_are_read_again() -> None:
    """At a MiB a chunk, a TiB: one segment for all of it was written, and refused by every reader."""
    whole = long(count=1 << 20)
    segments = list(trees.encode_tree([whole]))
    assert max(map(len, segments)) < trees.MAX_SEGMENT // 4
    assert read(*segments) == [whole]


def test_an_entry_that_no_reader_would_take_is_not_written() -> None:
    value = bytes(trees.MAX_XATTR_VALUE)
    with pytest.raises(StrongroomError, match="large: its extended attributes"):
        list(trees.encode_tree([Entry(**FILE | {"name": b"large", "xattrs": {b"user.a": value}})]))
