"""Everything that a file system can hold comes back as it was."""

import dataclasses
import os
import socket
import stat
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mounting import FUSE, mounted
from program import Program, fast_folder, make_program, patterned, remove_tree
from treefacts import Facts, compared, differences, facts
from zoo import (
    APPEND,
    IMMUTABLE,
    NAMES,
    NODUMP,
    SIZES,
    SMALL,
    KiB,
    MiB,
    access_list,
    age,
    make_deep,
    set_flags,
    sparse_files,
)

ROOT = os.geteuid() == 0
PLACES = {"disk": None, "memory": "/dev/shm"}


@pytest.fixture(params=list(PLACES))
def place(request: pytest.FixtureRequest) -> Iterator[Program]:
    """A repository, and room for trees on one of the file systems."""
    root = Path(tempfile.mkdtemp(prefix="strongroom-zoo-", dir=PLACES[request.param]))
    made = make_program(root)
    made("init", "--encryption=repokey").ok()
    yield made
    remove_tree(root)


@pytest.fixture
def one() -> Iterator[Program]:
    root = Path(tempfile.mkdtemp(prefix="strongroom-zoo-", dir=fast_folder()))
    made = make_program(root)
    made("init", "--encryption=repokey").ok()
    yield made
    remove_tree(root)


def round_trip(program: Program, *words: str, warned: int = 0, mount: bool = True) -> list[str]:
    """What is different in `src` after create and extract, and in the mounted archive."""
    before = facts(program.cwd / "src")
    done = program("create", *words, "::zoo", "src")
    assert done.code == warned, done.err
    assert differences(before, facts(program.cwd / "src")) == [], "reading changed the source"
    out = program.extract("zoo")
    program("check").ok()
    shown = when_mounted(program, before) if mount else []
    return differences(before, facts(out / "src")) + shown


def when_mounted(program: Program, before: Facts) -> list[str]:
    """What is different in the mounted archive."""
    if not (FUSE and ROOT):
        return []
    with mounted(program, "::zoo") as top:
        return differences(before, facts(top / "src"))


def test_modes_owners_times_links_and_nodes(place: Program) -> None:
    src = place.cwd / "src"
    src.mkdir()
    for mode in (0o000, 0o400, 0o644, 0o777, 0o4755, 0o2755, 0o6711, 0o1644, 0o7777):
        (src / f"file-{mode:o}").write_text(f"{mode}")
        os.chown(src / f"file-{mode:o}", 1000 + mode, 2000 + mode)
        os.chmod(src / f"file-{mode:o}", mode)
        (src / f"folder-{mode:o}").mkdir()
        (src / f"folder-{mode:o}" / "inside").write_text("x")
        os.chown(src / f"folder-{mode:o}", 4_000_000_000, 65534)
        os.chmod(src / f"folder-{mode:o}", mode)
    (src / "dangling").symlink_to("/no/such\nthing")
    (src / "to-folder").symlink_to("folder-777")
    (src / "to-itself").symlink_to("to-itself")
    os.symlink(b"\xff\xfe" * 500, os.fsencode(src / "long"))
    os.chown(src / "dangling", 7, 8, follow_symlinks=False)
    os.mkfifo(src / "fifo", 0o620)
    os.mknod(src / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(src / "loop", stat.S_IFBLK | 0o660, os.makedev(7, 1_000_000))
    os.mknod(src / "whiteout", stat.S_IFCHR | 0o600, 0)
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(src)
        listening.bind("socket")
        os.chdir(here)
    (src / "far").mkdir()
    for kind in ("file-644", "dangling", "fifo", "null"):
        os.link(src / kind, src / "far" / f"{kind}-again", follow_symlinks=False)
        os.link(src / kind, src / f"zz-{kind}-third", follow_symlinks=False)
    (src / "later").write_text("of the years to come")
    age(src)
    os.utime(src / "later", ns=(0, 15_000_000_000 * 10**9 if place.root.parts[1] == "dev" else 10**19))
    assert round_trip(place) == []
    looked = compared(facts(src))
    assert looked["mode"] == looked["mtime"] == looked["uid"] == len(facts(src)) > 40
    assert looked["links"] == 12 and looked["target"] == 6 and looked["device"] == 5
    assert not (place.root / "out" / "src" / "socket").exists()


def test_content_at_the_borders_of_chunks(place: Program) -> None:
    src = place.cwd / "src"
    src.mkdir()
    for number, size in enumerate(SIZES):
        (src / f"random-{size}").write_bytes(patterned(size, number))
        (src / f"zeros-{size}").write_bytes(bytes(min(size, 4 * MiB + 1)))
    assert round_trip(place) == []
    assert compared(facts(src))["content"] == 2 * len(SIZES)


def test_sparse_files_stay_sparse(place: Program) -> None:
    src = place.cwd / "src"
    src.mkdir()
    sparse_files(src, dataclasses.replace(SMALL, sparse=40 * 1024 * MiB))
    start = time.monotonic()
    assert round_trip(place) == []
    assert time.monotonic() - start < 30
    assert compared(facts(src))["data"] >= 7
    assert place.stored() < 11 * MiB


def test_zeros_become_holes_on_request(sr: Program, src: Path) -> None:
    (src / "zeros").write_bytes(bytes(8 * MiB) + b"end")
    sr("create", "::a", "src").ok()
    whole = sr.extract("a") / "src" / "zeros"
    assert whole.stat().st_blocks * 512 >= 8 * MiB
    holes = sr.extract("a", "--sparse") / "src" / "zeros"
    assert holes.stat().st_blocks * 512 < MiB
    assert holes.read_bytes() == bytes(8 * MiB) + b"end"


def test_extended_attributes_and_access_control_lists(place: Program) -> None:
    src = place.cwd / "src"
    (src / "folder").mkdir(parents=True)
    (src / "file").write_text("x")
    values = {
        "user.text": b"hello",
        "user.empty": b"",
        "user.binary": bytes(range(256)),
        "user.nul-ends": b"\0\0",
        os.fsdecode(b"user.\xff\xfe name"): b"1",
        "user.large": patterned(3000),
    }
    for name, value in values.items():
        for path in (src, src / "file", src / "folder"):
            os.setxattr(path, name, value)
    (src / "big").write_text("")
    try:
        os.setxattr(src / "big", "user.big", patterned(65536))
    except OSError:
        os.setxattr(src / "big", "user.big", patterned(3500))
    if ROOT:
        os.symlink("file", src / "link")
        os.setxattr(src / "link", "trusted.on-link", b"\0x", follow_symlinks=False)
        os.mkfifo(src / "fifo")
        os.setxattr(src / "fifo", "trusted.on-fifo", b"f", follow_symlinks=False)
        capability = struct.pack("<5I", 0x02000001, 0x3000, 0, 0, 0)
        os.chown(src / "file", 12345, 54321)
        os.chmod(src / "file", 0o4755)
        os.setxattr(src / "file", "security.capability", capability)
    setfacl = [
        (["-m", "u:1:rwx,g:2:r--,m::r-x"], [src / "file", src / "folder"]),
        (["-m", "u:1234567:---"], [src / "big"]),
        (["-d", "-m", "u:0:rwx,g:7:--x,o::---"], [src / "folder"]),
    ]
    try:
        for words, paths in setfacl:
            subprocess.run(["setfacl", *words, *map(str, paths)], check=True)
    except FileNotFoundError:
        nobody = 0xFFFFFFFF
        acl = access_list(
            (1, 7, nobody), (2, 7, 1), (4, 5, nobody), (8, 4, 2), (0x10, 5, nobody), (0x20, 0, nobody)
        )
        for path in (src / "file", src / "folder"):
            os.setxattr(path, "system.posix_acl_access", acl)
        os.setxattr(src / "folder", "system.posix_acl_default", acl)
    (src / "folder" / "heir").write_text("inherits the default list")
    (src / "folder" / "plain").write_text("has none")
    os.removexattr(src / "folder" / "plain", "system.posix_acl_access")
    assert round_trip(place) == []
    assert compared(facts(src))["xattr"] >= 22


@pytest.mark.skipif(not ROOT, reason="flags need root")
def test_flags_of_files_and_folders(place: Program) -> None:
    src = place.cwd / "src"
    for name in ("immutable", "append", "nodump"):
        (src / name).mkdir(parents=True)
        (src / name / "inside").write_text("x")
        (src / f"{name}-file").write_text("y")
        os.link(src / f"{name}-file", src / f"{name}-file-linked")
        os.link(src / f"{name}-file", src / name / "linked")
    (src / "all").write_text("z")
    age(src)
    try:
        for name, flag in (("immutable", IMMUTABLE), ("append", APPEND), ("nodump", NODUMP)):
            set_flags(src / f"{name}-file", flag)
            set_flags(src / name, flag)
        set_flags(src / "all", IMMUTABLE | APPEND | NODUMP)
    except OSError:
        pytest.skip("the file system has no flags")
    assert round_trip(place) == []
    assert compared(facts(src))["flags"] == 13
    listed = place("list", "--format", "{flags}", "::zoo", "src/all").ok().out
    assert int(listed) == stat.UF_NODUMP | stat.UF_IMMUTABLE | stat.UF_APPEND  # Borg's number
    # what is there already cannot be changed, and need not be
    done = place("extract", "--continue", "--to", str(place.root / "out"), "::zoo")
    assert (done.code, done.err) == (0, "")
    assert differences(facts(src), facts(place.root / "out" / "src")) == []


@pytest.mark.skipif(not ROOT, reason="flags need root")
def test_hard_links_far_apart_of_an_immutable_file(one: Program) -> None:
    """Its last name is made long after its first: it may not be immutable before."""
    src = one.cwd / "src"
    src.mkdir()
    (src / "a-first").write_text("x")
    for number in range(600):
        (src / f"m-{number:03}").mkdir()
        (src / f"m-{number:03}" / "file").write_text(str(number % 7))
    os.link(src / "a-first", src / "z-last")
    os.link(src / "a-first", src / "m-300" / "middle")
    try:
        set_flags(src / "a-first", IMMUTABLE)
    except OSError:
        pytest.skip("the file system has no flags")
    assert round_trip(one) == []


@pytest.mark.skipif(not ROOT, reason="flags need root")
def test_each_name_of_an_inode_restores_all_attributes_alone(one: Program) -> None:
    src = one.cwd / "src"
    src.mkdir()
    (src / "a").write_text("x")
    os.link(src / "a", src / "b")
    os.setxattr(src / "a", "user.x", b"1")
    try:
        set_flags(src / "a", NODUMP)
    except OSError:
        pytest.skip("the file system has no flags")
    one("create", "::one", "src").ok()
    alone = facts(one.extract("one", "src/b"))
    both = facts(src)
    assert differences({b"b": both[b"b"]}, {b"b": alone[b"src/b"]}, ignore=frozenset({"links"})) == []


def test_every_byte_in_names(place: Program) -> None:
    src = place.cwd / "src"
    src.mkdir()
    top = os.fsencode(src)
    for name in NAMES:
        fd = os.open(os.path.join(top, name), os.O_CREAT | os.O_WRONLY)
        os.write(fd, name)
        os.close(fd)
    os.mkdir(os.path.join(top, b"folder\n\xff"))
    os.symlink(b"\n\x80", os.path.join(top, b"folder\n\xff", b"l\x01"))
    assert round_trip(place, "--list") == []
    assert len(facts(src)) == len(NAMES) + 3
    records = place("list", "--json-lines", "::zoo").ok().out.splitlines()
    assert len(records) == len(NAMES) + 3
    raw = place("list", "--format", "{bpath}{NUL}", "::zoo").ok().raw.split(b"\0")
    assert set(raw) >= {b"src/" + name for name in NAMES}
    listed = place("create", "--list", "::again", "src").ok().err
    assert "\x1b" not in listed and "\x07" not in listed


def few_descriptors() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


def test_paths_longer_than_the_kernel_takes(place: Program) -> None:
    src = place.cwd / "src"
    src.mkdir()
    make_deep(src, 40, b"d" * 250)
    assert round_trip(place) == []
    assert max(map(len, facts(src))) > 10_000


@pytest.mark.parametrize("leaf", [b"", b"before", b"leaf-after"])
def test_two_thousand_levels(one: Program, leaf: bytes) -> None:
    src = one.cwd / "src"
    src.mkdir()
    make_deep(src, 2000, b"f", leaf)
    before = facts(src)
    one("create", "::zoo", "src", before=few_descriptors).ok()
    out = one.root / "out"
    out.mkdir()
    one("extract", "::zoo", cwd=out, before=few_descriptors).ok()
    assert differences(before, facts(out / "src")) == []
    one("check").ok()


def test_many_large_files_and_few_descriptors(one: Program) -> None:
    src = one.cwd / "src"
    shared = patterned(300 * KiB)
    for number in range(300):
        (src / f"{number:03}").mkdir(parents=True)
        for half in "ab":
            # a hole and a chunk: more than one part, so the file stays open while it is restored
            with open(src / f"{number:03}" / half, "wb") as stream:
                stream.truncate(MiB)
                stream.write(shared[:8192])
    before = facts(src)
    one("create", "::zoo", "src", before=few_descriptors).ok()
    out = one.root / "out"
    out.mkdir()
    one("extract", "::zoo", cwd=out, before=few_descriptors).ok()
    assert differences(before, facts(out / "src")) == []


def test_twenty_thousand_entries_in_a_folder(one: Program) -> None:
    src = one.cwd / "src"
    src.mkdir()
    fd = os.open(src, os.O_RDONLY)
    for number in range(20_000):
        if number % 2:
            os.symlink(b"%d" % number, b"entry-%d" % number, dir_fd=fd)
        else:
            os.close(os.open(b"entry-%d" % number, os.O_CREAT, dir_fd=fd))
    os.close(fd)
    assert round_trip(one, mount=False) == []  # `test_mount` has a large folder


def test_an_ordinary_user_gets_their_own_files_back(user: Program) -> None:
    src = user.cwd / "src"
    src.mkdir()
    (src / "file").write_text("mine")
    os.chmod(src / "file", 0o4751)
    (src / "read-only").mkdir()
    (src / "read-only" / "in").write_text("x")
    (src / "read-only" / "deeper").mkdir()
    (src / "read-only" / "deeper" / "in").write_text("x")
    os.chmod(src / "read-only" / "in", 0o400)
    (src / "link").symlink_to("file")
    os.mkfifo(src / "fifo")
    os.link(src / "file", src / "again")
    os.setxattr(src / "file", "user.x", b"\xff")
    for folder, folders, files in os.walk(src):
        for name in (".", *folders, *files):
            os.chown(os.path.join(folder, name), user.uid or 0, user.uid or 0, follow_symlinks=False)
    os.chmod(src / "file", 0o4751)
    age(src)
    os.chmod(src / "read-only" / "deeper", 0o500)
    os.chmod(src / "read-only", 0o555)
    before = facts(src)
    user("create", "::zoo", "src").ok()
    out = user.root / "out"
    out.mkdir()
    os.chown(out, user.uid or 0, user.uid or 0)
    for words in ((), (), ("--continue",)):  # over itself, too, in folders that are read-only by now
        user("extract", *words, "::zoo", cwd=out).ok()
        assert differences(before, facts(out / "src")) == []


def test_a_folder_that_cannot_be_made_is_told_once(user: Program) -> None:
    for number in range(20):
        (user.cwd / "src" / "inner" / f"{number}").mkdir(parents=True)
        (user.cwd / "src" / "inner" / f"{number}" / "file").write_text("x")
    (user.cwd / "src" / "later").write_text("x")
    user("create", "::a", "src").ok()
    out = user.root / "out"
    (out / "src").mkdir(parents=True)
    os.chown(out / "src", user.uid or 0, user.uid or 0)
    (out / "src" / "inner").mkdir(mode=0o700)  # root's
    done = user("extract", "::a", cwd=out)
    lines = [line for line in done.err.splitlines() if "owner" not in line]
    assert done.code == 1
    assert lines == ["src/inner: [Errno 13] Permission denied; nothing in it is restored"]
    assert (out / "src" / "later").read_text() == "x"


def test_what_a_user_cannot_read_is_named_and_the_rest_is_there(user: Program) -> None:
    src = user.cwd / "src"
    src.mkdir()
    (src / "open").write_text("x")
    (src / "secret").write_text("roots")
    os.chmod(src / "secret", 0o600)
    (src / "closed").mkdir(mode=0o700)
    (src / "closed" / "in").write_text("x")
    (src / "no-x").mkdir()
    (src / "no-x" / "in").write_text("x")
    os.chmod(src / "no-x", 0o744)
    done = user("create", "--list", "::zoo", "src")
    assert done.code == 1
    assert done.letters["src/secret"] == "E" and done.letters["src/open"] == "A"
    assert done.letters["src/closed"] == "E"
    for name in ("src/secret", "src/closed", "src/no-x/in"):
        assert any(name in line and "[Errno 13]" in line for line in done.err.splitlines()), name
    assert "src/open" in user.paths("zoo")
    # nobody may give files away: told once, with how many it concerns
    out = user.root / "out"
    out.mkdir()
    os.chown(out, user.uid or 0, user.uid or 0)
    done = user("extract", "::zoo", cwd=out)
    assert done.code == 1 and (out / "src" / "open").read_text() == "x"
    assert "owner root:root" in done.err and len(done.err.splitlines()) <= 2
