"""A second run reads what changed and nothing else, and misses nothing."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from program import Program, clock_ahead, patterned
from treefacts import differences, facts


@pytest.fixture
def tree(src: Path) -> Path:
    for name in ("one", "two", "three"):
        (src / name).mkdir()
        for number in range(3):
            (src / name / f"file{number}").write_text(f"{name} {number}")
    (src / "big").write_bytes(patterned(3_000_000))
    return src


def no_reading() -> None:
    """For `before`: whoever opens a file of the source for its content fails the test."""
    clock_ahead()
    real = os.open

    def guarded(path: object, flags: int, *rest: int, **how: int) -> int:
        fd = real(path, flags, *rest, **how)  # type: ignore[call-overload]
        where = os.readlink(f"/proc/self/fd/{fd}")
        assert "/work/src" not in where or os.path.isdir(where), f"opened {where}"
        return int(fd)

    os.open = guarded  # type: ignore[assignment]


def create(
    program: Program, name: str, *words: str, before: Callable[[], None] = clock_ahead
) -> dict[str, str]:
    done = program("create", "--list", *words, f"::{name}", "src", before=before).ok()
    return {path: letter for path, letter in done.letters.items() if letter != "d"}


def same(program: Program, archive: str) -> None:
    assert differences(facts(program.cwd / "src"), facts(program.extract(archive) / "src")) == []


def test_unchanged_files_are_neither_read_nor_opened(sr: Program, tree: Path) -> None:
    assert set(create(sr, "a").values()) == {"A"}
    size = sr.stored()
    assert set(create(sr, "b", before=no_reading).values()) == {"U"}
    assert sr.stored() == size
    same(sr, "b")


def named(program: Program, archive: str, *words: str, stdin: bytes = b"") -> dict[str, str]:
    return program("create", "--list", f"::{archive}", *words, stdin=stdin, before=clock_ahead).ok().letters


def test_a_file_that_is_named_itself_is_not_read_again(sr: Program, tree: Path) -> None:
    """On the command line, or in a list of paths: a disk image, say."""
    files = {"src/big": "A", "src/one/file1": "A"}
    assert named(sr, "a", *files) == files
    unchanged = dict.fromkeys(files, "U")
    assert named(sr, "b", *files) == unchanged
    listed = "\n".join(files).encode()
    assert named(sr, "c", "--paths-from-stdin", stdin=listed) == unchanged
    # another run in between that knows nothing of them, and paths that are written otherwise
    named(sr, "d", "src/two")
    assert named(sr, "e", str(tree / "big")) == {f"{tree}/big": "U"}
    times = (tree / "big").stat()
    (tree / "big").write_bytes(patterned(3_000_000, 7))
    os.utime(tree / "big", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert named(sr, "f", *files) == {"src/big": "M", "src/one/file1": "U"}
    out = sr.extract("f")
    assert (out / "src/big").read_bytes() == (tree / "big").read_bytes()
    assert (out / "src/one/file1").read_text() == "one 1"
    assert named(sr, "g", "--files-cache=disabled", "src/big") == {"src/big": "A"}
    sr("check", "--verify-data").ok()


def test_what_a_named_file_held_is_not_believed_once_it_is_freed(sr: Program, tree: Path) -> None:
    named(sr, "a", "src/big")
    sr("delete", "::a").ok()
    sr("compact", "--quarantine", "0").ok()
    named(sr, "b", "src/big")
    sr("check", "--verify-data").ok()
    assert (sr.extract("b") / "src/big").read_bytes() == (tree / "big").read_bytes()


def changed(program: Program, tree: Path, change: Callable[[], object], *words: str) -> dict[str, str]:
    """Letters that are not U of a run after a change."""
    create(program, "before", *words)
    change()
    found = create(program, "after", *words)
    same(program, "after")
    program("check", "--verify-data").ok()
    return {path: letter for path, letter in found.items() if letter != "U"}


def test_a_changed_file_is_the_only_one_read(sr: Program, tree: Path) -> None:
    assert changed(sr, tree, lambda: (tree / "two" / "file1").write_text("other")) == {"src/two/file1": "M"}


def test_a_new_and_a_removed_file(sr: Program, tree: Path) -> None:
    def change() -> None:
        (tree / "two" / "new").write_text("new")
        (tree / "two" / "file1").unlink()

    assert changed(sr, tree, change) == {"src/two/new": "A"}


def test_new_mode_owner_and_attribute_are_stored(sr: Program, tree: Path) -> None:
    def change() -> None:
        os.chmod(tree / "one" / "file0", 0o600)
        os.setxattr(tree / "one" / "file1", "user.x", b"1")
        os.utime(tree / "one" / "file2", ns=(1, 2))
        os.chmod(tree / "three", 0o711)
        os.setxattr(tree / "two", "user.y", b"2")
        os.utime(tree / "two", ns=(3, 4))

    assert set(changed(sr, tree, change)) == {f"src/one/file{number}" for number in range(3)}


def test_a_renamed_file_and_folder(sr: Program, tree: Path) -> None:
    def change() -> None:
        (tree / "one" / "file0").rename(tree / "one" / "renamed")
        (tree / "three").rename(tree / "four")

    found = changed(sr, tree, change)
    assert set(found) >= {"src/one/renamed"} and not any(path.startswith("src/two") for path in found)


def test_two_files_that_swap_names(sr: Program, tree: Path) -> None:
    def change() -> None:
        os.rename(tree / "one" / "file0", tree / "one" / "x")
        os.rename(tree / "one" / "file1", tree / "one" / "file0")
        os.rename(tree / "one" / "x", tree / "one" / "file1")

    assert set(changed(sr, tree, change)) == {"src/one/file0", "src/one/file1"}


@pytest.mark.parametrize(
    "mode", ["ctime,size,inode", "ctime,size", "mtime,size,inode", "rechunk,ctime", "disabled"]
)
def test_a_replaced_file_of_the_same_size_and_mtime(sr: Program, tree: Path, mode: str) -> None:
    file = tree / "one" / "file0"

    def change() -> None:
        was = file.stat()
        (tree / "other").write_text("ONE 0")
        os.utime(tree / "other", ns=(was.st_atime_ns, was.st_mtime_ns))
        os.rename(tree / "other", file)

    assert "src/one/file0" in changed(sr, tree, change, "--files-cache", mode)


@pytest.mark.parametrize(
    ("mode", "letters"),
    [
        ("ctime,size,inode", "U"),
        ("ctime,size", "U"),
        ("mtime,size,inode", "U"),
        ("mtime,size", "U"),
        ("disabled", "AM"),
        ("rechunk,ctime", "AM"),
        ("rechunk,mtime", "AM"),
    ],
)
def test_all_modes_of_the_files_cache(sr: Program, tree: Path, mode: str, letters: str) -> None:
    create(sr, "a", "--files-cache", mode)
    assert set(create(sr, "b", "--files-cache", mode).values()) <= set(letters)
    same(sr, "b")


def test_by_mtime_a_chmod_costs_no_reading(sr: Program, tree: Path) -> None:
    create(sr, "a", "--files-cache", "mtime,size")
    os.chmod(tree / "big", 0o600)
    assert create(sr, "b", "--files-cache", "mtime,size")["src/big"] == "U"
    same(sr, "b")


def test_a_file_that_was_backed_up_when_it_was_young_is_modified_later_not_added(
    sr: Program, tree: Path
) -> None:
    sr("create", "::a", "src").ok()
    (tree / "one" / "file0").write_text("other")
    found = create(sr, "b")
    assert found["src/one/file0"] == "M" and "A" not in found.values()


def test_a_change_within_one_tick_of_the_clock_is_not_missed(sr: Program, tree: Path) -> None:
    """The file looks the same, to the nanosecond: only that it was young tells to look again."""
    file = tree / "one" / "file0"
    sr("create", "::a", "src").ok()  # the clock is not ahead: the files are just made
    was = file.stat()
    with open(file, "r+") as stream:
        stream.write("ONE")
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    record = create(sr, "b", "--files-cache", "mtime,size,inode")
    assert record["src/one/file0"] != "U"
    same(sr, "b")


def test_a_lost_cache_costs_reading_and_no_space(sr: Program, tree: Path) -> None:
    create(sr, "a")
    size = sr.stored()
    sr.lose_cache()
    create(sr, "b")
    assert sr.stored() - size < 3000
    same(sr, "b")
    assert set(create(sr, "c", before=no_reading).values()) == {"U"}


@pytest.mark.parametrize("rubbish", [b"", b"rubbish", bytes(100_000), None])
def test_a_damaged_cache_is_made_anew(sr: Program, tree: Path, rubbish: bytes | None) -> None:
    create(sr, "a")
    (cache,) = sr.caches()
    data = cache / "data.mdb"
    if rubbish is None:
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    else:
        data.write_bytes(rubbish)
    done = sr("create", "::b", "src", before=clock_ahead)
    assert done.code == 0, done.err
    same(sr, "b")
    sr("check", "--verify-data").ok()


def test_the_cache_of_another_repository_is_not_believed(sr: Program, tree: Path) -> None:
    create(sr, "a")
    (first,) = sr.caches()
    env = {"STRONGROOM_REPO": str(sr.root / "repo2")}
    sr("init", "-e", "repokey", env=env).ok()
    (second,) = set(sr.caches()) - {first}
    shutil.copy(first / "data.mdb", second / "data.mdb")
    sr("create", "::b", "src", env=env, before=clock_ahead).ok()
    sr("check", "--verify-data", env=env).ok()
    sr("list", "::b", env=env).ok()


def test_archives_of_a_deleted_repository_are_not_believed(sr: Program, tree: Path) -> None:
    create(sr, "a")
    shutil.rmtree(sr.repo)
    sr("init", "-e", "repokey").ok()
    create(sr, "a")
    same(sr, "a")
    sr("check", "--verify-data").ok()


def test_options_have_their_effect_though_nothing_changed(sr: Program, tree: Path) -> None:
    os.setxattr(tree / "one" / "file0", "user.x", b"1")
    os.link(tree / "one" / "file0", tree / "two" / "link")
    create(sr, "with")
    create(sr, "without", "--noxattrs")
    create(sr, "again")
    assert "user.x" not in os.listxattr(sr.extract("without") / "src/one/file0")
    assert "user.x" in os.listxattr(sr.extract("again") / "src/one/file0")
    create(sr, "fewer", "--exclude", "*/file1")
    assert not [path for path in sr.paths("fewer") if "file1" in path]
    create(sr, "by-pattern", "--pattern", "- src/two")
    assert not [path for path in sr.paths("by-pattern") if "two" in path]
    create(sr, "full")
    assert sr.paths("full") == sr.paths("with")
    create(sr, "numbers", "--numeric-ids")
    create(sr, "named")

    def owners(archive: str) -> list[str]:
        return sr("list", f"::{archive}", "--format", "{user} {uid}{NL}").ok().out.splitlines()

    assert owners("named") == owners("with") and owners("numbers") != owners("with")
    sr("create", "--atime", "::atime", "src", before=clock_ahead).ok()
    times = sr("list", "::atime", "src/big", "--format", "{atime}").ok().out
    assert times


def test_the_same_folder_by_other_names(sr: Program, tree: Path) -> None:
    """Relative, absolute and through another folder: each archive has the paths it was asked for."""
    sr("create", "::a", "src", before=clock_ahead).ok()
    sr("create", "::b", str(tree), before=clock_ahead).ok()
    sr("create", "::c", ".", cwd=tree, before=clock_ahead).ok()
    sr("create", "::d", f"{tree}/./one", before=clock_ahead).ok()
    assert "src/one/file0" in sr.paths("a")
    assert os.fspath(tree)[1:] + "/one/file0" in sr.paths("b")
    assert {".", "one/file0"} <= set(sr.paths("c"))
    assert sr.paths("d") == ["one", "one/file0", "one/file1", "one/file2"]


def test_a_hard_link_made_later(sr: Program, tree: Path) -> None:
    assert changed(sr, tree, lambda: os.link(tree / "big", tree / "one" / "big2"))
    links = facts(sr.extract("after") / "src")
    assert links[b"big"]["links"] == [b"big", b"one/big2"]


def test_a_hard_link_whose_other_name_is_in_an_unchanged_folder(sr: Program, tree: Path) -> None:
    os.link(tree / "one" / "file0", tree / "two" / "linked")

    assert changed(sr, tree, lambda: (tree / "two" / "more").write_text("x")).keys() >= {"src/two/more"}


def test_a_folder_that_became_a_file_and_back(sr: Program, tree: Path) -> None:
    def change() -> None:
        shutil.rmtree(tree / "one")
        (tree / "one").write_text("now a file")
        (tree / "big").unlink()
        (tree / "big").mkdir()
        (tree / "big" / "in").write_text("x")

    changed(sr, tree, change)


def test_many_runs_keep_the_cache_small(sr: Program, tree: Path) -> None:
    start = time.monotonic()
    for number in range(20):
        (tree / "one" / "file0").write_text(str(number))
        sr("create", f"::{number}", "src", before=clock_ahead).ok()
    assert time.monotonic() - start < 60
    (cache,) = sr.caches()
    assert (cache / "data.mdb").stat().st_size < 8_000_000
    same(sr, "19")


def test_holes_and_hard_links_are_not_read_again_beside_what_changed(sr: Program, tree: Path) -> None:
    """A file with holes has chunks that are stored nowhere, and only the first name of an inode is known."""
    with open(tree / "one" / "sparse", "wb") as stream:
        stream.truncate(1 << 20)
        stream.seek(700_000)
        stream.write(b"data")
    os.link(tree / "one" / "file0", tree / "one" / "again")
    found = changed(sr, tree, lambda: (tree / "one" / "new").write_text("new"))
    assert found == {"src/one/new": "A", "src/one/file0": "h"}
