"""Archives as a tree that is read as it is entered."""

import stat

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chest import Chest, Tree
from strongroom.archive.browsing import (
    ArchiveFolder,
    Browser,
    Folder,
    Node,
    Top,
    VersionsFolder,
    View,
    entries_of,
    version_name,
)
from strongroom.archive.compact import CompactFolder
from strongroom.archive.entries import Entry
from strongroom.archive.patterns import PatternMatcher, Style, Verb, parse_pattern
from strongroom.commands.browsing import MOST_NAME, folder_name
from strongroom.errors import Damaged

FILES: Tree = {
    "a": {"one": b"1", "two": {"three": b"3", "four": b"4"}},
    "b": {"two": {"three": b"b3"}, "one": b"b1"},
    "top": b"t",
}


def only(*patterns: str) -> PatternMatcher:
    return PatternMatcher(include=[parse_pattern(one, Style.PREFIX, Verb.INCLUDE) for one in patterns])


def browser(
    chest: Chest, *roots: Entry, matcher: PatternMatcher | None = None, strip: int = 0, most: int = 1000
) -> Browser:
    """Of one archive; of several, their versions."""
    views = [
        View(chest.archive(root), matcher or PatternMatcher(), b"archive %d" % number)
        for number, root in enumerate(roots)
    ]
    kind = ArchiveFolder if len(roots) == 1 else VersionsFolder
    return Browser(Top(roots[0], b"key", kind, views, strip), most)


def shown(found: Browser, folder: Folder | None = None) -> Tree:
    """All of it, content included."""
    tree: Tree = {}
    for name, node in found.children(folder or found.root).items():
        if isinstance(node, Folder):
            tree[name.decode()] = shown(found, node)
        else:
            chunks = node.entry.chunks()
            tree[name.decode()] = b"".join(bytes(CHEST.chunks[chunk]) for chunk, _ in chunks)
    return tree


CHEST = Chest()


def test_an_archive_is_shown_as_it_is() -> None:
    assert shown(browser(CHEST, CHEST.tree(FILES))) == FILES


def test_folders_are_read_when_they_are_entered() -> None:
    chest = Chest()
    found = browser(chest, chest.tree(FILES))
    assert chest.was_read == []
    assert found.find(b"/b/two/three").entry.size == 2
    assert len(chest.was_read) == 3  # root, b, b/two
    found.find(b"/b/two")
    assert len(chest.was_read) == 3


def test_paths_that_lead_nowhere() -> None:
    found = browser(CHEST, CHEST.tree(FILES))
    for path in (b"/c", b"/a/none", b"/a/two/none/three"):
        with pytest.raises(FileNotFoundError):
            found.find(path)
    for path in (b"/top/x", b"/a/one/x/y"):
        with pytest.raises(NotADirectoryError):
            found.find(path)
    assert found.find(b"/") is found.find(b"") is found.root


@given(st.lists(st.sampled_from(["", "a", "b", "two", "one", "three", "..", "."]), max_size=5))
@example(["a", "one", ""])
def test_no_path_leads_out(names: list[str]) -> None:
    found = browser(CHEST, CHEST.tree(FILES))
    expected: bytes | Tree | None = FILES
    for name in filter(None, names):
        expected = expected.get(name) if isinstance(expected, dict) else None
    if names and not names[-1] and isinstance(expected, bytes):
        expected = None  # "file/" names no file
    try:
        node: Node | None = found.find("/".join(["", *names]).encode())
    except OSError:
        node = None
    assert (node is None) == (expected is None)


def test_memory_is_bounded_and_inode_numbers_survive() -> None:
    tree: Tree = {f"{number}": {f"{inner}": b"x" for inner in range(20)} for number in range(20)}
    found = browser(CHEST, CHEST.tree(tree), most=50)
    before = {
        name: found.find(b"/%d/%d" % name).inode for name in [(a, b) for a in range(20) for b in range(20)]
    }
    assert len(set(before.values())) == 400
    assert sum(len(one) + 1 for one in found._folders.values()) <= 50
    for name, inode in before.items():
        assert found.find(b"/%d/%d" % name).inode == inode


def test_a_huge_folder_stays_while_small_ones_are_looked_into() -> None:
    """Reading it anew for each of its links, which lead through small folders, would take hours."""
    huge = CHEST.folder(b"huge", [CHEST.file(b"%03d" % number, b"x") for number in range(100)])
    small = CHEST.folder(b"small", [CHEST.file(b"file", b"x")])
    found = browser(CHEST, CHEST.folder(b"", [huge, small]), most=50)
    before = found.children(folder_at(found, b"/huge"))
    for _ in range(3):
        found.find(b"/small/file")
        assert found.children(folder_at(found, b"/huge")) is before


def test_a_huge_folder_is_kept_as_it_is_stored_and_looks_as_any_other() -> None:
    names = [b"%06d" % number + b"-" * 240 for number in range(12_000)]
    entries = [CHEST.file(name, b"x", link=b"l" if number < 2 else None) for number, name in enumerate(names)]
    entries.append(CHEST.folder(b"~inner", [CHEST.file(b"file", b"y")]))
    found = browser(CHEST, CHEST.folder(b"", [CHEST.folder(b"huge", entries)]))
    huge = folder_at(found, b"/huge")
    inside = found.children(huge)
    assert isinstance(inside, CompactFolder) and len(inside) == 12_001
    assert list(inside) == [*names, b"~inner"]
    assert list(entries_of(inside)) == [(name, node.entry) for name, node in inside.items()]
    for number in (0, 5_000, 11_999):
        node = inside[names[number]]
        assert node.entry == entries[number]
        assert node.inode == found.find(b"/huge/" + names[number]).inode
        assert next(inside.since(number))[0] == names[number]
    assert inside[names[0]].inode == inside[names[1]].inode != inside[names[2]].inode
    assert found.find(b"/huge/~inner/file").entry.size == 1
    assert list(inside.since(12_001)) == []
    for name in (b"", b"000000", b"~inne", b"~~"):
        with pytest.raises(KeyError):
            inside[name]


def folder_at(found: Browser, path: bytes) -> Folder:
    node = found.find(path)
    assert isinstance(node, Folder)
    return node


def test_names_of_one_file_have_one_inode_number() -> None:
    inner = CHEST.folder(b"sub", [CHEST.file(b"c", b"x", link=b"1"), CHEST.file(b"d", b"x", link=b"2")])
    root = CHEST.folder(b"", [CHEST.file(b"a", b"x", link=b"1"), CHEST.file(b"b", b"x"), inner])
    found = browser(CHEST, root)
    inodes = {path: found.find(path).inode for path in (b"/a", b"/b", b"/sub/c", b"/sub/d")}
    assert inodes[b"/a"] == inodes[b"/sub/c"] and len(set(inodes.values())) == 3


def test_only_what_matches_is_shown() -> None:
    root = CHEST.tree(FILES)
    assert shown(browser(CHEST, root, matcher=only("a/two"))) == {"a": {"two": FILES["a"]["two"]}}  # type: ignore[index,call-overload]
    assert shown(browser(CHEST, root, matcher=only("sh:**/three"))) == {
        "a": {"two": {"three": b"3"}},
        "b": {"two": {"three": b"b3"}},
    }
    assert shown(browser(CHEST, root, matcher=only("nothing"))) == {}
    without = PatternMatcher([parse_pattern("a", Style.PREFIX, Verb.PRUNE)])
    assert set(shown(browser(CHEST, root, matcher=without))) == {"b", "top"}


def test_stripped_components_lay_folders_over_each_other() -> None:
    root = CHEST.tree(FILES)
    one = shown(browser(CHEST, root, strip=1))
    assert one == {"one": b"b1", "two": {"three": b"b3", "four": b"4"}}
    assert shown(browser(CHEST, root, strip=2)) == {"three": b"b3", "four": b"4"}
    assert shown(browser(CHEST, root, strip=9)) == {}
    assert shown(browser(CHEST, root, strip=1, matcher=only("a"))) == FILES["a"]


def test_the_later_entry_is_shown_where_a_path_is_a_file_and_a_folder() -> None:
    root = CHEST.tree({"a": {"x": {"in": b"a"}, "y": b"a"}, "b": {"x": b"b", "y": {"in": b"b"}}})
    assert shown(browser(CHEST, root, strip=1)) == {"x": b"b", "y": {"in": b"b"}}


def test_versions_are_numbered_by_their_first_appearance() -> None:
    trees: list[Tree] = [
        {"d": {"f.txt": b"1"}, "x": b"as a file"},
        {"d": {"f.txt": b"2"}},
        {"d": {"f.txt": b"1"}, "x": {"inside": b"i"}},
        {"d": {"f.txt": b"3", "new": b"n"}},
    ]
    found = shown(browser(CHEST, *map(CHEST.tree, trees)))
    assert found == {
        "d": {
            "f.txt": {"f.00001.txt": b"1", "f.00002.txt": b"2", "f.00003.txt": b"3"},
            "new": {"new.00001": b"n"},
        },
        "x": {"inside": {"inside.00001": b"i"}},
        "x~": {"x.00001": b"as a file"},
    }


def test_a_folder_that_stays_as_it_was_is_read_once_for_all_versions() -> None:
    chest = Chest()
    roots = [chest.tree({"same": {"f": b"1"}, "other": b"%d" % number}) for number in range(10)]
    found = browser(chest, *roots)
    assert len(found.children(found.find(b"/same"))) == 1  # type: ignore[arg-type]
    assert len(chest.was_read) == 11


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"a.txt", b"a.00007.txt"),
        (b"a.tar.gz", b"a.tar.00007.gz"),
        (b"a", b"a.00007"),
        (b".hidden", b".hidden.00007"),
        (b"..x", b"..x.00007"),
        (b"a.", b"a.00007."),
    ],
)
def test_version_names_are_borgs(name: bytes, expected: bytes) -> None:
    assert version_name(name, 7) == expected


@pytest.mark.parametrize("name", [b"..", b".", b"a/b", b"../../etc", b"a\0b", b""])
def test_a_tree_with_an_impossible_name_is_refused(name: bytes) -> None:
    root = CHEST.folder(b"", [Entry(name, stat.S_IFREG | 0o644, 0, 0, None, None, 0, 0, b"")])
    with pytest.raises(Damaged):
        browser(CHEST, root).find(b"/anything")


@given(st.binary(max_size=600))
def test_whatever_an_archive_is_called_its_folder_has_a_name(name: bytes) -> None:
    shown = folder_name(name)
    assert 0 < len(shown) <= MOST_NAME and shown not in (b".", b"..")
    assert b"/" not in shown and b"\0" not in shown
