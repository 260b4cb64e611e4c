"""Repositories behind a real `borg serve`, and full extracts of both programs side by side."""

import os
import random
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oldborg import PASSPHRASE, Old, borg_program, state_of
from program import Program
from sshd import Sshd, needs_sshd, running, script

Unpack = Callable[[str], Old]

BORG = borg_program()
# CI installs it: there its absence is a failure, not an excuse
needs_borg = pytest.mark.skipif(BORG is None and "CI" not in os.environ, reason="Borg 1.x is not installed")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with running(tmp_path) as made:
        yield made


@needs_borg
@needs_sshd
def test_a_repository_behind_sshd_is_read_as_the_local_one(
    program: Program, unpack: Unpack, server: Sshd, tmp_path: Path
) -> None:
    old = unpack("repokey")
    home = {"BORG_BASE_DIR": str(tmp_path / "home"), "HOME": str(tmp_path)}
    words = " ".join(f"{name}={value}" for name, value in home.items())
    server.allow("c", f"exec env {words} {BORG} serve --restrict-to-path {old.folder.parent}")
    program.env["BORG_RSH"] = server.rsh("c")
    place = "borg+" + server.url(str(old.folder))
    before = state_of(old.folder)
    assert (
        program("list", "--json", place).ok().json["archives"]
        == (program("list", "--json", old.place).ok().json["archives"])
    )
    listing = ("list", "--json-lines", "--format", "{sha256}{mtime}")
    for archive in ("first", "second"):
        near = program(*listing, f"{old.place}::{archive}").ok().out
        assert program(*listing, f"{place}::{archive}").ok().out == near
    assert "No problems found." in program("check", "--info", "--verify-data", place).ok().err
    program("init", "--encryption=none").ok()
    program("transfer", "--from", place).ok()
    assert sorted(program.names()) == ["first", "second", "tree"]
    assert state_of(old.folder) == before
    assert "does not exist" in program("list", place + "-gone").sentence()
    assert "does not allow this path" in program("list", "borg+" + server.url("/elsewhere")).sentence()


# Borg 1.0 says of itself that it is a 2. Today's Borg answers requests of its form in the same form.
_AS_BORG_1_0 = r"""
import os, subprocess, sys, threading
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
def ask():
    while data := os.read(0, 1 << 16):
        assert data[:1] == b"\x94", "the newer form"
        process.stdin.write(data)
    process.stdin.close()
threading.Thread(target=ask, daemon=True).start()
os.read(process.stdout.fileno(), 1 << 16)
os.write(1, b"\x94\x01\x01\xc0\x02")
while data := os.read(process.stdout.fileno(), 1 << 16):
    while data:
        data = data[os.write(1, data):]
"""


@needs_borg
def test_a_borg_1_0_is_asked_in_its_own_form(program: Program, unpack: Unpack, tmp_path: Path) -> None:
    old = unpack("repokey-1.0")
    (tmp_path / "relay.py").write_text(_AS_BORG_1_0)
    words = [
        sys.executable,
        str(tmp_path / "relay.py"),
        "env",
        f"BORG_BASE_DIR={tmp_path / 'home'}",
        str(BORG),
    ]
    restricted = ["serve", "--restrict-to-path", str(old.folder.parent)]
    program.env["BORG_RSH"] = script(tmp_path, f"exec {shlex.join([*words, *restricted])}")
    place = f"borg+ssh://far{old.folder}"
    before = state_of(old.folder)
    listing = ("list", "--json-lines", "--format", "{sha256}{mtime}")
    for archive in ("first", "second"):
        near = program(*listing, f"{old.place}::{archive}").ok().out
        assert program(*listing, f"{place}::{archive}").ok().out == near
    assert "No problems found." in program("check", "--info", "--verify-data", place).ok().err
    assert state_of(old.folder) == before
    assert "does not exist" in program("list", place + "-gone").sentence()
    assert "does not allow this path" in program("list", "borg+ssh://far/elsewhere").sentence()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("echo no such program >&2; exit 127", "no such program"),
        ("echo Welcome!; cat >/dev/null", "`ssh HOST true` must print nothing"),
        (r"head -c 1 >/dev/null; printf '\202\241i\001\241r\003'; cat >/dev/null", "speaks a protocol"),
        (
            r"head -c 1 >/dev/null; printf '\202\241i\011\241r\002'; cat >/dev/null",
            "else than answers",
        ),
        (r"head -c 1 >/dev/null; printf '\201\241i\001'; cat >/dev/null", "speaks a protocol"),
        (r"head -c 1 >/dev/null; printf '\223\001\001\002'; cat >/dev/null", "else than answers"),
        (r"head -c 1 >/dev/null; printf '\335\377\377\377\377'", "cut off"),
    ],
)
def test_a_server_that_is_no_borg_is_told_in_a_sentence(
    answer: str, said: str, program: Program, tmp_path: Path
) -> None:
    program.env["BORG_RSH"] = script(tmp_path, answer)
    assert said in program("list", "borg+ssh://host/repo").sentence()


@needs_borg
def test_a_borg_that_answers_where_strongroom_should_is_told(program: Program, tmp_path: Path) -> None:
    program.env["BORG_RSH"] = script(tmp_path, f"exec env BORG_BASE_DIR={tmp_path / 'home'} {BORG} serve")
    for words in (["list"], ["init", "--encryption=none"]):
        done = program(*words, "ssh://host/repo")
        said = done.err.splitlines()[-1]  # before it, what that Borg said
        assert done.code == 2
        assert "a Borg answers at ssh://host/repo" in said and "borg+ssh://host/repo" in said


@needs_borg
def test_both_programs_extract_the_same(program: Program, tmp_path: Path) -> None:
    """With large files, cut by Borg's own default, some of them sparse, over several segments."""
    env = os.environ | {
        "BORG_BASE_DIR": str(tmp_path / "home"),
        "BORG_PASSPHRASE": PASSPHRASE,
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
    }

    def borg(*words: str, cwd: Path = tmp_path) -> None:
        assert BORG is not None
        subprocess.run([BORG, *words], cwd=cwd, env=env, check=True, capture_output=True)

    source = tmp_path / "src"
    source.mkdir()
    noise = random.Random(3)
    (source / "large").write_bytes(noise.randbytes(3_000_000))
    with open(source / "sparse", "wb") as stream:
        stream.truncate(6_000_000)
        stream.seek(3_456_789)
        stream.write(b"an island")
    for number in range(40):
        (source / f"small{number}").write_bytes(noise.randbytes(noise.randrange(3000)))
    borg("init", "-e", "repokey-blake2", "repo")
    borg("config", "repo", "max_segment_size", "1100000")
    borg("create", "repo::one", "src")
    (source / "large").write_bytes(noise.randbytes(500_000))
    (source / "small7").unlink()
    borg("create", "-C", "zstd", "repo::two", "src")
    borg("delete", "repo::one")
    borg("create", "-C", "auto,zlib", "repo::three", "src")
    program.env["BORG_PASSPHRASE"] = PASSPHRASE
    program("init", "--encryption=none").ok()
    program("transfer", "--from", f"borg:{tmp_path / 'repo'}").ok()
    for archive in ("two", "three"):
        outs = [tmp_path / f"{archive}-{who}" for who in ("borg", "ours", "moved")]
        for out in outs:
            out.mkdir()
        borg("extract", f"../repo::{archive}", cwd=outs[0])
        program("extract", f"borg:{tmp_path / 'repo'}::{archive}", cwd=outs[1]).ok()
        program("extract", f"::{archive}", cwd=outs[2]).ok()
        trees = [
            {path[len(str(out)) :]: (one[0], one[1], one[3]) for path, one in state_of(out).items()}
            for out in outs
        ]
        for tree in trees:
            del tree[""]  # the folder that the test made
        assert trees[0] == trees[1] == trees[2]
        for out in outs:
            shutil.rmtree(out)
