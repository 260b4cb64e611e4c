"""Files and folders as they come out over HTTP: the very bytes, or an error."""

import http.client
import io
import os
import socket
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

from browsing import Site, browsing, fixtures, scene
from program import Program, patterned

MiB = 1024 * 1024
DATA = patterned(3 * MiB + 17)
ODD = [
    b"bad\xff",
    b"line\nbreak",
    b"back\\slash",
    "späße \u202e.txt".encode(),
    b"%41",
    b"q?a=b#c",
    b"x" * 255,
]


def fill(program: Program, src: Path) -> None:
    (src / "data").write_bytes(DATA)
    (src / "empty").touch()
    (src / "folder").mkdir(mode=0o750)
    for name in ODD:
        Path(os.fsdecode(os.fsencode(src) + b"/folder/" + name)).write_bytes(name)
    (src / "folder" / "link").symlink_to("../data")
    os.link(src / "data", src / "folder" / "same")
    with (src / "sparse").open("wb") as stream:
        stream.truncate(9 * MiB)
        stream.seek(5 * MiB)
        stream.write(b"in the middle")
    program("create", "::a", "src").ok()


program, site = fixtures(fill)


def test_a_file_whole(site: Site) -> None:
    got = site.get("/download/a/src/data")
    assert got.body == DATA and got.status == 200
    assert got.headers["Content-Length"] == str(len(DATA))
    assert got.headers["Content-Disposition"].startswith('attachment; filename="data";')
    head = site.get("/download/a/src/data", "HEAD")
    assert head.headers["Content-Length"] == str(len(DATA)) and head.body == b""
    assert site.get("/download/a/src/empty").body == b""
    assert site.get("/download/a/src/folder").status == 404


@pytest.mark.parametrize(
    ("words", "first", "last"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299", 100, 300),
        (f"bytes={MiB - 5}-{2 * MiB + 5}", MiB - 5, 2 * MiB + 6),
        ("bytes=3145740-", 3145740, len(DATA)),
        ("bytes=-20", len(DATA) - 20, len(DATA)),
        ("bytes=10-99999999999", 10, len(DATA)),
        ("bytes=-99999999999", 0, len(DATA)),
    ],
)
def test_a_part_of_a_file(site: Site, words: str, first: int, last: int) -> None:
    got = site.get("/download/a/src/data", Range=words)
    assert got.body == DATA[first:last]
    if (first, last) == (0, len(DATA)):
        assert got.status == 200
    else:
        assert got.status == 206
        assert got.headers["Content-Range"] == f"bytes {first}-{last - 1}/{len(DATA)}"


@pytest.mark.parametrize(
    "words", ["bytes=5-4", "bytes=0-1,5-6", "lines=1-2", "bytes=", "bytes=-", "bytes=x-y"]
)
def test_ranges_that_are_none_give_the_whole(site: Site, words: str) -> None:
    got = site.get("/download/a/src/data", Range=words)
    assert got.status == 200 and got.body == DATA


def test_a_range_behind_the_end_is_refused(site: Site) -> None:
    for words in (f"bytes={len(DATA)}-", "bytes=-0"):
        got = site.get("/download/a/src/data", Range=words)
        assert got.status == 416 and got.headers["Content-Range"] == f"bytes */{len(DATA)}"


def test_a_download_goes_on_only_with_the_same_content(site: Site) -> None:
    tag = site.get("/download/a/src/data", "HEAD").headers["ETag"]
    assert site.get("/download/a/src/data", Range="bytes=5-", If_Range=tag).body == DATA[5:]
    assert site.get("/download/a/src/data", Range="bytes=5-", If_Range='"other"').body == DATA


def test_a_folder_as_tar_has_all_that_was_archived(site: Site, program: Program, tmp_path: Path) -> None:
    got = site.get("/tar/a/src")
    assert got.status == 200 and got.headers["Content-Type"] == "application/x-tar"
    subprocess.run(["tar", "-xp", "-C", str(tmp_path)], input=got.body, check=True)
    assert facts(tmp_path / "src") == facts(program.cwd / "src")
    assert (tmp_path / "src/data").stat().st_ino == (tmp_path / "src/folder/same").stat().st_ino


def facts(top: Path) -> dict[bytes, tuple[object, ...]]:
    """Of everything below: what a restore must bring back."""
    found: dict[bytes, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(os.fsencode(top)):
        for name in [*folders, *files, b"."]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            time = None if stat.S_ISLNK(status.st_mode) else status.st_mtime_ns
            found[os.path.relpath(path, os.fsencode(top))] = (status.st_mode, status.st_uid, time, content)
    return found


def test_a_folder_as_zip(site: Site) -> None:
    got = site.get("/zip/a/src")
    with zipfile.ZipFile(io.BytesIO(got.body)) as made:
        assert made.testzip() is None
        names = set(made.namelist())
        assert made.read("src/data") == made.read("src/folder/same") == DATA
        assert made.read("src/sparse") == bytes(5 * MiB) + b"in the middle" + bytes(4 * MiB - 13)
        link = made.getinfo("src/folder/link")
        assert stat.S_ISLNK(link.external_attr >> 16) and made.read(link) == b"../data"
        assert stat.S_IMODE(made.getinfo("src/folder/").external_attr >> 16) == 0o750
        told = {"bad%FF", "line%0Abreak", "back%5Cslash", "späße \u202e.txt", "%2541", "q?a=b#c", "x" * 255}
        assert {name.removeprefix("src/folder/") for name in names if "folder/" in name} - {""} == told | {
            "link",
            "same",
        }
        for name in made.namelist():
            if name.removeprefix("src/folder/") in told - {"%2541"}:
                assert made.read(name) in ODD


def test_names_of_downloads_hold_nothing_that_acts(site: Site) -> None:
    for name in ODD:
        quoted = "".join(f"%{byte:02X}" for byte in name)
        got = site.get(f"/download/a/src/folder/{quoted}")
        assert got.body == name, name
        words = got.headers["Content-Disposition"]
        assert words.isascii() and words.isprintable() and "\\" not in words.partition("filename*")[0]
        assert "%E2%80%AE" not in words  # no character that turns the text round
        assert words.count('"') == 2


def asking_for_tar(site: Site) -> bytes:
    head = ["GET /tar/a/src HTTP/1.1", f"Host: 127.0.0.1:{site.port}", f"Cookie: {site.cookie}", "", ""]
    return "\r\n".join(head).encode()


def test_clients_that_leave_do_not_block_others(site: Site, program: Program) -> None:
    """More than there are threads: each reads a little and goes."""
    for _ in range(24):
        with socket.create_connection(("127.0.0.1", site.port)) as client:
            client.sendall(asking_for_tar(site))
            assert client.recv(12) == b"HTTP/1.1 200"
    assert site.get("/download/a/src/data").body == DATA


def test_a_client_that_does_not_read_does_not_keep_the_server_from_ending(program: Program) -> None:
    with browsing(program) as made, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", made.port))
        client.sendall(asking_for_tar(made))
        assert client.recv(12) == b"HTTP/1.1 200"


def damage(program: Program) -> None:
    """One byte in the middle of the largest pack."""
    pack = max(program.repo.glob("packs/*/*"), key=lambda path: path.stat().st_size)
    blob = bytearray(pack.read_bytes())
    blob[len(blob) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(blob)


def test_damage_breaks_a_download_and_never_gives_wrong_bytes() -> None:
    data = patterned(12 * MiB)  # no chunk is larger than 4 MiB: both ends are sound

    def fill(program: Program, src: Path) -> None:
        (src / "data").write_bytes(data)
        program("create", "-C", "none", "::a", "src").ok()
        damage(program)

    with scene(fill) as program, browsing(program, code=1) as site:
        for target in ("/download/a/src/data", "/tar/a/src", "/zip/a/src"):
            with pytest.raises(http.client.IncompleteRead) as broken:
                site.get(target)
            if target.startswith("/download"):
                assert broken.value.partial and data.startswith(broken.value.partial)
        assert site.get("/download/a/src/data", Range="bytes=-200000").body == data[-200_000:]
        assert site.get("/files/a/src/data").status == 200  # its beginning is sound
        said = site.running.said()
        assert "bundle does not open" in said and "Traceback" not in said
