"""docs/format.md is enough to read a repository: a reader that shares no code with the program."""

import ast
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag

from format import independent_reader
from format.independent_reader import Refused, Repository
from strongroom.archive import long_files

PASSPHRASE = "secret"
Program = Callable[..., None]


def make_tree(top: Path) -> None:
    seeded = random.Random(1)
    (top / "deep" / "er").mkdir(parents=True)
    (top / "text").write_text("plain words " * 5000)
    (top / "empty").touch()
    (top / "deep" / "big").write_bytes(seeded.randbytes(3_000_000))
    (top / "deep" / os.fsdecode(b"n\xff\n")).write_bytes(b"odd name")
    os.link(top / "text", top / "deep" / "er" / "same")
    (top / "link").symlink_to("deep/big")
    os.mkfifo(top / "pipe")
    with (top / "sparse").open("wb") as sparse:
        sparse.seek(4 << 20)
        sparse.write(b"end")
    os.chmod(top / "text", 0o640)
    os.utime(top / "text", ns=(1, 1_600_000_000_123_456_789))
    os.setxattr(top / "text", "user.note", b"\x00\xff")
    for number in range(300):
        (top / "deep" / "er" / f"small {number:03}").write_bytes(seeded.randbytes(number))


def test_it_imports_nothing_of_the_program() -> None:
    tree = ast.parse(Path(independent_reader.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in names if name.startswith("strongroom")]


@pytest.mark.parametrize(
    ("encryption", "compression"),
    [("repokey", "auto,zstd,3"), ("repokey", "lzma,1"), ("authenticated", "lz4"), ("none", "zlib,6")],
)
def test_it_reads_what_the_program_wrote(
    encryption: str, compression: str, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    make_tree(source)
    monkeypatch.chdir(source)
    monkeypatch.setattr(long_files, "CHUNKS", 1)
    program("init", "-e", encryption)
    program("create", "--compression", compression, "::old", ".")
    program("create", "::gone", "deep")
    program("rename", "::old", "new")
    program("delete", "::gone")
    repository = Repository(tmp_path / "repo")
    assert len(repository.archives) == 3
    opened = repository.open(PASSPHRASE)
    meta, chunks = opened.archive("new")
    assert meta["cwd"] == os.fsencode(source) and len(chunks) > 300
    found = {}
    links: dict[bytes, list[bytes]] = {}
    for path, entry, content in opened.files("new"):
        found[path] = entry
        status = os.lstat(source / os.fsdecode(path))
        assert entry[1:4] == [status.st_mode, status.st_uid, status.st_gid]
        assert entry[6] == status.st_mtime_ns
        if stat.S_ISREG(status.st_mode):
            assert content == (source / os.fsdecode(path)).read_bytes(), path
        if stat.S_ISLNK(status.st_mode):
            assert entry[10] == os.readlink(os.fsencode(source / os.fsdecode(path)))
        if entry[12] is not None:
            links.setdefault(entry[12], []).append(path)
    walked = {
        os.path.relpath(os.path.join(folder, name), os.fsencode(source))
        for folder, folders, files in os.walk(os.fsencode(source))
        for name in folders + files
    }
    assert set(found) == walked
    assert sorted(*links.values()) == [b"deep/er/same", b"text"]
    assert found[b"text"][16] == {b"user.note": b"\x00\xff"}
    assert bytes(32) in [found[b"sparse"][8][at : at + 32] for at in range(0, len(found[b"sparse"][8]), 32)]


def test_it_refuses_a_wrong_passphrase_and_a_changed_log(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("init", "-e", "repokey")
    with pytest.raises(InvalidTag):
        Repository(tmp_path / "repo").open("wrong")
    record = tmp_path / "repo" / "log" / f"{1:020d}"
    blob = bytearray(record.read_bytes())
    blob[40] ^= 1
    record.write_bytes(blob)
    with pytest.raises(Refused):
        Repository(tmp_path / "repo")
