"""A scout spares an unchanged run its listings, and nothing that changed is missed for it."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from program import Program, clock_ahead
from strongroom.archive import scouting
from strongroom.archive.exploring import Explorer
from strongroom.archive.scouting import Report, Scout
from treefacts import differences, facts


@pytest.fixture
def tree(src: Path) -> Path:
    for name in ("one", "one/inner", "two", "three"):
        (src / name).mkdir()
        for number in range(3):
            (src / name / f"file{number}").write_text(f"{name} {number}")
    (src / "one" / "link").symlink_to("file0")
    os.link(src / "one" / "file1", src / "two" / "linked")
    return src


def create(program: Program, name: str, *words: str, before: Callable[[], None] = clock_ahead) -> None:
    program("create", *words, f"::{name}", "src", before=before).ok()


def same(program: Program, archive: str) -> None:
    assert differences(facts(program.cwd / "src"), facts(program.extract(archive) / "src")) == []


def no_listing() -> None:
    """For `before`: the program itself, unlike its scout, fails the test where it lists a folder."""
    clock_ahead()
    own, real = os.getpid(), os.scandir

    def guarded(folder: object) -> object:
        where = os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) else ""
        assert os.getpid() != own or "/work/src" not in where, f"listed {where}"
        return real(folder)  # type: ignore[call-overload]

    os.scandir = guarded  # type: ignore[assignment]


def test_an_unchanged_run_lists_nothing_itself(sr: Program, tree: Path) -> None:
    create(sr, "a")
    create(sr, "b", before=no_listing)
    same(sr, "b")
    before, after = (
        sr("info", "--json", f"::{name}").ok().json["archives"][0]["stats"]["nfiles"] for name in ("a", "b")
    )
    assert before == after == 13


def in_place(path: Path) -> None:
    """Another content of the same size and mtime."""
    was = path.stat()
    path.write_text(path.read_text().swapcase())
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def swap(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "in").write_text("in")


def into_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("a file")


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(path.parent)  # names of sockets are short
        one.bind(path.name)
        os.chdir(here)


CHANGES: dict[str, Callable[[Path], object]] = {
    "content in place": lambda src: in_place(src / "one/inner/file0"),
    "longer": lambda src: (src / "two/file0").write_text("longer than it was"),
    "new file": lambda src: (src / "three/new").write_text("new"),
    "removed file": lambda src: (src / "three/file0").unlink(),
    "renamed file": lambda src: (src / "three/file1").rename(src / "three/renamed"),
    "swapped files": lambda src: swap(src / "two/file1", src / "two/file2"),
    "mode": lambda src: (src / "one/file0").chmod(0o600),
    "owner": lambda src: os.chown(src / "one/file0", 12345, 12345),
    "attribute": lambda src: os.setxattr(src / "one/inner/file1", "user.x", b"1"),
    "mtime": lambda src: os.utime(src / "one/inner/file2", ns=(1, 2)),
    "hard link": lambda src: os.link(src / "one/file2", src / "three/linked"),
    "one name less": lambda src: (src / "two/linked").unlink(),
    "another target": lambda src: ((src / "one/link").unlink(), (src / "one/link").symlink_to("file2")),
    "fifo": lambda src: os.mkfifo(src / "two/fifo"),
    "socket": lambda src: listen(src / "two/socket"),
    "mode of a folder": lambda src: (src / "one/inner").chmod(0o711),
    "attribute of a folder": lambda src: os.setxattr(src / "one/inner", "user.y", b"2"),
    "mtime of a folder": lambda src: os.utime(src / "one", ns=(3, 4)),
    "mode of the source": lambda src: src.chmod(0o711),
    "new folder": lambda src: shutil.copytree(src / "one/inner", src / "one/another"),
    "empty folder": lambda src: (src / "empty").mkdir(),
    "renamed folder": lambda src: (src / "one/inner").rename(src / "one/a"),
    "swapped folders": lambda src: swap(src / "two", src / "three"),
    "file to folder": lambda src: into_folder(src / "three/file0"),
    "folder to file": lambda src: into_file(src / "one/a"),
    "removed folder": lambda src: shutil.rmtree(src / "three"),
}


def test_every_kind_of_change_is_seen(sr: Program, tree: Path) -> None:
    """One after the other, each in a tree that is unchanged otherwise."""
    create(sr, "start")
    for number, (kind, change) in enumerate(CHANGES.items()):
        change(tree)
        create(sr, str(number))
        found = differences(facts(tree), facts(sr.extract(str(number)) / "src"))
        assert found == [], kind
    sr("check", "--verify-data").ok()


def test_a_change_right_after_a_run_is_seen(sr: Program, tree: Path) -> None:
    """The clock is not ahead: the last run saw files that were just made."""
    create(sr, "a", before=lambda: None)
    in_place(tree / "one" / "file0")
    create(sr, "b", before=lambda: None)
    same(sr, "b")


def test_options_and_patterns_of_another_run_count(sr: Program, tree: Path) -> None:
    os.setxattr(tree / "one" / "file0", "user.x", b"1")
    create(sr, "full")
    create(sr, "fewer", "-e", "*/inner", "-e", "*/file2")
    assert not [path for path in sr.paths("fewer") if "inner" in path or "file2" in path]
    create(sr, "fewer again", "-e", "*/inner", "-e", "*/file2", before=no_listing)
    assert sr.paths("fewer again") == sr.paths("fewer")
    only = ("--pattern", "+ src/two/file0", "--pattern", "- src/two")
    create(sr, "one of it", *only)
    create(sr, "one of it again", *only, before=no_listing)
    assert "src/two/file0" in sr.paths("one of it") and "src/two/file1" not in sr.paths("one of it")
    assert sr.paths("one of it again") == sr.paths("one of it")
    (tree / "two" / "file0").unlink()
    create(sr, "none of it", *only)
    assert not [path for path in sr.paths("none of it") if "two" in path]
    (tree / "two" / "file0").write_text("there again")
    create(sr, "without", "--noxattrs")
    assert "user.x" not in os.listxattr(sr.extract("without") / "src/one/file0")
    (tree / "two" / ".nobackup").write_text("")
    create(sr, "tagged", "--exclude-if-present", ".nobackup")
    assert not [path for path in sr.paths("tagged") if path.startswith("src/two")]
    create(sr, "again")
    same(sr, "again")


@pytest.mark.parametrize(
    "mode", ["ctime,size", "mtime,size,inode", "mtime,size", "rechunk,ctime", "disabled"]
)
def test_every_mode_of_the_files_cache(sr: Program, tree: Path, mode: str) -> None:
    create(sr, "a", "--files-cache", mode)
    (tree / "one" / "inner" / "file0").write_text("longer than it was")
    create(sr, "b", "--files-cache", mode)
    same(sr, "b")


def dies(after: int) -> Callable[[], None]:
    """For `before`: the scout ends without a word on its way."""

    def prepare() -> None:
        clock_ahead()
        real, entered = Explorer._enter, iter(range(1000))

        def enter(self: Explorer, *words: object) -> object:
            if next(entered) == after:
                os._exit(1)
            return real(self, *words)  # type: ignore[arg-type]

        Explorer._enter = enter  # type: ignore[assignment,method-assign]

    return prepare


def without_processes() -> None:
    def fork() -> int:
        raise BlockingIOError("no more processes")

    clock_ahead()
    os.fork = fork


def slow() -> None:
    """Every report is too old when it arrives."""
    clock_ahead()
    scouting.FRESH_S = -1.0


@pytest.mark.parametrize("trouble", [dies(0), dies(2), without_processes, slow])
def test_nothing_depends_on_the_scout(sr: Program, tree: Path, trouble: Callable[[], None]) -> None:
    create(sr, "a")
    in_place(tree / "three" / "file0")
    create(sr, "b", before=trouble)
    same(sr, "b")


def meanwhile(path: bytes, change: Callable[[], object]) -> Callable[[], None]:
    """For `before`: something changes after the scout was there, and before the walk is."""

    def prepare() -> None:
        clock_ahead()
        real = Scout.report

        def report(self: Scout, asked: bytes, depth: int) -> Report | None:
            found = real(self, asked, depth)
            if asked == path:
                assert found is not None
                change()
            return found

        Scout.report = report  # type: ignore[method-assign]

    return prepare


@pytest.mark.parametrize(
    ("change", "besides"),
    [
        (lambda one: (one / "file0").write_text("longer than it was"), False),
        (lambda one: (one / "file0").write_text("longer than it was"), True),
        (lambda one: into_folder(one / "file0"), True),
        (lambda one: into_file(one / "inner"), False),
        (lambda one: into_file(one / "inner"), True),
        (lambda one: (one / "more").mkdir(), True),
        (shutil.rmtree, False),
        (shutil.rmtree, True),
        (into_file, True),
    ],
)
def test_what_changes_behind_the_scout_is_in_the_next_archive(
    sr: Program, tree: Path, change: Callable[[Path], object], besides: bool
) -> None:
    """`besides`: the folder has to be listed after all, as something below it changed before."""
    create(sr, "a")
    if besides:
        in_place(tree / "one" / "inner" / "file0")
    done = sr("create", "::b", "src", before=meanwhile(b"src/one", lambda: change(tree / "one")))
    assert done.code in (0, 1) and "Traceback" not in done.err
    sr("check", "--verify-data").ok()
    create(sr, "c")
    same(sr, "c")


def test_a_change_deep_below_is_seen_in_the_same_run(sr: Program, tree: Path) -> None:
    create(sr, "a")
    change = meanwhile(b"src/one", lambda: in_place(tree / "one" / "inner" / "file0"))
    create(sr, "b", before=change)
    create(sr, "c")
    same(sr, "c")


def test_the_repository_inside_of_the_source_is_left_out(sr: Program, tree: Path) -> None:
    inside = tree / "two" / "repo"
    shutil.copytree(sr.repo, inside)
    create(sr, "a")  # the copy is no repository that is in use
    shutil.rmtree(inside)
    sr.repo.rename(inside)
    answers = {"STRONGROOM_REPO": str(inside), "STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
    for name in ("b", "c"):
        sr("create", f"::{name}", "src", env=answers, before=clock_ahead).ok()
        listed = sr("list", "--short", f"::{name}", env=answers).ok().out.splitlines()
        assert "src/two/file0" in listed and not [path for path in listed if "repo" in path]
