"""What is exported comes back whole, by our own import and by other programs; what is no tar is refused."""

import base64
import io
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import msgspec
import pytest

from program import Program, patterned
from strongroom.archive.chunking import MAXIMUM
from treefacts import compared, differences, facts
from zoo import IMMUTABLE, NODUMP, set_flags

ROOT = os.geteuid() == 0
BORGS = Path(__file__).parent / "data" / "borg-1.4.5-export.tar.xz"
LONG = "a name of more than a hundred bytes " * 4


@pytest.fixture
def zoo(sr: Program, src: Path) -> Path:
    """Everything that a tar archive may have to hold."""
    deep = src / LONG / LONG
    deep.mkdir(parents=True)
    (deep / "\N{SNOWMAN}").write_text("x")
    (src / "small").write_bytes(patterned(700))
    (src / "large").write_bytes(patterned(5_000_000))
    (src / "empty").touch()
    (src / os.fsdecode(b"n\xff\n")).write_text("odd name")
    os.symlink(b"\xff" * 200, os.fsencode(src / "long link"))
    (src / "link").symlink_to("small")
    os.mkfifo(src / "pipe")
    for name in ("small", "link", "pipe"):
        os.link(src / name, deep / f"{name} again", follow_symlinks=False)
    for name, places in {"sparse": (0, 5_000_000), "end": (9_000_000,), "middle": (1_000_000,)}.items():
        with (src / name).open("wb") as file:
            for at in places:
                file.seek(at)
                file.write(b"data" * 20_000)
            file.truncate(12_000_000 if name != "end" else 9_080_000)
    with (src / "nothing but a hole").open("wb") as file:
        file.truncate(1 << 20)
    os.setxattr(src / "small", "user.binary", bytes(range(256)) * 10)
    os.setxattr(src / "small", b"user.n\xff", b"")
    os.setxattr(src / "small", b"user.50%3D=%", b"=")
    os.setxattr(src / LONG, "user.folder", b"1")
    done = subprocess.run(["setfacl", "-m", "u:12345:rw-,d:g:54321:r-x", deep], check=False)
    assert done.returncode == 0
    if ROOT:
        os.chown(src / "empty", 3_000_000_000, 2_097_152)
        (src / "empty").chmod(0o4711)
        os.mknod(src / "device", stat.S_IFBLK | 0o660, os.makedev(7, 1_000_000))
    for number, path in enumerate(sorted(src.rglob("*"))):
        os.utime(path, ns=(number, number * 1_234_567_890_123_457 - 10**17), follow_symlinks=False)
    sr("create", "--atime", "::zoo", "src").ok()
    return src


def exactly_equal(program: Program, one: str, other: str) -> None:
    """In all that `list` and `diff` can tell."""
    text = (
        "{mode} {uid} {gid} {user} {group} {size} {isomtime} {isoctime} {isoatime} {flags} {extra} {bpath}\\0"
    )
    listed = [program("list", "--format", text, f"::{name}").ok().raw for name in (one, other)]
    assert listed[0] == listed[1] and listed[0].count(b"\0") > 5
    assert program("diff", f"::{one}", other).ok().raw == b""


@pytest.mark.parametrize("form", ["PAX", "BORG"])
def test_nothing_is_lost_on_the_way_out_and_in_again(sr: Program, zoo: Path, form: str) -> None:
    sr("export-tar", "--tar-format", form, "::zoo", "x.tar").ok()
    assert (sr.cwd / "x.tar").stat().st_size < 7_000_000  # holes stay holes
    sr("import-tar", "::again", "x.tar").ok()
    exactly_equal(sr, "zoo", "again")
    assert differences(facts(zoo), facts(sr.extract("again") / "src")) == []
    looked = compared(facts(zoo))
    assert looked["links"] == 6 and looked["xattr"] >= 5 and looked["data"] >= 4


def test_the_names_end_chooses_the_compressor(sr: Program, src: Path) -> None:
    (src / "file").write_text("hello\n" * 1000)
    sr("create", "::x", "src").ok()
    magic = {"x.tgz": b"\x1f\x8b", "x.tar.xz": b"\xfd7zXZ", "x.tbz": b"BZh", "x.tar.zst": b"\x28\xb5\x2f\xfd"}
    for name, first in magic.items():
        sr("export-tar", "::x", name).ok()
        assert (sr.cwd / name).read_bytes().startswith(first)
        sr("import-tar", f"::{name}", name).ok()
        assert sr("diff", "::x", name).ok().out == ""
    assert set(os.listdir(sr.cwd)) == {"src", *magic}


def test_gnu_tar_makes_the_same_files_of_it(sr: Program, zoo: Path) -> None:
    sr("export-tar", "::zoo", "x.tar").ok()
    out = sr.cwd / "out"
    out.mkdir()
    words = [
        "tar",
        "-xpf",
        "x.tar",
        "-C",
        "out",
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "--numeric-owner",
    ]
    done = subprocess.run(words, cwd=sr.cwd, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    # GNU tar takes no empty attribute, and leaves attributes with odd names out
    ignored = frozenset(
        name for one in facts(zoo).values() for name in one if "n\udcff" in name or "n\\xff" in name
    )
    assert differences(facts(zoo), facts(out / "src"), ignore=ignored | {"data"}) == []


@pytest.mark.skipif(
    shutil.which("bsdtar") is None and "CI" not in os.environ, reason="bsdtar is not installed"
)
def test_bsdtar_makes_the_same_files_of_it(sr: Program, zoo: Path) -> None:
    """It keeps GNU tar's way to write odd attribute names, and miscounts parts of seconds before 1970."""
    sr("export-tar", "::zoo", "x.tar").ok()
    (sr.cwd / "out").mkdir()
    words = ["bsdtar", "-xpf", "x.tar", "-C", "out", "--xattrs", "--acls", "--numeric-owner"]
    env = os.environ | {"LC_ALL": "C.UTF-8"}
    done = subprocess.run(words, cwd=sr.cwd, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    found = differences(facts(zoo), facts(sr.cwd / "out" / "src"), ignore=frozenset({"data"}))
    early = [name for name, one in facts(zoo).items() if one["mtime"] < 0]
    assert sum(": mtime: " in line for line in found) <= len(early)
    assert all(": mtime: " in line or "xattr user.50%" in line for line in found), found
    assert len(early) < len(facts(zoo)), "some times are compared"


def test_in_borgs_own_format_it_has_what_borg_writes(sr: Program, zoo: Path) -> None:
    done = sr("export-tar", "--tar-format", "GNU", "::zoo", "-").ok()
    members = {member.name: member for member in tarfile.open(fileobj=io.BytesIO(done.raw))}  # noqa: SIM115
    assert len(members) == len(list(zoo.rglob("*"))) + 1
    assert all(not member.pax_headers for member in members.values())
    assert members["src/large"].size == 5_000_000
    assert members[f"src/{LONG}/{LONG}/small again"].islnk() != members["src/small"].islnk()
    sr("import-tar", "::again", "-", stdin=done.raw).ok()
    changes = sr("diff", "--content-only", "::zoo", "again").ok().out
    assert changes == ""
    kinds = {"link", "mode", "owner", "content", "directory"}
    rows = sr("diff", "--format", "".join(f"{{{kind}}}" for kind in sorted(kinds)), "::zoo", "again").ok()
    assert rows.out.strip() == ""


def test_what_borg_exports_is_taken_over(sr: Program) -> None:
    sr("import-tar", "::from-borg", str(BORGS)).ok()
    listed = sr("list", "--format", "{type} {size} {isomtime:.19} {source} {path}{NL}", "::from-borg").ok()
    lines = listed.out.splitlines()
    name = next(line for line in lines if "classic" in line)
    assert name.startswith("- 3000 2020-01-02T0") and len(name) > 130
    assert sum(line.startswith("- 6 2020-01-02T0") for line in lines) == 1  # a further name counts nothing
    assert any(line.startswith("l ") and line.endswith(" file src/link") for line in lines)
    out = sr.extract("from-borg") / "src"
    assert (out / "file").samefile(out / "folder/again") and (out / "file").read_text() == "hello\n"


def test_what_borg_2_exports_is_taken_over_exactly(sr: Program) -> None:
    """Its headers round times; the item that it adds does not, and has flags by other numbers."""
    sr("import-tar", "::from-borg", str(BORGS.with_name("borg-2.0.0b21-export.tar.xz"))).ok()
    text = "{type} {size} {isomtime:.29} {flags} {bpath}\0"
    listed = sr("list", "--format", text, "::from-borg").ok().raw.split(b"\0")[:-1]
    assert len(listed) == 9 and b"- 0 2020-01-02T03:04:05.123457 2 src/im" in listed
    sr("export-tar", "::from-borg", "x.tar").ok()
    with tarfile.open(sr.cwd / "x.tar", encoding="utf-8", errors="surrogateescape") as tar:
        members = {member.name: member for member in tar}
    assert {member.pax_headers["mtime"] for member in members.values()} == {"1577934245.123456789"}
    assert members["src/folder/again"].linkname == "src/file" and "src/n\udcffme" in members
    assert members["src/file"].pax_headers["SCHILY.xattr.user.note"] == "a\nb"
    assert "SCHILY.acl.access" not in members["src/folder"].pax_headers, "the mode says as much"
    assert "user:12345:rwx:12345" in members["src/folder"].pax_headers["SCHILY.acl.default"]
    assert "group:54321:r--:54321" in members["src/large"].pax_headers["SCHILY.acl.access"]


def test_the_item_for_borg_2_is_as_borg_2_writes_it(sr: Program, zoo: Path) -> None:
    if ROOT:
        (zoo / "flagged").write_text("x")
        set_flags(zoo / "flagged", IMMUTABLE | NODUMP)
    sr("create", "--atime", "::again", "src").ok()
    done = sr("export-tar", "--tar-format", "BORG", "::again", "-").ok()
    items = {}
    for member in tarfile.open(fileobj=io.BytesIO(done.raw), errors="surrogateescape"):  # noqa: SIM115
        assert member.pax_headers["BORG.item.version"] == "1"
        item = base64.b64decode(member.pax_headers["BORG.item.meta"])
        items[member.name] = msgspec.msgpack.decode(item, type=Item)
    assert len(items) == len(list(zoo.rglob("*"))) + 1
    for name, item in items.items():
        status = (sr.cwd / name).lstat()
        assert msgpack_time(bytes(item.mtime)) == status.st_mtime_ns
        assert msgpack_time(bytes(item.ctime)) == status.st_ctime_ns
    if ROOT:
        assert items["src/flagged"].bsdflags == stat.UF_IMMUTABLE | stat.UF_NODUMP


class Item(msgspec.Struct):
    mtime: msgspec.Raw
    ctime: msgspec.Raw
    bsdflags: int | None = None


def msgpack_time(data: bytes) -> int:
    """https://github.com/msgpack/msgpack/blob/master/spec.md#timestamp-extension-type"""
    forms = {b"\xd6\xff": (2, 0, 4), b"\xd7\xff": (2, 0, 8), b"\xc7\x0c": (3, 4, 8)}
    at, extra, width = forms[data[:2]]
    number = int.from_bytes(data[at + extra :], "big", signed=width + extra == 12)
    if extra:
        return number * 10**9 + int.from_bytes(data[at : at + 4], "big")
    return number * 10**9 if width == 4 else (number & (1 << 34) - 1) * 10**9 + (number >> 34)


def test_patterns_and_strip_components_choose(sr: Program, zoo: Path) -> None:
    done = sr("export-tar", "--strip-components", "1", "::zoo", "-", "src/small", f"src/{LONG}").ok()
    names = tarfile.open(fileobj=io.BytesIO(done.raw)).getnames()  # noqa: SIM115
    assert set(names) == {
        "small", LONG, f"{LONG}/{LONG}", *(f"{LONG}/{LONG}/{one} again" for one in ("small", "link", "pipe")),
        f"{LONG}/{LONG}/\N{SNOWMAN}",
    }  # fmt: skip
    listed = sr("export-tar", "--list", "::zoo", "/dev/null", "-e", "src/*").ok()
    assert listed.err.splitlines() == ["src"]
    assert sr("export-tar", "::zoo", "/dev/null", "no such").code == 1


# --- tar archives from elsewhere ---


def tar_of(
    *members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for one in members:
            member, data = one if isinstance(one, tuple) else (one, b"")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def taken(program: Program, data: bytes, code: int = 0, *words: str) -> list[str]:
    done = program("import-tar", *words, "::a", "-", stdin=data)
    assert done.code == code, done.err
    assert "Traceback" not in done.err and "Internal" not in done.err
    lines = program("list", "--format", "{type} {size} {path}{extra}{NL}", "::a").ok().out.splitlines()
    program("check", "--verify-data").ok()
    return lines


def test_no_path_leads_out_and_folders_need_not_come_first(sr: Program) -> None:
    data = tar_of(
        (member("/etc/passwd"), b"1"),
        (member("../../up"), b"22"),
        (member("a/../b/./c"), b"333"),
        (member("late/x"), b"4"),
        member("late", tarfile.DIRTYPE, mode=0o700),
        member("./"),
        form=tarfile.GNU_FORMAT,
    )
    assert taken(sr, data, 1) == [
        "- 3 b/c", "- 1 etc/passwd", "d 0 late", "- 1 late/x", "- 2 up",
    ]  # fmt: skip


def test_the_last_of_several_counts_and_links_keep_what_they_saw(sr: Program) -> None:
    data = tar_of(
        (member("x"), b"1"),
        member("link", tarfile.LNKTYPE, linkname="x"),
        (member("x"), b"22"),
        (member("y"), b"1"),
        (member("y/z"), b"333"),
        member("dir", tarfile.DIRTYPE),
        (member("dir/inner"), b"1"),
        (member("dir"), b"4444"),
        member("self", tarfile.SYMTYPE, linkname="self"),
    )
    assert taken(sr, data) == ["- 4 dir", "- 1 link", "l 4 self -> self", "- 2 x", "- 3 y/z"]


def test_what_cannot_be_is_left_out_with_a_warning(sr: Program) -> None:
    acl = {"SCHILY.acl.access": "user::rw-,user:nobody"}
    data = tar_of(
        (member("good"), b"1"),
        member("dangling", tarfile.LNKTYPE, linkname="no such"),
        member("time", pax_headers={"mtime": "soon"}),
        member("century", pax_headers={"mtime": "1e30"}),
        member("acl", pax_headers=acl),
        member("flags", pax_headers={"STRONGROOM.flags": "99999999999"}),
        member("borg", pax_headers={"BORG.item.meta": "!!!"}),
        member("n" * 2000),
        member("odd", b"Z"),
    )
    done = sr("import-tar", "--list", "::a", "-", stdin=data)
    assert done.code == 1 and "Traceback" not in done.err
    for name in ("dangling", "time", "century", "acl", "flags", "borg", "n" * 2000, "odd"):
        assert any(line.startswith(f"{name}: ") for line in done.err.splitlines()), name
    assert sr("list", "--short", "::a").ok().out.splitlines() == ["acl", "borg", "good"]


def test_wherever_it_breaks_off_there_is_no_archive(sr: Program) -> None:
    data = tar_of((member("a"), b"x" * 1000), (member("b", pax_headers={"k": "v" * 600}), b"y" * 300_000))
    end = data.rindex(b"y") + 1
    for length in (0, 511, 700, 1024, 2100, end - 1):
        done = sr("import-tar", "::a", "-", stdin=data[:length])
        assert done.code == 2, length
        done.sentence()
    damaged = bytearray(data)
    damaged[1536 + 150] ^= 0xFF  # in the second header
    assert sr("import-tar", "::a", "-", stdin=bytes(damaged)).code == 2
    assert sr("list", "--short").ok().out == ""
    # whole members and no end mark: some programs write none
    padded = end + -end % 512
    assert taken(sr, data[:padded], 1) == ["- 1000 a", "- 300000 b"]


def test_joined_archives_are_read_to_their_end_on_demand(sr: Program) -> None:
    data = tar_of((member("a"), b"1")) + tar_of((member("b"), b"2"))
    assert taken(sr, data, 0, "--ignore-zeros") == ["- 1 a", "- 1 b"]
    sr("delete", "::a").ok()
    assert taken(sr, data) == ["- 1 a"]


def test_a_header_of_any_size_does_not_fill_the_memory(sr: Program) -> None:
    header = bytearray(member("x", tarfile.XHDTYPE).tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"77777777777\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    done = sr("import-tar", "::a", "-", stdin=bytes(header) + bytes(5000))
    assert done.code == 2 and "larger than any" in done.sentence()


def test_what_is_no_tar_archive_and_filters_that_fail_are_one_sentence(sr: Program, zoo: Path) -> None:
    (sr.cwd / "x.tar.gz").write_bytes(b"rubbish")
    (sr.cwd / "rubbish").write_bytes(patterned(5000))
    for words in (["rubbish"], ["no such"], ["rubbish", "--tar-filter", "no-such-program"],
                  ["rubbish", "--tar-filter", "false"], ["rubbish", "--tar-filter", "'"]):  # fmt: skip
        assert sr("import-tar", "::b", *words).code == 2
        assert "Traceback" not in sr("import-tar", "::b", *words).err
    assert sr("import-tar", "::b", "x.tar.gz").code == 2
    for words in (
        ["no/such/folder.tar"],
        ["out.tar", "--tar-filter", "false"],
        ["out.tar", "--tar-filter", "nope"],
    ):
        done = sr("export-tar", "::zoo", *words)
        assert done.code == 2 and "Traceback" not in done.err
        assert not (sr.cwd / "out.tar").exists()
    assert sr.names() == ["zoo"]
    sr("export-tar", "--tar-filter", "tr x x", "::zoo", "out.tar").ok()
    assert sr("import-tar", "::zoo", "out.tar").code == 2  # the name is taken


def test_a_damaged_chunk_reads_as_zeros_and_the_rest_is_exported(sr: Program, src: Path) -> None:
    whole = patterned(3 * MAXIMUM)  # three chunks or more, wherever they are cut
    (src / "a").write_bytes(whole)
    (src / "b").write_text("safe")
    sr("create", "--compression", "none", "::x", "src").ok()
    pack = max((sr.repo / "packs").rglob("*/*"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[100_000] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    done = sr("export-tar", "::x", "x.tar")
    assert done.code == 1 and "are lost" in done.err and "src/a" in done.err
    with tarfile.open(sr.cwd / "x.tar") as tar:
        found = tar.extractfile("src/a")
        assert found is not None
        content = found.read()
        assert tar.getnames() == ["src", "src/a", "src/b"]
    assert len(content) == len(whole)
    block = 4096
    lost = [at for at in range(0, len(whole), block) if content[at : at + block] != whole[at : at + block]]
    assert lost == list(range(lost[0], lost[-1] + 1, block))
    assert not any(content[lost[1] : lost[-1]])
    assert len(lost) * block <= MAXIMUM + 2 * block


def test_borg_two_describes_files_in_its_own_words(sr: Program, zoo: Path) -> None:
    import base64

    done = sr("export-tar", "--tar-format", "BORG", "::zoo", "-", "src/empty", "src/link").ok()
    for one in tarfile.open(fileobj=io.BytesIO(done.raw)):  # noqa: SIM115
        assert one.pax_headers["BORG.item.version"] == "1"
        item = msgspec.msgpack.decode(base64.b64decode(one.pax_headers["BORG.item.meta"]))
        assert item["path"] == one.name and stat.S_IMODE(item["mode"]) == one.mode
        assert item["uid"] == one.uid and (item.get("target") or "") == one.linkname


def test_a_folder_of_very_many_members_is_not_decoded_at_once(sr: Program) -> None:
    """Each entry as it is stored takes a third of what it takes decoded."""
    most = []
    for count in (1, 100_000):
        file = sr.root / "many.tar"
        with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as tar:
            for number in range(count):
                tar.addfile(member(f"wide/{number}"))
                tar.members.clear()  # what this process holds would count for the new one
        running = sr.start("import-tar", f"::{count}", str(file))
        running.wait().ok()
        assert running.usage is not None
        most.append(running.usage.ru_maxrss * 1024)
    assert most[1] - most[0] < 38_000_000, most
