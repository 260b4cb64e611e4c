"""What Borg itself says of its repositories is what we read, whatever their mode and compression."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mounting import mounted, needs_fuse
from oldborg import NAMES, Old, state_of
from program import Program

Unpack = Callable[[str], Old]

ALWAYS = ("uid", "gid", "user", "group")
OF_FIRST_NAMES = ("mode", "size", "sha256", "num_chunks")


@pytest.mark.parametrize("name", NAMES)
def test_every_archive_and_file_is_listed_as_borg_lists_it(
    name: str, program: Program, unpack: Unpack
) -> None:
    old = unpack(name)
    before = state_of(old.folder)
    ours = program("list", "--json", old.place).ok().json
    keys = ("name", "id", "start")
    assert [[one[key] for key in keys] for one in ours["archives"]] == [
        [one[key] for key in keys] for one in old.said["archives"]
    ]
    text = "".join(f"{{{key}}}" for key in (*ALWAYS, *OF_FIRST_NAMES, "mtime", "path"))
    for archive in old.said["archives"]:
        done = program("list", "--json-lines", "--format", text, f"{old.place}::{archive['name']}").ok()
        found = {one["path"]: one for one in map(json.loads, done.out.splitlines())}
        said = {one["path"]: one for one in archive["files"]}
        assert found.keys() == said.keys()
        for path, one in said.items():
            # which of several names counts as the first is another one: ours are sorted
            is_first = not one["mode"].startswith("h") and not found[path]["mode"].startswith("h")
            keys = ALWAYS + (OF_FIRST_NAMES if is_first else ())
            assert {key: found[path][key] for key in keys} == {key: one[key] for key in keys}
            # Borg rounds nanoseconds through a float; Borg 1.2 shows what 1.0 kept of before 1970 as 1970
            times = [datetime.fromisoformat(of[path]["mtime"]) for of in (found, said)]
            if not one["mtime"].startswith("1970-01-01T00:00:00"):
                assert abs(times[0] - times[1]) <= timedelta(microseconds=1), path
    assert state_of(old.folder) == before


@pytest.mark.parametrize("name", NAMES)
def test_files_are_extracted_with_their_content(name: str, program: Program, unpack: Unpack) -> None:
    old = unpack(name)
    out = program.root / "out"
    out.mkdir()
    # no right to make a device, or to give files away, is a warning
    assert program("extract", f"{old.place}::first", cwd=out).code == (0 if os.geteuid() == 0 else 1)
    checked = 0
    for one in old.archive("first")["files"]:
        if one["type"] == "-" and one["sha256"] and "?" not in one["path"]:
            assert hashlib.sha256((out / one["path"]).read_bytes()).hexdigest() == one["sha256"], one["path"]
            when = datetime.fromisoformat(one["mtime"]).replace(tzinfo=UTC).timestamp()
            if when:  # see above
                assert abs((out / one["path"]).stat().st_mtime - when) < 0.00001, one["path"]
            checked += 1
    assert checked >= 6
    assert Path(os.fsdecode(os.fsencode(out) + b"/src/latin \xe9")).read_text() == "a name that is no UTF-8\n"
    assert (out / "src/plain/text").stat().st_ino == (out / "src/another").stat().st_ino
    assert os.readlink(out / "src/link") == "plain/text"
    assert os.listxattr(out / "src/plain/noise")
    assert os.getxattr(out / "src/plain/noise", "user.colour") == b"\xffblue\0"


@pytest.mark.parametrize("name", ["none", "repokey", "repokey-1.0", "authenticated-1.1"])
def test_facts_of_an_archive_are_borgs(name: str, program: Program, unpack: Unpack) -> None:
    old = unpack(name)
    for archive in old.said["archives"]:
        said = archive["info"]
        (ours,) = program("info", "--json", f"{old.place}::{archive['name']}").ok().json["archives"]
        for key in ("name", "id", "start", "end", "hostname", "username", "comment", "command_line", "cwd"):
            assert ours[key] == said.get(key, ""), key  # Borg 1.2 does not tell the folder
        for key in ("nfiles", "original_size"):
            assert ours["stats"][key] == said["stats"][key] > 0, key
    total = program("info", "--json", old.place).ok().json["cache"]["stats"]["total_size"]
    assert total == sum(one["info"]["stats"]["original_size"] for one in old.said["archives"])


@needs_fuse
def test_archives_are_shown_as_folders(program: Program, unpack: Unpack) -> None:
    old = unpack("none")
    before = state_of(old.folder)
    (said,) = (one for one in old.archive("second")["files"] if one["path"] == "src/plain/noise")
    with mounted(program, old.place) as top:
        assert {"first", "second", "tree", "latest", "by-host"} <= set(os.listdir(top))
        assert hashlib.sha256((top / "second/src/plain/noise").read_bytes()).hexdigest() == said["sha256"]
        assert os.readlink(top / "first/src/link") == "plain/text"
        assert os.listdir(top / "tree") == ["etc", "src"]
    assert state_of(old.folder) == before


def test_archives_are_compared_searched_and_exported(program: Program, unpack: Unpack) -> None:
    old = unpack("repokey")
    done = program("diff", "--json-lines", f"{old.place}::first", "second").ok()
    changed = {one["path"]: one["changes"] for one in map(json.loads, done.out.splitlines())}
    assert changed["src/plain/added"][0]["type"] == "added"
    assert changed["src/grüße.txt"][0]["type"] == "removed"
    assert "src/plain/text" not in changed
    assert program("cat", f"{old.place}::first", "src/deep/a/b/leaf").ok().out == "leaf\n"
    assert "src/plain/noise" in program("find", "noise", "-r", old.place).ok().out
    done = program("export-tar", f"{old.place}::first", "-").ok()
    with tarfile.open(fileobj=io.BytesIO(done.raw)) as tar:
        names = set(tar.getnames())
    assert {one["path"] for one in old.archive("first")["files"] if "?" not in one["path"]} <= names
