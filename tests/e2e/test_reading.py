"""What changes, vanishes or refuses while it is read is told by name; the rest is in the archive."""

import os
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from program import Program, patterned
from programfixtures import Disk

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="needs root")


@pytest.fixture
def tree(src: Path) -> Path:
    (src / "good").write_text("good")
    (src / "victim").write_text("victim")
    (src / "zoo").mkdir()
    (src / "zoo" / "last").write_text("last")
    return src


def on_open(name: str, act: Callable[[], None]) -> Callable[[], None]:
    """For `before`: somebody acts in the moment before a file of that name is opened."""

    def hook() -> None:
        real: Any = os.open
        done = []

        def acting(path: Any, *rest: Any, **how: Any) -> int:
            if os.path.basename(os.fsdecode(path)) == name and not done:
                done.append(1)
                act()
            return int(real(path, *rest, **how))

        os.open = acting

    return hook


def on_read(path: Path, act: Callable[[], None]) -> Callable[[], None]:
    """For `before`: somebody acts after each piece of the file that is read."""

    def hook() -> None:
        inode = path.stat().st_ino
        for name in ("read", "readv"):
            real: Any = getattr(os, name)

            def acting(fd: int, what: Any, real: Any = real) -> Any:
                got = real(fd, what)
                if os.fstat(fd).st_ino == inode:
                    act()
                return got

            setattr(os, name, acting)

    return hook


def rest_is_there(program: Program, archive: str = "a") -> None:
    out = program.extract(archive)
    assert (out / "src/good").read_text() == "good" and (out / "src/zoo/last").read_text() == "last"
    program("check", "--verify-data").ok()


def test_a_file_that_changes_while_it_is_read(sr: Program, tree: Path) -> None:
    victim = tree / "victim"
    ends = iter(range(10**6))

    def write() -> None:
        with open(victim, "a") as stream:
            stream.write(f"{next(ends)}")

    done = sr("create", "--list", "::a", "src", before=on_read(victim, write))
    assert done.code == 1 and done.letters["src/victim"] == "C"
    assert "src/victim: file changed while we backed it up" in done.err
    rest_is_there(sr)
    assert (sr.extract("a") / "src/victim").read_text().startswith("victim")
    assert sr("create", "--list", "::b", "src").ok().letters["src/victim"] in "AM"


def test_a_file_that_changes_once_is_read_again(sr: Program, tree: Path) -> None:
    victim = tree / "victim"
    done: list[int] = []

    def write() -> None:
        if not done:
            done.append(1)
            victim.write_text("other, and longer")

    assert (
        sr("create", "--list", "::a", "src", before=on_read(victim, write)).ok().letters["src/victim"] == "A"
    )
    assert (sr.extract("a") / "src/victim").read_text() == "other, and longer"


@pytest.mark.parametrize("size", [10, 1_000_000, 20_000_000])
def test_a_file_that_shrinks_while_it_is_read(sr: Program, tree: Path, size: int) -> None:
    victim = tree / "victim"
    victim.write_bytes(patterned(size))
    done = sr("create", "--list", "::a", "src", before=on_read(victim, lambda: os.truncate(victim, 5)))
    assert done.code in (0, 1), done.err
    rest_is_there(sr)
    assert (sr.extract("a") / "src/victim").read_bytes()[:5] == patterned(size)[:5]


def test_a_file_that_grows_until_it_is_read(sr: Program, tree: Path) -> None:
    victim = tree / "victim"
    victim.write_bytes(patterned(300_000))

    def write() -> None:
        if victim.stat().st_size < 50_000_000:
            with open(victim, "ab") as stream:
                stream.write(bytes(1_000_000))

    sr("create", "::a", "src", before=on_read(victim, write)).ok()
    rest_is_there(sr)
    assert (sr.extract("a") / "src/victim").read_bytes() == victim.read_bytes()


def test_a_file_that_vanishes(sr: Program, tree: Path) -> None:
    done = sr("create", "--list", "::a", "src", before=on_open("victim", (tree / "victim").unlink))
    assert done.code == 1 and done.letters["src/victim"] == "E"
    assert "src/victim: open: [Errno 2]" in done.err
    rest_is_there(sr)
    assert "src/victim" not in sr.paths("a")


def test_modern_codes_tell_what_was_wrong(sr: Program, tree: Path) -> None:
    modern = {"STRONGROOM_EXIT_CODES": "modern"}
    gone = sr("create", "::a", "src", env=modern, before=on_open("victim", (tree / "victim").unlink))
    assert gone.code == 107
    assert sr("create", "::b", "src", "missing", env=modern).code == 107


def test_a_folder_that_vanishes(sr: Program, tree: Path) -> None:
    (tree / "gone" / "deep").mkdir(parents=True)
    (tree / "gone" / "deep" / "file").write_text("x")
    act = lambda: subprocess.run(["rm", "-rf", str(tree / "gone")], check=True)  # noqa: E731
    done = sr("create", "--list", "::a", "src", before=on_open("gone", act))
    assert done.code == 1 and done.letters["src/gone"] == "E"
    rest_is_there(sr)


@pytest.mark.parametrize("kind", ["fifo", "symlink", "folder", "socket", "other"])
def test_a_file_replaced_by_something_else(sr: Program, tree: Path, kind: str) -> None:
    victim = tree / "victim"

    def replace() -> None:
        victim.unlink()
        if kind == "fifo":
            os.mkfifo(victim)
        elif kind == "symlink":
            victim.symlink_to("/etc/passwd")
        elif kind == "folder":
            victim.mkdir()
        elif kind == "socket":
            os.chdir(tree)
            socket.socket(socket.AF_UNIX).bind("victim")
            os.chdir(tree.parent)
        else:
            (tree / "new").write_text("something new")
            os.rename(tree / "new", victim)

    done = sr("create", "--list", "::a", "src", before=on_open("victim", replace))
    assert done.code == 1 and done.letters["src/victim"] == "E", done.err
    assert len([line for line in done.err.splitlines() if "src/victim:" in line]) == 1
    rest_is_there(sr)
    assert "src/victim" not in sr.paths("a")


def test_a_folder_replaced_by_a_link_is_not_followed(sr: Program, tree: Path) -> None:
    secret = sr.root / "elsewhere"
    secret.mkdir()
    (secret / "secret").write_text("x")
    (tree / "swapped").mkdir()
    (tree / "swapped" / "inside").write_text("x")

    def swap() -> None:
        os.rename(tree / "swapped", sr.root / "away")
        (tree / "swapped").symlink_to(secret)

    done = sr("create", "--list", "::a", "src", before=on_open("swapped", swap))
    assert done.code == 1 and done.letters["src/swapped"] == "E"
    assert not [path for path in sr.paths("a") if "secret" in path]
    rest_is_there(sr)


def test_bytes_that_cannot_be_read(sr: Program, tree: Path) -> None:
    """A disk that fails in the middle of a file."""
    victim = tree / "victim"

    def fail() -> None:
        raise OSError(5, "Input/output error")

    modern = {"BORG_EXIT_CODES": "modern"}
    done = sr("create", "--list", "::a", "src", before=on_read(victim, fail), env=modern)
    assert done.code == 106 and done.letters["src/victim"] == "E"
    assert "src/victim" in done.err and "[Errno 5]" in done.err
    rest_is_there(sr)


def test_a_source_that_is_not_there(sr: Program, tree: Path) -> None:
    done = sr("create", "--list", "::a", "missing", "src")
    assert done.code == 1 and "missing" not in done.letters  # as with Borg: the warning says it
    assert "missing: stat: [Errno 2]" in done.err
    rest_is_there(sr)


# --- special files, streams and lists ---


def test_a_fifo_is_read_when_asked_for(sr: Program, src: Path) -> None:
    os.mkfifo(src / "fifo", 0o640)
    (src / "link").symlink_to("fifo")
    os.mkfifo(src / "other")

    def feed(name: str, data: bytes) -> None:
        with open(src / name, "wb") as stream:
            stream.write(data)

    feeds = [("fifo", b"through the fifo"), ("other", patterned(3_000_000))]
    threads = [threading.Thread(target=feed, args=one, daemon=True) for one in feeds]
    running = sr.start("create", "--read-special", "::a", "src/fifo", "src/other")
    for thread in threads:
        thread.start()
    running.wait().ok()
    out = sr.extract("a")
    assert (out / "src/fifo").read_bytes() == b"through the fifo"
    assert (out / "src/other").read_bytes() == patterned(3_000_000)
    assert stat.S_IMODE((out / "src/fifo").stat().st_mode) == 0o640


@needs_root
def test_a_device_is_read_when_asked_for(sr: Program, src: Path) -> None:
    os.mknod(src / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (src / "link").symlink_to("/dev/null")
    (src / "plain").symlink_to("null-not")
    sr("create", "::as-node", "src").ok()
    sr("create", "--read-special", "::a", "src").ok()
    out = sr.extract("a")
    assert stat.S_ISREG((out / "src/null").lstat().st_mode)
    assert stat.S_ISREG((out / "src/link").lstat().st_mode)
    assert stat.S_ISLNK((out / "src/plain").lstat().st_mode)
    assert stat.S_ISCHR((sr.extract("as-node") / "src/null").lstat().st_mode)


def test_standard_input(sr: Program) -> None:
    data = patterned(5_000_000)
    sr("create", "::a", "-", stdin=data).ok()
    assert sr("extract", "--stdout", "::a").ok().raw == data
    words = ("--stdin-name", "dumps/db.sql", "--stdin-user", "root", "--stdin-mode", "0600")
    sr("create", *words, "::b", "-", stdin=b"").ok()
    assert (
        sr("list", "::b", "--format", "{mode} {user} {size} {path}").ok().out
        == "-rw------- root 0 dumps/db.sql"
    )


@pytest.mark.parametrize("name", ["", "/", "..", "src", "src/../src"])
def test_a_stream_takes_no_name_that_would_lose_it_or_another(sr: Program, tree: Path, name: str) -> None:
    done = sr("create", "--stdin-name", name, "::a", "src/zoo", "-", stdin=b"precious")
    assert done.code == 2 and "another name" in done.sentence()
    assert sr.names() == []


@pytest.mark.parametrize(
    "command", [["false"], ["no-such-command"], ["sh", "-c", "echo some; exit 3"], ["sh", "-c", "kill -9 $$"]]
)
def test_a_failing_command_leaves_no_archive(sr: Program, command: list[str]) -> None:
    done = sr("create", "--content-from-command", "::a", "--", *command)
    assert done.code == 2 and command[0] in done.sentence()
    assert sr.names() == []
    assert sr("create", "--paths-from-command", "::a", "--", *command).code == 2
    assert sr.names() == []


def test_paths_from_a_list(sr: Program, tree: Path) -> None:
    sr("create", "--paths-from-stdin", "::a", stdin=b"src/good\nsrc/zoo\n\nsrc/good\n").ok()
    assert sr.paths("a") == ["src/good", "src/zoo"]
    awkward = os.fsencode(tree) + b"/a\nb\xff"
    with open(awkward, "w"):
        pass
    sr(
        "create", "--paths-from-stdin", "--paths-delimiter", "\\0", "::b", stdin=b"src/zoo/last\0" + awkward
    ).ok()
    listed = sr("list", "::b", "--format", "{bpath}{NUL}").ok().raw.split(b"\0")
    assert sorted(listed) == sorted([b"src/zoo/last", awkward[1:], b""])
    done = sr("create", "--list", "--paths-from-stdin", "::c", stdin=b"src/good\nmissing\n")
    assert done.code == 1 and sr.paths("c") == ["src/good"]
    assert "E missing" in done.err.splitlines()  # as in Borg, which has no letter for a missing PATH argument
    os.unlink(awkward)
    sr("create", "--paths-from-command", "::d", "--", "find", "src", "-type", "f").ok()
    assert {"src/good", "src/victim", "src/zoo/last"} <= set(sr.paths("d"))
    # "no more, no less", says Borg
    listed = b"src/good\nsrc/zoo/last\n"
    sr("create", "--paths-from-stdin", "-e", "src/good", "--pattern", "!src/zoo", "::e", stdin=listed).ok()
    assert sr.paths("e") == ["src/good", "src/zoo/last"]


def test_slashdot_drops_what_is_before_it(sr: Program, tree: Path) -> None:
    sr("create", "::a", f"{tree}/./zoo", f"{tree}/./good").ok()
    assert sr.paths("a") == ["good", "zoo", "zoo/last"]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["."], [".", "src", "src/good", "src/victim", "src/zoo", "src/zoo/last"]),
        (["src/."], ["src", "src/good", "src/victim", "src/zoo", "src/zoo/last"]),
        (["./src/zoo/"], ["src/zoo", "src/zoo/last"]),
        (["src/zoo/../good"], ["src/good"]),
        (["src", "src/zoo"], ["src", "src/good", "src/victim", "src/zoo", "src/zoo/last"]),
        (["src/zoo", "src"], ["src", "src/good", "src/victim", "src/zoo", "src/zoo/last"]),
        (["src/zoo/last", "src/zoo", "src/zoo/last"], ["src/zoo", "src/zoo/last"]),
        (["src/good", "src/zoo/last"], ["src/good", "src/zoo/last"]),
        (["../work/src/zoo"], ["work/src/zoo", "work/src/zoo/last"]),
    ],
)
def test_sources_by_many_names(sr: Program, tree: Path, sources: list[str], expected: list[str]) -> None:
    sr("create", "::a", *sources).ok()
    assert sr.paths("a") == expected
    sr.extract("a")


def test_names_that_are_no_text_in_comment_command_line_and_folder(sr: Program, tree: Path) -> None:
    odd = os.fsencode(sr.cwd) + b"/odd\xff"
    os.mkdir(odd)
    with open(odd + b"/file\xfe", "w"):
        pass
    sr("create", "::a", b"file\xfe", cwd=odd).ok()
    assert sr("info", "--json", "::a").ok().json["archives"][0]["name"] == "a"
    assert sr("info", "::a").ok().out
    done = sr("create", "--comment", b"odd \xff", "::b", b"file\xfe", cwd=odd)
    assert done.code in (0, 2) and "Internal error" not in done.err, done.err
    done = sr("create", b"::\xff", b"file\xfe", cwd=odd)
    assert done.code in (0, 2) and "Internal error" not in done.err, done.err
    done = sr("list", b"::\xff")
    assert "Internal error" not in done.err


def test_a_working_folder_that_is_gone(sr: Program, tree: Path) -> None:
    gone = sr.root / "gone"
    gone.mkdir()
    done = sr("create", "::a", str(tree), cwd=gone, before=gone.rmdir)
    assert "Internal error" not in done.err and "Traceback" not in done.err
    assert done.code in (0, 2), done.err


# --- what is left out ---


def test_patterns_in_their_order(sr: Program, tree: Path) -> None:
    for name in ("cache/x", "cache/keep/y", "docs/a.tmp", "docs/b"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    rules = ["# roots", "R src", "P sh", "- src/**/*.tmp", "+ src/cache/keep", "- src/cache", "! src/zoo", ""]
    (sr.cwd / "rules").write_text("\n".join(rules))
    sr("create", "--patterns-from", "rules", "::a").ok()
    assert sr.paths("a") == [
        "src", "src/cache/keep", "src/cache/keep/y", "src/docs", "src/docs/b", "src/good", "src/victim",
    ]  # fmt: skip


def test_a_source_inside_an_excluded_folder_is_kept(sr: Program, tree: Path) -> None:
    sr("create", "::a", "src", "src/zoo/last", "--exclude", "pp:src/zoo").ok()
    found = sr.paths("a")
    assert "src/good" in found and "src/zoo" not in found


SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55"


def tag(folder: Path, name: str = "CACHEDIR.TAG", text: str = SIGNATURE) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / "content").write_text("x")


def test_tagged_folders(sr: Program, tree: Path) -> None:
    tag(tree / "cache")
    tag(tree / "forged", text="no signature")
    tag(tree / "marked", name=".nobackup", text="")
    tag(tree / "zoo", name=".other", text="")
    sr("create", "--exclude-caches", "::a", "src").ok()
    assert not [path for path in sr.paths("a") if path.startswith("src/cache")]
    assert "src/forged/content" in sr.paths("a")
    words = ("--exclude-caches", "--exclude-if-present", ".nobackup", "--exclude-if-present", ".other")
    sr("create", *words, "::b", "src").ok()
    assert {path.split("/")[1] for path in sr.paths("b") if "/" in path} == {"good", "victim", "forged"}
    sr("create", *words, "--keep-exclude-tags", "::c", "src").ok()
    kept = {"src/cache", "src/cache/CACHEDIR.TAG", "src/marked", "src/marked/.nobackup"}
    assert set(sr.paths("c")) - set(sr.paths("b")) == kept | {"src/zoo", "src/zoo/.other"}
    tag(sr.cwd / "top")
    sr("create", "--exclude-caches", "::d", "top", "src/good").ok()
    assert sr.paths("d") == ["src/good"]


@needs_root
def test_nodump_files_and_folders_are_left_out(sr: Program, tree: Path) -> None:
    (tree / "folder").mkdir()
    (tree / "folder" / "in").write_text("x")
    for path in (tree / "victim", tree / "folder"):
        if subprocess.run(["chattr", "+d", str(path)], check=False, capture_output=True).returncode:
            pytest.skip("the file system has no flags")
    sr("create", "::all", "src").ok()
    assert "src/victim" in sr.paths("all")
    dry = sr("create", "--dry-run", "--list", "--exclude-nodump", "::a", "src", "src/victim").ok().letters
    assert dry["src/victim"] == "x" and dry["src/folder"] == "x" and "src/folder/in" not in dry
    assert sr("create", "--dry-run", "--list", "::a", "src").ok().letters["src/victim"] == "-"
    done = sr("create", "--list", "--exclude-nodump", "::a", "src").ok()
    assert done.letters["src/victim"] == "x" and done.letters["src/folder"] == "x"
    assert not {"src/victim", "src/folder", "src/folder/in"} & set(sr.paths("a"))
    sr("create", "--exclude-nodump", "::again", "src").ok()
    assert sr.paths("again") == sr.paths("a")
    sr("create", "::all-again", "src").ok()
    assert sr.paths("all-again") == sr.paths("all")
    subprocess.run(["chattr", "-d", str(tree / "victim")], check=True)
    sr("create", "--exclude-nodump", "::b", "src").ok()
    assert "src/victim" in sr.paths("b")


def test_one_file_system(sr: Program, tree: Path, small_disk: Disk) -> None:
    (small_disk(tree / "mounted", "1m") / "inside").write_text("x")
    sr("create", "--one-file-system", "::a", "src").ok()
    assert "src/mounted" in sr.paths("a") and "src/mounted/inside" not in sr.paths("a")
    sr("create", "-x", "::b", "src", "src/mounted").ok()
    assert "src/mounted/inside" in sr.paths("b")
    sr("create", "::c", "src").ok()
    assert "src/mounted/inside" in sr.paths("c")


def test_the_repository_and_the_cache_do_not_back_up_themselves(sr: Program, tree: Path) -> None:
    sr("create", "::a", str(sr.root)).ok()
    found = sr.paths("a")
    assert any(path.endswith("src/good") for path in found)
    assert not [path for path in found if "/packs" in path or path.endswith("data.mdb")]
