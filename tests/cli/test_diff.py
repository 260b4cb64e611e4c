"""`diff` says what Borg 1.4.5 says of the same folder (data/borg-1.4.5-diff.json, by diff_scene.py)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import diff_scene

Run = Callable[..., Any]
BORG: dict[str, list[str]] = json.loads((Path(__file__).parent / "data" / "borg-1.4.5-diff.json").read_text())
# content alone: of these Borg prints an empty change, or nothing at all
OURS = {"src/became a file": "drwxr-xr-x -> -rw-r--r--", "src/became a folder": "-rw-r--r-- -> drwxr-xr-x"}


@pytest.fixture
def scene(repository: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("TZ", "UTC")
    src = Path("src")
    src.mkdir()
    diff_scene.before(src)
    assert repository("create", "::one", "src").code == 0
    diff_scene.after(src)
    assert repository("create", "::two", "src").code == 0
    return repository


def test_the_output_is_borgs(scene: Run) -> None:
    for name, words in diff_scene.RUNS.items():
        done = scene("diff", *words)
        assert (done.code, done.err) == (0, ""), name
        found, wanted = diff_scene.told(name, done.out), BORG[name]
        if "--content-only" in words:
            found, wanted = ([line for line in lines if "became" not in line] for lines in (found, wanted))
        assert found == wanted, name
        assert bool(found) == (name != "the same")


def test_another_kind_of_file_is_another_content(scene: Run) -> None:
    out = scene("diff", "--content-only", "::one", "two").out.splitlines()
    assert {line for line in out if "became" in line} == {f"[{how}] {path}" for path, how in OURS.items()}


def test_a_format_chooses_what_is_shown(scene: Run) -> None:
    text = "{size_added}|{size_removed}|{content}|{mode}|{isomtime}|{path}\\0"
    out = scene("diff", "--format", text, "::one", "two", "src/mode", "src/grown", "src/touched").out
    assert out.split("\0") == [
        "32|16|    +32 B     -16 B|||src/grown",
        "0|0||[-rw-r--r-- -> -rw-------]||src/mode",
        "0|0|||[mtime: 2020-09-13T12:26:40.000000 -> 2020-09-13T12:28:20.123456]|src/touched",
        "",
    ]


def test_a_format_with_an_unknown_key_is_refused(scene: Run) -> None:
    done = scene("diff", "--format", "{sise}", "::one", "two")
    assert done.code == 2 and "sise" in done.err


def test_a_path_that_is_in_neither_archive_is_a_warning_one_that_is_the_same_is_none(scene: Run) -> None:
    done = scene("diff", "::one", "two", "src/kept/file", "sh:**/fi?e", "src/no such", "--content-only")
    assert done.code == 1
    assert done.err.splitlines() == ["Include pattern 'src/no such' never matched."]
    assert "gone/deep/file" in done.out and "kept" not in done.out


def test_an_archive_that_is_not_there_is_one_sentence(scene: Run) -> None:
    for words in (["::one", "three"], ["::three", "one"], ["::one", "elsewhere::two"], ["::one", ""]):
        done = scene("diff", *words)
        assert done.code == 2 and len(done.err.splitlines()) == 1, done
    assert scene("diff", "--sort-by", "name", "::one", "two").code == 2
    assert scene("diff", "--sort-by", "path", "--sort-by", "size", "::one", "two").code == 2
