"""What becomes one path where --strip-components cuts off what paths differ in: the later entry wins."""

import io
import os
import random
import subprocess
import tarfile
from pathlib import Path

import pytest

from program import Program
from treefacts import facts
from zoo import IMMUTABLE, set_flags

Content = bytes | dict[str, "Content"]  # of a file (a link's begins with ">"), or a folder


def make(top: Path, tree: dict[str, Content]) -> None:
    top.mkdir(parents=True)
    for name, content in tree.items():
        if isinstance(content, dict):
            make(top / name, content)
        elif content.startswith(b">"):
            os.symlink(content[1:], os.fsencode(top / name))
        else:
            (top / name).write_bytes(content)


def read(top: Path) -> dict[str, Content]:
    found: dict[str, Content] = {}
    for path in top.iterdir():
        if path.is_symlink():
            found[path.name] = b">" + os.fsencode(os.readlink(path))
        else:
            found[path.name] = read(path) if path.is_dir() else path.read_bytes()
    return found


def laid(below: dict[str, Content], above: dict[str, Content], kept: list[str], at: str = "") -> None:
    """Lay one tree over another, an entry after the other; `kept` are folders that nothing replaced."""
    for name in sorted(above):
        old, new = below.get(name), above[name]
        if isinstance(new, dict):
            if not isinstance(old, dict):
                old = below[name] = {}
            laid(old, new, kept, f"{at}{name}/")
        elif isinstance(old, dict) and old:
            kept.append(f"{at}{name}")
        else:
            below[name] = new


def imagined(chance: random.Random, depth: int = 3) -> dict[str, Content]:
    made: dict[str, Content] = {}
    for name in chance.sample("abcd", chance.randrange(5)):
        kind = chance.randrange(5)
        if kind == 0:
            made[name] = b">%d" % chance.randrange(9)
        elif kind < 3 and depth:
            made[name] = imagined(chance, depth - 1)
        else:
            made[name] = b"%d" % chance.randrange(10**6) * chance.choice((0, 1, 3000))
    return made


@pytest.mark.parametrize("seed", range(12))
def test_any_trees_are_laid_over_each_other_in_the_order_of_the_archive(
    sr: Program, src: Path, seed: int
) -> None:
    chance = random.Random(seed)
    expected: dict[str, Content] = {}
    kept: list[str] = []
    for number in range(30):
        tree = imagined(chance)
        make(src / f"{number:02}", tree)
        laid(expected, tree, kept)
    sr("create", "::a", "src").ok()
    place = sr.root / "out"
    place.mkdir()
    done = sr("extract", "--to", place, "--strip-components", "2", "::a")
    assert read(place) == expected
    told = sorted(line.split("/", 2)[2] for line in done.err.splitlines())
    assert told == sorted(f"{one}: not restored: a folder that is not empty is in its place" for one in kept)
    assert done.code == bool(kept)
    # over what is there, again, and with what is equal kept
    assert sr("extract", "--continue", "--to", place, "--strip-components", "2", "::a").code == bool(kept)
    assert read(place) == expected


def test_the_last_of_very_many_files_wins(sr: Program, src: Path) -> None:
    for number in range(400):
        name = "empty" if number % 3 else "other"
        make(
            src / f"{number:03}",
            {"file": b"%d" % number * 2000, name: b"", "inner": {"file": b"%d" % number}},
        )
    sr("create", "::a", "src").ok()
    place = sr.extract("a", "--strip-components", "2")
    assert read(place) == {"file": b"399" * 2000, "empty": b"", "other": b"", "inner": {"file": b"399"}}


@pytest.fixture
def linked(sr: Program, src: Path) -> Program:
    make(src / "a", {"x": b"first", "same": b"same"})
    make(src / "b", {"x": b"other"})
    make(src / "c", {})
    for old, new in (("a/x", "a/y"), ("a/x", "c/z"), ("a/same", "b/same"), ("a/same", "c/too")):
        os.link(src / old, src / new)
    sr("create", "::a", "src").ok()
    return sr


LINKED: dict[str, Content] = {"x": b"other", "y": b"first", "z": b"first", "same": b"same", "too": b"same"}


def test_no_link_leads_to_what_took_its_first_names_place(linked: Program) -> None:
    place = linked.extract("a", "--strip-components", "2")
    assert read(place) == LINKED
    inodes = {path.name: path.stat().st_ino for path in place.iterdir()}
    assert inodes["y"] == inodes["z"] and inodes["same"] == inodes["too"]
    linked("extract", "--continue", "--strip-components", "2", "::a", cwd=place).ok()
    assert read(place) == LINKED


def test_a_file_whose_only_name_was_taken_is_restored_again(sr: Program, src: Path) -> None:
    make(src / "a", {"x": b"first"})
    make(src / "b", {"x": b"other"})
    make(src / "c", {})
    os.link(src / "a/x", src / "c/y")
    os.link(src / "a/x", src / "c/z")
    sr("create", "::a", "src").ok()
    expected: dict[str, Content] = {"x": b"other", "y": b"first", "z": b"first"}
    place = sr.extract("a", "--strip-components", "2")
    assert read(place) == expected
    assert (place / "y").stat().st_ino == (place / "z").stat().st_ino
    tar = sr("export-tar", "--strip-components", "2", "::a", "-").ok().raw
    assert unpacked(tar, sr.root / "from-tar") == expected


def unpacked(tar: bytes, place: Path) -> dict[str, Content]:
    place.mkdir()
    subprocess.run(["tar", "-x", "-C", place], input=tar, check=True)
    return read(place)


def test_a_tar_archive_unpacks_to_the_same(linked: Program) -> None:
    done = linked("export-tar", "--strip-components", "2", "--list", "::a", "-").ok()
    assert "src/b/same" in done.err.splitlines()
    assert unpacked(done.raw, linked.root / "from-tar") == LINKED
    with tarfile.open(fileobj=io.BytesIO(done.raw)) as members:
        links = {one.name: one.linkname for one in members if one.islnk()}
    assert links == {"y": "x", "z": "y", "too": "same"}


@pytest.mark.skipif(os.geteuid() != 0, reason="flags need root")
def test_flags_stay_with_their_file(linked: Program, src: Path) -> None:
    try:
        set_flags(src / "a/x", IMMUTABLE)
    except OSError:
        pytest.skip("the file system has no flags")
    linked("create", "::flagged", "src").ok()
    set_flags(src / "a/x", 0)
    place = linked.root / "out"
    place.mkdir()
    linked("extract", "--to", place, "--strip-components", "2", "::flagged").ok()
    assert read(place) == LINKED
    found = facts(place)
    assert [found[one]["flags"] for one in (b"x", b"y", b"z")] == [0, IMMUTABLE, IMMUTABLE]


def test_a_folder_closed_to_its_owner_takes_what_is_laid_over_it(user: Program) -> None:
    make(user.cwd / "src" / "a", {"d": {"one": b"1"}})
    make(user.cwd / "src" / "b", {"d": {"two": b"2"}})
    subprocess.run(["chown", "-R", "--reference", user.cwd, user.cwd / "src"], check=True)
    os.chmod(user.cwd / "src/a/d", 0o500)
    user("create", "::a", "src").ok()
    place = user.cwd / "out"
    place.mkdir()
    os.chown(place, user.cwd.stat().st_uid, -1)
    user("extract", "--to", place, "--strip-components", "2", "::a").ok()
    assert read(place) == {"d": {"one": b"1", "two": b"2"}}
