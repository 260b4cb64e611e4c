"""What an interrupted `borg create` leaves: checkpoints, and parts of a file that was not read to its end.

`interrupted` is of Borg 1.1.16: `borg create -c 1 --read-special` of a slow pipe, once to the end and once
killed, and what that Borg lists with and without `--consider-part-files`.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from oldborg import Old
from program import Program

Unpack = Callable[[str], Old]
_KEYS = ("path", "type", "size", "sha256")


def _listed(program: Program, *words: str) -> list[dict[str, Any]]:
    told = program("list", "--json-lines", "--format", "{type}{path}{size}{sha256}", *words).ok().out
    return _compared([json.loads(line) for line in told.splitlines()])


def _compared(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(({key: one[key] or None for key in _KEYS} for one in lines), key=str)


@pytest.mark.parametrize(("words", "key"), [((), "plain"), (("--consider-part-files",), "all")])
@pytest.mark.parametrize("archive", ["whole", "cut.checkpoint"])
def test_parts_of_files_are_listed_where_borg_lists_them(
    words: tuple[str, ...], key: str, archive: str, program: Program, unpack: Unpack
) -> None:
    old = unpack("interrupted")
    said = _compared(old.said[key][archive])
    assert any(".borg_part_" in one["path"] for one in said) == bool(words)
    assert _listed(program, *words, f"{old.place}::{archive}") == said


def test_the_part_of_a_cut_file_is_extracted(program: Program, unpack: Unpack) -> None:
    old = unpack("interrupted")
    out = program.root / "out"
    out.mkdir()
    program("extract", "--consider-part-files", f"{old.place}::cut.checkpoint", cwd=out).ok()
    (part,) = (one for one in old.said["all"]["cut.checkpoint"] if "part" in one["path"])
    assert hashlib.sha256((out / part["path"]).read_bytes()).hexdigest() == part["sha256"]
    program("extract", f"{old.place}::cut.checkpoint", "src", cwd=out).ok()
    assert (out / "src" / "whole").read_text() == "whole\n"


def test_checkpoints_are_left_where_they_are_unless_they_are_named(program: Program, unpack: Unpack) -> None:
    old = unpack("interrupted")
    names = [one["name"] for one in program("list", "--json", old.place).ok().json["archives"]]
    assert names == ["whole"]
    wanted = program("list", "--json", "--consider-checkpoints", old.place).ok().json["archives"]
    assert [one["name"] for one in wanted] == ["whole", "cut.checkpoint"]
    program("init", "--encryption=none").ok()
    program("transfer", "--from", old.place).ok()
    assert program.names() == ["whole"]
