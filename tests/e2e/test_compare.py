"""`compare` tells what happened on the disk since the archive was made, and nothing else."""

import os
import shutil
from pathlib import Path

import pytest

from program import Program, patterned
from strongroom.archive.disk import DiskReader
from strongroom.archive.options import Attributes
from strongroom.archive.platform.owners import Owners

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def tree(sr: Program, src: Path) -> Path:
    (src / "folder/inner").mkdir(parents=True)
    (src / "folder/file").write_bytes(patterned(3_000_000))
    (src / "folder/inner/x").write_text("x")
    (src / "link").symlink_to("folder")
    os.mkfifo(src / "pipe")
    (src / "empty").touch()
    (src / os.fsdecode(b"n\xff")).write_text("odd name")
    with (src / "sparse").open("wb") as file:
        file.seek(50_000_000)
        file.write(b"end")
    os.setxattr(src / "empty", "user.kept", b"1")
    sr("create", "::a", "src").ok()
    return src


def told(program: Program, *words: str) -> set[str]:
    done = program("compare", *words).ok()
    assert done.err == ""
    return set(done.out.splitlines())


def test_what_is_as_it_was_is_not_told(sr: Program, tree: Path) -> None:
    assert told(sr, "::a", "--content", "--ctime") == set()
    place = sr.extract("a")
    assert told(sr, "::a", str(place), "--content") == set()
    assert told(sr, "::a", str(place), "--ctime") != set()  # nobody can set that back


def test_each_change_is_told(sr: Program, tree: Path) -> None:
    shutil.rmtree(tree / "folder/inner")
    (tree / "new/deep").mkdir(parents=True)
    (tree / "new/deep/y").write_text("yy")
    (tree / "link").unlink()
    (tree / "link").symlink_to("elsewhere")
    (tree / "empty").chmod(0o600)
    os.setxattr(tree / "empty", "user.came", b"1")
    (tree / "pipe").unlink()
    os.truncate(tree / "folder/file", 10)
    (tree / os.fsdecode(b"n\xff")).unlink()
    lines = told(sr, "::a", "--format", "{content}{link}{directory}{fifo}{mode}{xattrs} {path}{NL}")
    assert lines == {
        " src", " src/folder", "modified src/folder/file", "removed directory src/folder/inner",
        "removed         1 B src/folder/inner/x", "added directory src/new", "added directory src/new/deep",
        "added           2 B src/new/deep/y", "changed link src/link", "removed fifo src/pipe",
        "[-rw-r--r-- -> -rw-------][xattrs: user.came] src/empty", "removed         8 B src/n?",
    }  # fmt: skip
    only = ["--pattern", "+pf:src/empty", "--pattern=-**"]
    assert told(sr, "::a", *only) == {"[-rw-r--r-- -> -rw-------] [xattrs: user.came] src/empty"}
    assert told(sr, "::a", "--noxattrs", *only) == {"[-rw-r--r-- -> -rw-------] src/empty"}
    assert not any(
        "new" in line or "inner" in line for line in told(sr, "::a", "-e", "src/new", "-e", "*/inner")
    )


def test_a_changed_byte_behind_unchanged_looks_needs_content(sr: Program, tree: Path) -> None:
    for name, at in (("folder/file", 2_000_000), ("sparse", 1_000_000)):
        status = (tree / name).stat()
        with (tree / name).open("r+b") as file:
            file.seek(at)
            file.write(b"!")
        os.utime(tree / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert told(sr, "::a") == set()
    both = {"modified            src/folder/file", "modified            src/sparse"}
    assert told(sr, "::a", "--content") == both
    assert told(sr, "::a", "--content-only") == both
    assert len(told(sr, "::a", "--ctime")) == 2


def test_a_file_that_became_a_folder_and_back_is_told_with_what_is_in_it(sr: Program, tree: Path) -> None:
    (tree / "empty").unlink()
    (tree / "empty").mkdir()
    (tree / "empty/z").touch()
    shutil.rmtree(tree / "folder/inner")
    (tree / "folder/inner").touch()
    lines = told(sr, "::a", "--content-only")
    assert lines == {
        "[-rw-r--r-- -> drwxr-xr-x] src/empty", "added           0 B src/empty/z",
        "[drwxr-xr-x -> -rw-r--r--] src/folder/inner", "removed         1 B src/folder/inner/x",
    }  # fmt: skip


def test_beside_what_was_backed_up_nothing_is_looked_at(sr: Program, tree: Path) -> None:
    sr("create", "::b", tree / "folder/inner").ok()  # an absolute path: its folders are implied
    (tree / "folder/inner/y").touch()
    lines = told(sr, "::b", "--content-only")
    assert lines == {f"added           0 B {str(tree)[1:]}/folder/inner/y"}


def test_an_archive_of_the_working_folder_is_compared_with_it(sr: Program, tree: Path) -> None:
    sr("create", "::here", ".", cwd=tree / "folder").ok()
    (tree / "folder/inner/x").chmod(0o600)
    assert told(sr, "::here") == {"[-rw-r--r-- -> -rw-------] inner/x"}
    shutil.move(tree, sr.cwd / "moved")
    assert "name the folder" in sr("compare", "::a").sentence()
    assert "no such" in sr("compare", "::a", "no such").sentence()


@needs_root
def test_what_cannot_be_read_is_a_warning(sr: Program, tree: Path, user: Program) -> None:
    (user.cwd / "src/secret").mkdir(parents=True)
    (user.cwd / "src/secret/x").touch()
    user("create", "::a", "src").ok()
    for path in (user.cwd / "src", user.cwd / "src/secret"):
        os.chown(path, 65534, 65534)
    (user.cwd / "src/secret").chmod(0o000)
    done = user("compare", "::a", "--content-only")
    assert done.code == 1 and "src/secret" in done.err and "removed" not in done.out


def test_deeper_than_any_path_can_be(sr: Program, src: Path) -> None:
    fd = os.open(src, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("n" * 120, dir_fd=fd)
        inner = os.open("n" * 120, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    sr("create", "::a", "src").ok()
    os.close(os.open("last", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    (line,) = told(sr, "::a", "--content-only")
    assert line.endswith("n/last") and len(line) > 7000


def test_what_is_the_same_in_a_huge_folder_is_let_go(tmp_path: Path) -> None:
    """Only names are held of what is on the disk: an entry is made when it is asked for."""
    for number in range(3):
        (tmp_path / f"{number}").write_text("x")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        listed = DiskReader(Attributes(), Owners(), lambda _: None).entries(folder, None)
        assert next(listed)[0].name == b"0"
        (tmp_path / "1").unlink()
        (tmp_path / "2").write_text("longer")
        assert [(entry.name, status.st_size) for entry, status in listed] == [(b"2", 6)]
    finally:
        os.close(folder)
