"""Extract writes below the current folder alone, whatever an archive says and whoever interferes."""

import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from program import Done, Program
from strongroom.archive import trees
from strongroom.archive.entries import Entry
from treefacts import Facts, differences, facts

Forge = Callable[[list[Entry]], list[Entry]]


def forging(change: Forge) -> Callable[[], None]:
    """For `before` of create: a hostile client that writes other entries than the folder has."""

    def hook() -> None:
        real = trees.encode_tree
        trees.encode_tree = lambda entries: real(change(list(entries)))

    return hook


def renamed(old: bytes, new: bytes) -> Forge:
    def change(entries: list[Entry]) -> list[Entry]:
        for entry in entries:
            if entry.name == old:
                entry.name = new
        return entries

    return change


@pytest.fixture
def outside(sr: Program) -> Iterator[Path]:
    """A folder beside the one that is extracted to; nothing in it may change."""
    place = sr.root / "outside"
    (place / "folder").mkdir(parents=True)
    (place / "file").write_text("precious")
    (place / "folder" / "in").write_text("precious")
    os.mkfifo(place / "fifo", 0o600)
    os.chmod(place / "file", 0o600)
    before = facts(place)
    yield place
    assert differences(before, facts(place)) == []


@pytest.fixture
def tree(src: Path) -> Path:
    (src / "victim").write_text("evil")
    (src / "sub").mkdir()
    (src / "sub" / "in").write_text("evil")
    (src / "good").write_text("good")
    return src


def extract(program: Program, archive: str = "a", **how: Any) -> tuple[Done, Path, Facts]:
    """What happened, where, and what is in the folder that holds the one extracted to."""
    arena = program.root / "arena"
    here = arena / "deep" / "here"
    here.mkdir(parents=True, exist_ok=True)
    done = program("extract", f"::{archive}", cwd=here, **how)
    assert "Traceback" not in done.err and "Internal error" not in done.err, done.err
    around = facts(arena)
    assert {path for path in around if not path.startswith(b"deep/here/")} == {b".", b"deep", b"deep/here"}
    return done, here, around


NAMES = [b"..", b".", b"", b"../x", b"/etc/x", b"a/b", b"a/../../x", b"x\0y", b"a" * 5000, b"/", b"//"]


@pytest.mark.parametrize("name", NAMES, ids=repr)
@pytest.mark.parametrize("kind", ["victim", "sub"])
def test_names_that_lead_elsewhere(sr: Program, tree: Path, outside: Path, name: bytes, kind: str) -> None:
    done = sr("create", "::a", "src", before=forging(renamed(kind.encode(), name)))
    if done.code == 0:
        done, _, _ = extract(sr)
        assert done.code == 1 and "src" in done.err
        for words in (["list", "::a"], ["extract", "--dry-run", "::a"], ["extract", "--stdout", "::a"]):
            told = sr(*words)
            assert told.code in (0, 1, 2) and "Internal error" not in told.err and "Traceback" not in told.err
        assert sr("check").code != 0


def test_a_name_twice_first_a_link_then_a_folder(sr: Program, tree: Path, outside: Path) -> None:
    def change(entries: list[Entry]) -> list[Entry]:
        extra = []
        for entry in entries:
            if entry.name == b"sub":
                link = msgspec.structs.replace(entry, content=b"", mode=stat.S_IFLNK | 0o777)
                link.target = os.fsencode(outside)
                extra.append(link)
        return sorted(extra + entries, key=lambda entry: (entry.name, stat.S_ISDIR(entry.mode)))

    sr("create", "::a", "src", before=forging(change)).ok()
    done, _, _ = extract(sr)
    assert done.code == 1


def test_a_link_of_one_archive_and_a_folder_of_the_next(sr: Program, src: Path, outside: Path) -> None:
    (src / "sub").symlink_to(outside)
    (src / "file").symlink_to(outside / "file")
    sr("create", "::link", "src").ok()
    (src / "sub").unlink()
    (src / "file").unlink()
    (src / "sub").mkdir()
    (src / "sub" / "in").write_text("evil")
    (src / "sub" / "folder").mkdir()
    (src / "file").write_text("evil")
    sr("create", "::folder", "src").ok()
    extract(sr, "link")[0].ok()
    done, here, _ = extract(sr, "folder")
    done.ok()
    assert (here / "src/sub/in").read_text() == "evil" and not (here / "src/sub").is_symlink()
    extract(sr, "link")


def test_links_that_lie_in_the_way(sr: Program, tree: Path, outside: Path) -> None:
    sr("create", "::a", "src").ok()
    here = sr.root / "arena" / "deep" / "here"
    here.mkdir(parents=True)
    (here / "src").symlink_to(outside)
    extract(sr)[0].ok()
    assert not (here / "src").is_symlink()
    for name in ("victim", "good"):
        (here / "src" / name).unlink()
        (here / "src" / name).symlink_to(outside / "file")
    os.link(outside / "file", here / "src" / "other")
    os.replace(here / "src" / "other", here / "src" / "good")
    extract(sr)[0].ok()
    assert (here / "src/victim").read_text() == "evil" and (here / "src/good").read_text() == "good"
    os.unlink(here / "src" / "victim")


def test_hard_link_groups_of_different_kinds(sr: Program, src: Path, outside: Path) -> None:
    """A link group whose first name is a symlink to the outside, and whose others are files."""
    (src / "a").symlink_to(outside / "file")
    (src / "b").write_text("evil")
    (src / "c").mkdir()
    (src / "d").write_text("evil")

    def change(entries: list[Entry]) -> list[Entry]:
        for entry in entries:
            if entry.name in (b"a", b"b", b"d"):
                entry.link = b"12345678"
                entry.uid = entry.gid = 12345
                entry.mode |= 0o777
        return entries

    sr("create", "::a", "src", before=forging(change)).ok()
    extract(sr)


def test_absolute_and_climbing_sources_stay_inside(sr: Program, tree: Path, outside: Path) -> None:
    sr("create", "::a", str(tree), "../work/src/good").ok()
    done, here, _ = extract(sr)
    done.ok()
    assert (here / os.fspath(tree)[1:] / "victim").exists() and (here / "work/src/good").exists()


# --- somebody else works in the same folder ---


def after(call: str, act: Callable[[Any, dict[str, Any]], None]) -> Callable[[], None]:
    """For `before` of extract: somebody acts right after each such call on a name of a folder."""

    def hook() -> None:
        real: Any = getattr(os, call)
        busy = [False]

        def acting(path: Any, *rest: Any, **how: Any) -> Any:
            got = real(path, *rest, **how)
            if how.get("dir_fd") is not None and not busy[0]:
                busy[0] = True
                act(path, how)
                busy[0] = False
            return got

        setattr(os, call, acting)
        signal.alarm(60)

    return hook


def test_a_folder_swapped_for_a_link_right_after_it_was_made(sr: Program, tree: Path, outside: Path) -> None:
    sr("create", "::a", "src").ok()

    def swap(name: bytes, how: dict[str, Any]) -> None:
        os.rmdir(name, dir_fd=how["dir_fd"])
        os.symlink(outside, name, dir_fd=how["dir_fd"])

    done, _, _ = extract(sr, before=after("mkdir", swap))
    assert done.code in (1, 2)


def test_a_folder_moved_away_while_it_is_filled(sr: Program, src: Path, outside: Path) -> None:
    deep = src
    for _ in range(80):  # deep enough that upper folders are found again through `..`
        deep = deep / "d"
        deep.mkdir()
    (src / "z").write_text("later")
    sr("create", "::a", "src").ok()
    here = sr.root / "arena" / "deep" / "here"
    moved: list[int] = []

    def move(name: bytes, how: dict[str, Any]) -> None:
        moved.append(1)
        if len(moved) == 75:
            os.rename(here / "src/d/d/d", here / "away")

    done, here, _ = extract(sr, before=after("mkdir", move))
    assert done.code == 1 and "moved" in done.err


def created(how: Callable[[int, bytes], None]) -> Callable[[], None]:
    def hook() -> None:
        real: Any = os.open

        def acting(path: Any, flags: int, *rest: Any, dir_fd: int | None = None, **more: Any) -> int:
            fd = real(path, flags, *rest, dir_fd=dir_fd, **more)
            if flags & os.O_EXCL and dir_fd is not None:
                how(dir_fd, path)
            return int(fd)

        os.open = acting
        signal.alarm(60)

    return hook


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_file_swapped_right_after_it_was_made(
    sr: Program, src: Path, outside: Path, kind: str, linked: bool
) -> None:
    """Its content, owner and mode must not reach what took its place."""
    (src / "victim").write_text("evil")
    os.chmod(src / "victim", 0o777)
    if linked:
        os.link(src / "victim", src / "zz")
    sr("create", "::a", "src").ok()

    def swap(folder: int, name: bytes) -> None:
        os.unlink(name, dir_fd=folder)
        if kind == "symlink":
            os.symlink(outside / "file", name, dir_fd=folder)
        else:
            os.link(outside / "file", name, dst_dir_fd=folder)

    before = facts(outside)
    done, _, _ = extract(sr, before=created(swap))
    assert differences(before, facts(outside)) == []
    assert done.code == (1 if linked else 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="owners need root")
def test_a_fifo_swapped_right_after_it_was_made(sr: Program, src: Path, outside: Path) -> None:
    os.mkfifo(src / "pipe")
    os.chown(src / "pipe", 1234, 1234)
    sr("create", "::a", "src").ok()

    def swap(name: bytes, how: dict[str, Any]) -> None:
        os.unlink(name, dir_fd=how["dir_fd"])
        os.link(outside / "fifo", name, dst_dir_fd=how["dir_fd"])

    done, _, _ = extract(sr, before=after("mkfifo", swap))
    assert done.code == 1


def test_swapping_without_pause(sr: Program, src: Path, outside: Path) -> None:
    """A real attacker beside a real extract."""
    for number in range(150):
        (src / f"{number:03}").mkdir()
        for name in ("a", "b"):
            (src / f"{number:03}" / name).write_text("evil")
        os.link(src / f"{number:03}" / "a", src / f"{number:03}" / "c")
    sr("create", "::a", "src").ok()
    here = sr.root / "arena" / "deep" / "here"
    here.mkdir(parents=True)
    script = (
        f"cd {here}; while :; do for d in src/*/; do d=${{d%/}}; mv -T $d aside && ln -s {outside} $d; "
        f"ln -sf {outside}/file aside/a; ln -f {outside}/file aside/c; rm -f $d; mv -T aside $d; done; done"
    )
    attacker = subprocess.Popen(["bash", "-c", script], process_group=0, stderr=subprocess.DEVNULL)
    try:
        for _ in range(3):
            done = sr("extract", "::a", cwd=here)
            assert done.code in (0, 1) and "Internal error" not in done.err, done.err
    finally:
        os.killpg(attacker.pid, signal.SIGKILL)
        attacker.wait()
    assert not os.path.lexists(outside / "a") and not os.path.lexists(outside / "b")


def test_set_id_bits_are_not_lent(user: Program) -> None:
    """Root's programs, restored by a user: the copies are the user's, and must not act as them for all."""
    source = user.cwd / "src"
    source.mkdir()
    (source / "su").write_text("x")
    os.chmod(source / "su", 0o6755)
    user("create", "::a", "src").ok()
    out = user.root / "out"
    out.mkdir()
    os.chown(out, user.uid or 0, user.uid or 0)
    assert user("extract", "::a", cwd=out).code == 1
    assert not (out / "src/su").stat().st_mode & 0o6000
