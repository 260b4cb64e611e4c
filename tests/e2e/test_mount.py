"""Archives as a file system, through the kernel, as programs use it."""

import os
import random
import re
import signal
import stat
import subprocess
import sys
import threading
from ctypes.util import find_library
from pathlib import Path

import pytest

from mounting import detach, has_ended, mount, mounted, mountpoint, needs_fuse
from program import NOBODY, Program, patterned, wait_until
from sshd import descendants, direct_rsh, needs_sshd, serve_command
from sshd import running as running_sshd
from strongroom.commands.mount import is_mounted
from treefacts import compared, differences, facts

pytestmark = needs_fuse

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="other users need root")
MiB = 1 << 20


def run(*words: str | Path, **how: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(word) for word in words], capture_output=True, check=False, **how)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def tree(src: Path) -> Path:
    """Small and large files, links, holes, attributes, and times down to the nanosecond."""
    for number in range(40):
        folder = src / f"folder-{number % 4}" / "inner"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number}.txt").write_text(f"text {number}\n" * number)
    (src / "large").write_bytes(patterned(9 * MiB + 777))
    with open(src / "sparse", "wb") as stream:
        stream.truncate(8 * MiB)
        stream.seek(3 * MiB)
        stream.write(patterned(2 * MiB))
    os.link(src / "large", src / "folder-0" / "large-again")
    os.symlink("large", src / "link")
    os.mkfifo(src / "fifo")
    for path in (src / "large", src / "folder-1"):
        os.setxattr(path, "user.note", b"\0binary\xff")
        run("setfacl", "-m", "u:12345:rw", path).check_returncode()
        os.chmod(path, 0o750)
    run("setfacl", "-d", "-m", "g:23456:rx", src / "folder-1").check_returncode()
    # rsync takes times within one second for the same, and leaves a new FIFO's as it is then
    for number, path in enumerate(src.rglob("*")):
        os.utime(path, ns=(10**18, 10**18 + number), follow_symlinks=False)
    for path in (src / "large", src / "link", src / "folder-2", src):
        os.utime(path, ns=(-(10**18) + 1, -(10**18) - 999_999_999), follow_symlinks=False)
    return src


@pytest.fixture
def top(sr: Program, tree: Path) -> Program:
    """With one archive, `a`, of the tree."""
    sr("create", "::a", "src").ok()
    return sr


# --- programs ---


def test_tools_see_what_was_backed_up(top: Program, tree: Path) -> None:
    """find, grep -r, cp --sparse, diff -r, and rsync with all attributes, hard links included."""
    with mounted(top, "::a") as place:
        shown = place / "src"
        assert differences(facts(tree), facts(shown)) == []
        assert compared(facts(shown))["links"] == 2 and compared(facts(shown))["xattr"] > 4
        found = run("find", ".", "-printf", "%p %y %s %m %n\\n", cwd=shown).stdout.splitlines()
        assert len(found) == len(facts(tree)) and b"./large f 9437961 750 2" in found
        assert run("grep", "-rl", "text 39", shown).stdout.split() == [
            os.fsencode(shown / "folder-3/inner/file-39.txt")
        ]
        run("cp", "--sparse=auto", shown / "sparse", top.root / "copy").check_returncode()
        assert (top.root / "copy").stat().st_blocks * 512 < 3 * MiB
        assert (top.root / "copy").read_bytes() == (tree / "sparse").read_bytes()
        assert run("du", "-k", shown / "sparse").stdout.split()[0] == b"2048"
        run("rsync", "-aHAX", "--specials", f"{shown}/", f"{top.root}/copied/").check_returncode()
        assert differences(facts(tree), facts(top.root / "copied"), ignore=frozenset({"flags", "data"})) == []
        assert run("rsync", "-aHAXnic", f"{tree}/", f"{shown}/").stdout == b""


def test_inode_numbers_are_the_same_after_another_mount(top: Program) -> None:
    seen = []
    for _ in range(2):
        with mounted(top, "::a") as place:
            seen.append({path: os.lstat(path).st_ino for path in place.rglob("*")})
    assert seen[0] == seen[1]
    assert len(set(seen[0].values())) == len(seen[0]) - 1  # one file has two names


def test_parallel_readers_get_the_right_bytes(sr: Program, src: Path) -> None:
    contents = {f"file-{number}": patterned(3 * MiB + number, number) for number in range(6)}
    for name, data in contents.items():
        (src / name).write_bytes(data)
    sr("create", "-C", "lz4", "::a", "src").ok()
    wrong: list[str] = []

    def read_here_and_there(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(60):
            name = dice.choice(list(contents))
            at, size = dice.randrange(3 * MiB + 10), dice.choice((1, 4096, 100_000, 2 * MiB))
            with open(place / "src" / name, "rb", buffering=0) as stream:
                if os.pread(stream.fileno(), size, at) != contents[name][at : at + size]:
                    wrong.append(f"{name} {at} {size}")

    with mounted(sr, "::a") as place:
        threads = [threading.Thread(target=read_here_and_there, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        for name, data in contents.items():
            assert (place / "src" / name).read_bytes() == data


def test_a_file_manager_that_looks_at_everything(sr: Program, src: Path) -> None:
    """A stat storm, and the first bytes of each file, for its thumbnail."""
    (src / "pictures").mkdir()
    for number in range(300):
        (src / "pictures" / f"{number}.png").write_bytes(b"\x89PNG" + patterned(20_000, number))
    sr("create", "::a", "src").ok()
    with mounted(sr, "::a") as place:
        folder = place / "src" / "pictures"
        with os.scandir(folder) as entries:
            assert all(entry.stat().st_size == 20_004 for entry in entries)
        for name in os.listdir(folder):
            with pytest.raises(OSError, match="No data"):
                os.getxattr(folder / name, "user.thumbnail")
            with open(folder / name, "rb") as stream:
                assert stream.read(4) == b"\x89PNG"
        assert not (folder / ".directory").exists()


def test_a_folder_of_many_files(sr: Program, src: Path) -> None:
    names = [f"name-of-a-file-{number:06}" for number in range(5_000)]
    fd = os.open(src, os.O_RDONLY)
    for name in names:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    sr("create", "::a", "src").ok()
    with mounted(sr, "::a") as place:
        assert sorted(os.listdir(place / "src")) == names
        assert (place / "src" / names[-1]).stat().st_size == 0


def test_nothing_can_be_changed(top: Program) -> None:
    with mounted(top, "::a") as place:
        for change in (
            lambda: (place / "src/large").write_bytes(b"x"),
            lambda: (place / "src/new").touch(),
            lambda: (place / "src/large").unlink(),
            lambda: os.setxattr(place / "src/large", "user.x", b""),
            lambda: os.chmod(place / "src/large", 0o777),
        ):
            with pytest.raises(OSError, match="Read-only"):
                change()


@needs_sshd
def test_a_repository_on_a_server(program: Program, tree: Path) -> None:
    with running_sshd(program.root) as server:
        server.allow("client", serve_command("--append-only"))
        program.env |= {
            "STRONGROOM_REPO": server.url(str(program.root / "served")),
            "STRONGROOM_RSH": server.rsh("client"),
        }
        program("init", "--encryption=repokey").ok()
        program("create", "::a", "src").ok()
        with mounted(program, "::") as place:
            assert differences(facts(tree), facts(place / "latest/src")) == []


def test_it_connects_again_when_the_connection_is_lost(top: Program, tree: Path) -> None:
    words = {
        "STRONGROOM_REPO": f"ssh://somewhere{top.repo}",
        "STRONGROOM_RSH": direct_rsh(top.root),
        "STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }
    running, place = mount(top, "::a", env=words)
    try:
        assert (place / "src/folder-1/inner/file-5.txt").read_text() == "text 5\n" * 5
        servers = descendants(running.pid)
        assert servers
        for server in servers:
            os.kill(server, signal.SIGKILL)
        assert (place / "src/large").read_bytes() == (tree / "large").read_bytes()
        assert set(descendants(running.pid)).isdisjoint(servers)
        top("umount", str(place)).ok()
    finally:
        detach(place)
    running.wait().ok()


@pytest.mark.skipif(find_library("fuse") is None and "CI" not in os.environ, reason="libfuse 2 is not here")
def test_libfuse_2(top: Program, tree: Path) -> None:
    """It cannot tell holes, and the kernel does not enforce lists: the mode is what they leave the group."""
    place = mountpoint(top)
    words = [sys.executable, "-m", "strongroom", "mount", "-f", "::a", str(place)]
    env = os.environ | top.env | {"FUSE_LIBRARY_PATH": find_library("fuse") or "libfuse.so.2"}
    with subprocess.Popen(words, env=env, stderr=subprocess.PIPE) as process:
        try:
            wait_until(lambda: os.path.ismount(place) or process.poll() is not None)
            shown = differences(facts(tree), facts(place / "src"), ignore=frozenset({"data"}))
            assert [line for line in shown if "mode" not in line] == [] and len(shown) == 2
            assert (place / "src/large").stat().st_mode & 0o777 == 0o740
            process.send_signal(signal.SIGTERM)
            assert process.communicate()[1] == b"" and process.returncode == 0
            assert not os.path.ismount(place)
        finally:
            detach(place)
            process.kill()


# --- what is shown ---


def test_a_repository_is_folders_and_links_to_them(sr: Program, src: Path) -> None:
    (src / "file").write_text("one")
    sr("create", "--timestamp", "2020-01-02T12:00:00", "::first", "src").ok()
    (src / "file").write_text("two")
    sr("create", "--timestamp", "2021-03-04T12:00:00", "::second", "src").ok()
    sr("create", "--timestamp", "2019-03-04T12:00:00", "::by-name", "src").ok()
    with mounted(sr, "::") as place:
        names = {"first", "second", "by-name", "by-host", "by-date", "latest"}
        assert set(os.listdir(place)) == names
        assert (place / "latest/src/file").read_text() == "two"
        assert (place / "by-date/2020-01-02/first/src/file").read_text() == "one"
        (host,) = (place / "by-host").iterdir()
        assert (host / "second/src/file").read_text() == "two"
        assert (place / "by-name/src").is_dir()  # the archive of that name
        assert int((place / "first").stat().st_mtime) == 1577966400 + time_zone(2020)
    with mounted(sr, "::", "--last", "1") as place:
        assert set(os.listdir(place)) == names - {"first"}
        assert os.listdir(place / "by-name") == ["second"]
    with mounted(sr, "::", "-a", "fir*") as place:
        assert (place / "latest/src/file").read_text() == "one"


def time_zone(year: int) -> int:
    import time

    return -time.localtime(time.mktime((year, 1, 2, 12, 0, 0, 0, 0, 0))).tm_gmtoff


def test_versions_of_each_file_in_one_tree(sr: Program, src: Path) -> None:
    (src / "sub").mkdir()
    for number, text in enumerate(("one", "two", "two", "one", "three")):
        (src / "sub" / "report.txt").write_text(text)
        (src / "sub" / ".hidden").write_text("the same")
        (src / f"only-{number}").write_text(text)
        sr("create", f"::{number}", "src").ok()
        (src / f"only-{number}").unlink()
    with mounted(sr, "::", "-o", "versions") as place:
        folder = place / "src/sub/report.txt"
        assert {path.name: path.read_text() for path in folder.iterdir()} == {
            "report.00001.txt": "one",
            "report.00002.txt": "two",
            "report.00003.txt": "three",
        }
        assert os.listdir(place / "src/sub/.hidden") == [".hidden.00001"]
        assert {path.name for path in (place / "src").iterdir()} == {"sub", *(f"only-{n}" for n in range(5))}
    refused = sr("mount", "-o", "versions", "::1", str(mountpoint(sr)))
    assert refused.code == 2 and "REPOSITORY" in refused.sentence()


def test_patterns_and_stripped_components(top: Program) -> None:
    with mounted(top, "::a", "src/folder-1", "sh:**/file-3.txt") as place:
        assert {str(path.relative_to(place)) for path in place.glob("src/*")} == {
            "src/folder-1",
            "src/folder-3",
        }
        assert os.listdir(place / "src/folder-3/inner") == ["file-3.txt"]
    with mounted(top, "::a", "--exclude", "src/folder-*", "--strip-components", "1") as place:
        assert set(os.listdir(place)) == {"large", "sparse", "link", "fifo"}
        assert (place / "link").stat().st_size == 9 * MiB + 777
    with mounted(top, "::a", "--strip-components", "2") as place:  # four folders called `inner` become one
        assert set(os.listdir(place)) == {"inner", "large-again"}
        assert len(os.listdir(place / "inner")) == 40


def test_a_path_that_is_not_there_is_told(top: Program) -> None:
    """Else who mistyped it looks into an empty folder, and takes the files for lost."""
    running, place = mount(top, "::a", "src/folder-9", "/src/folder-1", "pf:src/nothing", "sh:**/nowhere")
    try:
        assert os.listdir(place / "src") == ["folder-1"]
        top("umount", str(place)).ok()
    except BaseException:
        detach(place)
        raise
    done = running.wait()
    assert done.code == 1 and re.findall("'(.*)' never matched", done.err) == [
        "src/folder-9",
        "pf:src/nothing",
    ]


def test_archives_are_chosen(sr: Program, src: Path) -> None:
    for name in ("laptop-1", "server-1", "laptop-2", "laptop-3"):
        (src / "file").write_text(name)
        sr("create", f"::{name}", "src").ok()
    for words, names in {
        ("-a", "laptop-*"): {"laptop-1", "laptop-2", "laptop-3"},
        ("-a", "laptop-*", "--first", "1"): {"laptop-1"},
        ("--last", "2"): {"laptop-2", "laptop-3"},
        ("--newer", "1d", "--sort-by", "name", "--last", "1"): {"server-1"},
    }.items():
        with mounted(sr, "::", *words) as place:
            assert set(os.listdir(place)) - {"by-name", "by-host", "by-date", "latest"} == names
            assert set(os.listdir(place / "by-name")) == names
            assert (place / "latest/src/file").read_text() in names
    with mounted(sr, "::", "-a", "laptop-*", "--last", "2", "-o", "versions", "src/file") as place:
        assert {path.read_text() for path in (place / "src/file").iterdir()} == {"laptop-2", "laptop-3"}
    with mounted(sr, "::laptop-1", "--last", "1") as place:  # ignored with a warning, as by Borg
        assert (place / "src/file").read_text() == "laptop-1"


@needs_root
def test_owners_and_modes_as_asked(top: Program) -> None:
    words = "ro,uid=4321,gid=8765,umask=027,allow_damaged_files"
    with mounted(top, "::a", "-o", words) as place:
        status = (place / "src/large").stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (4321, 8765, 0o750)
    for words in ("uid=-1", "umask=9", "rw", "a b", "uid"):
        refused = top("mount", "-o", words, "::a", str(mountpoint(top)))
        assert refused.code == 2 and "-o" in refused.sentence()


def reads(path: Path, uid: int, gid: int = NOBODY) -> bool:
    return not run("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "cat", path).returncode


@needs_root
def test_other_users_are_let_in_as_the_archive_allows(sr: Program, src: Path) -> None:
    os.chmod(sr.root, 0o755)
    (src / "secret").write_text("x")
    (src / "secret").chmod(0o600)
    (src / "open").write_text("x")
    (src / "listed").write_text("x")
    (src / "listed").chmod(0o600)
    os.chown(src / "listed", 0, 777)
    run("setfacl", "-m", "u:12345:r", src / "listed").check_returncode()
    sr("create", "::a", "src").ok()
    with mounted(sr, "::a") as place:
        assert not reads(place / "src/open", NOBODY)
    with mounted(sr, "::a", "-o", "allow_other") as place:
        assert reads(place / "src/open", NOBODY) and not reads(place / "src/secret", NOBODY)
        assert reads(place / "src/listed", 12345)
        # the mode's group bits are the list's mask: they must not give the group what it does not allow
        assert not reads(place / "src/listed", NOBODY, 777)
    with mounted(sr, "::a", "-o", "allow_other,ignore_permissions") as place:
        assert reads(place / "src/secret", NOBODY)


# --- damage ---


def test_a_damaged_chunk_is_an_error_and_never_wrong_bytes(sr: Program, src: Path) -> None:
    data = patterned(6 * MiB)
    (src / "damaged").write_bytes(data)
    (src / "sound").write_text("fine")
    sr("create", "-C", "none", "::a", "src").ok()
    pack = max(sr.repo.glob("packs/*/*"), key=lambda path: path.stat().st_size)
    blob = bytearray(pack.read_bytes())
    at = len(blob) // 2
    blob[at] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(blob)
    running, place = mount(sr, "::a")
    try:
        failed = 0
        with open(place / "src/damaged", "rb", buffering=0) as stream:
            for offset in range(0, len(data), 65536):
                try:
                    got = os.pread(stream.fileno(), 65536, offset)  # short where damage begins
                    assert got and data.startswith(got, offset)
                except OSError as error:
                    assert error.errno == 5
                    failed += 1
        assert 0 < failed < 96  # a chunk of 4 MiB, and the 1 MiB that the kernel asks for at a time
        assert (place / "src/sound").read_text() == "fine"
        sr("umount", str(place)).ok()
    except BaseException:
        detach(place)
        raise
    done = running.wait()
    assert done.code == 1 and done.err.count("/src/damaged: packs/") == 1, done.err


def read_by_the_copy(program: Program, copy: str, data: dict[str, bytes]) -> None:
    running, place = mount(program, "::a", "--fallback", copy)
    try:
        assert {path.name: path.read_bytes() for path in (place / "src").iterdir()} == data
        program("umount", str(place)).ok()
    except BaseException:
        detach(place)
        raise
    done = running.wait()
    assert done.code == 1 and "read from the fallback" in done.err, done


@pytest.mark.parametrize("encryption", ["repokey", "none"])
def test_what_is_damaged_is_read_from_a_copy(program: Program, src: Path, encryption: str) -> None:
    """Where nothing is encrypted, a flipped bit is only told by the chunk's id."""
    data = {f"{number}": patterned(50_000, number) for number in range(60)}
    for name, content in data.items():
        (src / name).write_bytes(content)
    program("init", f"--encryption={encryption}").ok()
    program("create", "-C", "none", "::a", "src").ok()
    copy = str(program.root / "copy")
    program("replicate", "::", copy).ok()
    for pack in program.repo.glob("packs/*/*"):
        blob = bytearray(pack.read_bytes())
        for at in range(len(blob) // 10, len(blob) * 9 // 10, 70_000):
            blob[at] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(blob)
    read_by_the_copy(program, copy, data)
    for pack in program.repo.glob("packs/*/*"):
        pack.unlink()
    read_by_the_copy(program, copy, data)


# --- beginning and end ---


def test_a_place_that_is_taken_is_told_as_that(top: Program) -> None:
    """Alive or dead: the kernel remembers how the folder looked, and it looks like any other."""
    running, place = mount(top, "::a")
    try:
        assert "mounted there already" in top("mount", "::a", str(place)).sentence()
        running.signal(signal.SIGKILL)
        running.wait()
        assert place.stat()  # as the kernel remembers it
        assert "mounted there already" in top("mount", "::a", str(place)).sentence()
        top("umount", str(place)).ok()
        assert not is_mounted(str(place))
    finally:
        detach(place)


def test_it_returns_when_mounted_and_goes_on_in_the_background(top: Program) -> None:
    place = mountpoint(top)
    top("mount", "-v", "::a", str(place)).ok()
    try:
        assert (place / "src/large").stat().st_size == 9 * MiB + 777  # at once
        log = Path(top.env["STRONGROOM_BASE_DIR"]) / ".cache/strongroom/mount.log"
        wait_until(lambda: "mounted on" in log.read_text())
        daemon = int(log.read_text().split("process ")[1])
        session, terminal = Path(f"/proc/{daemon}/stat").read_text().rpartition(")")[2].split()[3:5]
        assert int(session) == daemon and terminal == "0"
        assert os.readlink(f"/proc/{daemon}/cwd") == "/"
        for pack in top.repo.glob("packs/*/*"):
            pack.unlink()
        with pytest.raises(OSError, match="Input/output"):
            (place / "src/large").read_bytes()
        dated = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d /src/large: packs/"
        assert re.search(dated, log.read_text()), log.read_text()
        os.kill(daemon, signal.SIGTERM)
        wait_until(lambda: not os.path.ismount(place))
        wait_until(lambda: not runs(daemon))
    finally:
        detach(place)
    assert top("umount", str(place)).code == 2


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unmounts(top: Program, number: int) -> None:
    running, place = mount(top, "::a")
    fd = os.open(place / "src", os.O_RDONLY)  # in use: that must not keep it
    try:
        running.signal(number)
        running.wait().ok()
        assert not os.path.ismount(place)
    finally:
        os.close(fd)


@needs_root
def test_the_kernel_reads_ahead_of_itself_and_of_no_disk(top: Program) -> None:
    place = mountpoint(top)
    (top.root / "by-link").symlink_to(top.root)
    disk = os.stat(place).st_dev
    before = read_ahead(disk)
    running = top.start("mount", "-f", "::a", str(top.root / "by-link" / place.name))
    wait_until(lambda: is_mounted(str(place)) or has_ended(running.pid))
    try:
        wait_until(lambda: read_ahead(os.stat(place).st_dev) == "1024\n")
        top("umount", str(place)).ok()
    finally:
        detach(place)
    running.wait().ok()
    assert read_ahead(disk) == before


def read_ahead(device: int) -> str | None:
    setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    return setting.read_text() if setting.exists() else None


def test_errors_before_it_is_mounted_reach_the_terminal(top: Program) -> None:
    place = mountpoint(top)
    assert "does not exist" in top("mount", "::nothing", str(place)).sentence()
    assert "folder" in top("mount", "::a", str(top.root / "nowhere")).sentence()
    refused = top("mount", "::a", str(place), env={"STRONGROOM_PASSPHRASE": "wrong"})
    assert refused.code == 2 and "passphrase" in refused.sentence()
    modern = top("mount", "::nothing", str(place), env={"STRONGROOM_EXIT_CODES": "modern"})
    assert modern.code == 31
    refused = top("mount", "-o", "no_such_option", "::a", str(place))
    assert refused.code == 2 and "no_such_option" in refused.err and "could not mount" in refused.err
    assert "no strongroom archive" in top("umount", str(place)).sentence()
    assert not os.path.ismount(place)


@needs_root
@pytest.mark.skipif(
    not os.access("/dev/fuse", os.F_OK) or not os.stat("/dev/fuse").st_mode & stat.S_IWOTH,
    reason="/dev/fuse is root's alone",
)
def test_an_ordinary_user_mounts(user: Program) -> None:
    (user.cwd / "src").mkdir()
    (user.cwd / "src/file").write_text("mine")
    os.chown(user.cwd / "src", NOBODY, NOBODY)
    user("create", "::a", "src").ok()
    running, place = mount(user, "::a")
    try:
        assert not has_ended(running.pid), running.wait()
        assert reads(place / "src/file", NOBODY)
        assert not reads(place / "src/file", NOBODY + 1)
        user("umount", str(place)).ok()
    finally:
        detach(place)
    running.wait().ok()
