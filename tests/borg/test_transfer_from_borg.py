"""Archives of Borg's are brought over with all that they hold, once, and go on where a run was stopped."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from oldborg import Old, state_of
from program import Program

Unpack = Callable[[str], Old]

FORMAT = "".join(
    f"{{{key}}}"
    for key in [
        "mode",
        "uid",
        "gid",
        "user",
        "group",
        "size",
        "mtime",
        "atime",
        "ctime",
        "source",
        "flags",
        "sha256",
        "path",
        "health",
        "extra",
    ]
)


def files(program: Program, archive: str) -> list[dict[str, Any]]:
    done = program("list", "--json-lines", "--format", FORMAT, archive).ok()
    return [json.loads(line) for line in done.out.splitlines()]


@pytest.mark.parametrize(
    "name", ["none", "keyfile-blake2", "repokey-1.2", "repokey-blake2-1.1", "repokey-1.0"]
)
def test_archives_are_brought_over_with_all_that_they_hold(name: str, sr: Program, unpack: Unpack) -> None:
    old = unpack(name)
    before = state_of(old.folder)
    sr("transfer", "--from", old.place).ok()
    assert state_of(old.folder) == before
    ours = {one["name"]: one for one in sr("info", "--json", "--last", "9").ok().json["archives"]}
    assert ours.keys() == {one["name"] for one in old.said["archives"]}
    for archive in old.said["archives"]:
        said, found = archive["info"], ours[archive["name"]]
        for key in ("start", "end", "hostname", "username", "comment", "command_line", "cwd"):
            assert found[key] == said.get(key, ""), key  # Borg 1.2 does not keep the folder
        for key in ("nfiles", "original_size"):
            assert found["stats"][key] == said["stats"][key], key
        there, here = f"{old.place}::{archive['name']}", f"::{archive['name']}"
        assert files(sr, here) == files(sr, there)
    sr("check", "--verify-data").ok()


def test_what_is_there_is_not_brought_over_again(sr: Program, unpack: Unpack) -> None:
    old = unpack("repokey")
    sr("transfer", "--from", old.place, "--glob-archives", "f*").ok()
    assert sr.names() == ["first"]
    stored = sr.stored()
    done = sr("transfer", "--list", "--from", old.place).ok()
    assert [line.partition(" ")[0] for line in done.err.splitlines() if "Bringing" not in line] == [
        "Brought", "Brought", "Is",
    ]  # fmt: skip
    assert sorted(sr.names()) == ["first", "second", "tree"]
    # of the second archive, 30 KB of noise are new; all else was there
    assert sr.stored() - stored < 40_000
    assert "Is there: tree" in sr("transfer", "--list", "--from", old.place).ok().err


def test_an_archive_of_the_same_name_is_not_replaced(sr: Program, unpack: Unpack) -> None:
    old = unpack("none")
    (sr.cwd / "file").write_text("mine")
    sr("create", "::first", "file").ok()
    done = sr("transfer", "--from", old.place)
    assert done.code == 1 and "another archive of that name" in done.err
    assert sr.paths("first") == ["file"]
    assert sorted(sr.names()) == ["first", "second", "tree"]


def test_other_commands_refuse_in_one_sentence(sr: Program, unpack: Unpack) -> None:
    old = unpack("none")
    before = state_of(old.folder)
    for words in (
        ("create", f"{old.place}::new", "."),
        ("delete", f"{old.place}::first"),
        ("prune", "--keep-last=1", old.place),
        ("compact", old.place),
        ("rename", f"{old.place}::first", "second-name"),
        ("init", "--encryption=none", old.place),
        ("key", "list", old.place),
        ("audit", old.place),
        ("replicate", old.place, sr.root / "copy"),
    ):
        assert "is a Borg repository" in sr(*words).sentence(), words
    assert state_of(old.folder) == before
