"""create, list and extract from the command line."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def tree(repository: Run) -> Path:
    """A small tree in the working folder."""
    root = Path("src")
    root.mkdir()
    (root / "a").write_text("hi\n")
    os.link(root / "a", root / "b")
    (root / "link").symlink_to("a")
    (root / "sub").mkdir()
    (root / "sub" / "x.o").write_bytes(b"x" * 1000)
    (root / "sub" / os.fsdecode(b"n\xff")).write_text("1")
    return root


def test_init_advises_to_keep_the_key(run: Run) -> None:
    done = run("init", "-e", "repokey-blake2")
    assert done.code == 0
    assert "key export" in done.err and done.out == ""
    again = run("init", "-e", "repokey")
    assert again.code == 2 and len(again.err.splitlines()) == 1


def test_init_refuses_what_cannot_be(run: Run) -> None:
    assert run("init", "-e", "repokey", "--storage-quota", "1K").code == 2
    assert run("init", "-e", "secret").code == 2
    assert run("init").code == 2
    assert run("init", "-e", "none", "--import-related-secrets", "x").code == 2


def test_list_of_files_after_create(repository: Run, tree: Path) -> None:
    done = repository("create", "--list", "::one", "src")
    assert done.code == 0, done.err
    assert sorted(done.err.splitlines()) == [
        "A src/a", "A src/sub/n?", "A src/sub/x.o", "d src", "d src/sub", "h src/b", "s src/link",
    ]  # fmt: skip
    assert repository("list", "::one", "--short").out.splitlines() == [
        "src", "src/a", "src/b", "src/link", "src/sub", "src/sub/n?", "src/sub/x.o",
    ]  # fmt: skip
    listed = repository("list", "::one", "src/link", "src/b").out
    assert [line.split(maxsplit=7)[7] for line in listed.splitlines()] == ["src/b", "src/link -> a"]
    assert repository("list", "::one", "-e", "src/sub").out.count("\n") == 4


def test_lists_are_filtered_by_letters(repository: Run, tree: Path) -> None:
    done = repository("create", "--list", "--filter", "hs", "::one", "src")
    assert sorted(done.err.splitlines()) == ["h src/b", "s src/link"]


def test_formats_of_files(repository: Run, tree: Path) -> None:
    repository("create", "::one", "src")
    text = "{size} {num_chunks} {dsize} {unique_chunks} {health} {sha256} {path}\\n"
    rows = repository("list", "::one", "src/a", "src/b", "src/sub/x.o", "--format", text).out.splitlines()
    digest = hashlib.sha256(b"hi\n").hexdigest()
    assert rows[0] == f"3 1 3 1 healthy {digest} src/a"
    assert rows[1] == "0 0 0 0 healthy  src/b"
    assert rows[2] == f"1000 1 1000 1 healthy {hashlib.sha256(b'x' * 1000).hexdigest()} src/sub/x.o"
    assert int(repository("list", "::one", "src/sub/x.o", "--format", "{csize}").out) > 0
    repository("create", "::two", "src")
    assert repository("list", "::one", "src/a", "--format", "{unique_chunks} {dcsize}").out == "0 0"


def test_json_lines(repository: Run, tree: Path) -> None:
    repository("create", "::one", "src")
    records = [json.loads(line) for line in repository("list", "::one", "--json-lines").out.splitlines()]
    assert [record["path"] for record in records][:3] == ["src", "src/a", "src/b"]
    assert records[1]["healthy"] is True and records[2]["source"] == "src/a"
    assert repository("list", "--json-lines").code == 2
    assert repository("list", "--json", "::one").code == 2


def test_archives_are_listed_filtered_and_sorted(repository: Run, tree: Path) -> None:
    for name in ("b-1", "a-1", "b-2"):
        assert repository("create", f"::{name}", "src/a").code == 0

    def names(*words: str) -> list[str]:
        done = repository("list", "--short", *words)
        assert done.code == 0, done.err
        return done.out.split()

    assert names() == ["b-1", "a-1", "b-2"]
    assert names("-a", "b-*") == ["b-1", "b-2"]
    assert names("-P", "b", "--last", "1") == ["b-2"]
    assert names("--first", "1") == ["b-1"]
    assert names("--sort-by", "archive") == ["a-1", "b-1", "b-2"]
    ignored = repository("list", "--first", "1", "::a-1")  # Borg takes no notice of it
    assert ignored.code == 0 and ignored.out == repository("list", "::a-1").out and "ignored" in ignored.err
    assert repository("list", "--format", "{archive}|{comment}{NL}", "--last", "1").out == "b-2|\n"


def test_names_comments_and_dates(repository: Run, tree: Path) -> None:
    done = repository(
        "create", "--comment", "of {user}", "--timestamp", "2020-02-03T04:05:06", "::{utcnow:%Y-%m-%d}", "src"
    )  # fmt: skip
    assert done.code == 0, done.err
    shown = repository("list", "--format", "{archive} {start:%Y} {comment}").out
    assert shown.startswith("2020-02-03 2020 of ") and "{" not in shown


def test_a_dry_run_stores_nothing_and_needs_no_repository(
    repository: Run, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = os.environ["STRONGROOM_REPO"]
    monkeypatch.setenv("STRONGROOM_REPO", "/nowhere")
    done = repository("create", "--dry-run", "--list", "--stats", "::one", "src", "-e", "*.o")
    assert done.code == 0
    warning, *listed = done.err.splitlines()
    assert warning.startswith("Ignoring --stats")
    assert sorted(listed) == [
        "- src", "- src/a", "- src/b", "- src/link", "- src/sub", "- src/sub/n?", "x src/sub/x.o",
    ]  # fmt: skip
    monkeypatch.setenv("STRONGROOM_REPO", here)
    assert repository("list").out == ""


def test_patterns_and_roots_from_a_file(repository: Run, tree: Path) -> None:
    Path("patterns").write_text("# what to take\nR src\n- src/sub\n+ src/a\n- **\n")
    assert repository("create", "--patterns-from", "patterns", "::one").code == 0
    assert "src/a" in repository("list", "--short", "::one").out
    assert "sub" not in repository("list", "--short", "::one").out


def test_warnings_have_borgs_codes(repository: Run, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = repository("create", "::one", "src", "missing")
    assert done.code == 1
    assert "missing" in done.err
    monkeypatch.setenv("BORG_EXIT_CODES", "modern")
    assert repository("create", "::two", "src", "missing").code == 107
    assert repository("create", "::two", "src").code == 30
    assert repository("list", "::nowhere").code == 31


@pytest.mark.parametrize(
    "words",
    [
        ["::one"],
        ["::one", "src", "--content-from-command", "--paths-from-stdin"],
        ["::one", "--content-from-command"],
        ["::one", "src", "--paths-from-stdin"],
        ["::one", "src", "--compression", "zstd,99"],
        ["::one", "src", "--pattern", "nonsense"],
        ["::one", "src", "--patterns-from", "missing"],
        ["::one", "src", "--stats", "--quick-stats"],
        ["::one", "src", "--paths-from-command", "--paths-delimiter", ""],
        ["one", "src"],
        ["::a/b", "src"],
    ],
)
def test_what_cannot_be_created_is_refused_in_a_sentence(
    repository: Run, tree: Path, words: list[str]
) -> None:
    done = repository("create", *words)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "Internal error" not in done.err


def test_content_and_paths_from_commands(repository: Run, tree: Path) -> None:
    done = repository(
        "create", "--content-from-command", "--stdin-name", "dump", "::one", "--", "echo", "-n", "hi"
    )
    assert done.code == 0, done.err
    assert repository("extract", "--stdout", "::one").out == "hi"
    assert repository("list", "::one", "--format", "{mode} {path} {size}").out == "-rw-rw---- dump 2"
    done = repository(
        "create",
        "--paths-from-command",
        "--paths-delimiter",
        "\\0",
        "::two",
        "--",
        "printf",
        "src/a\\0src/sub\\0",
    )
    assert done.code == 0, done.err
    assert set(repository("list", "--short", "::two").out.split()) >= {"src/a", "src/sub"}
    assert repository("create", "--content-from-command", "::three", "--", "false").code == 2


def test_restored_files_are_the_same(repository: Run, tree: Path) -> None:
    repository("create", "::one", "src")
    Path("out").mkdir()
    os.chdir("out")
    done = repository("extract", "--list", "::one", "src/sub", "never")
    assert done.code == 1
    assert "Include pattern 'never' never matched." in done.err
    assert "src/sub/x.o" in done.err.splitlines()
    assert Path("src/sub/x.o").read_bytes() == b"x" * 1000
    assert not Path("src/a").exists()
    assert repository("extract", "::one").code == 0
    assert Path("src/a").stat().st_nlink == 2
    assert repository("extract", "--strip-components", "1", "::one", "src/a").code == 0
    assert Path("a").read_text() == "hi\n"
    assert repository("extract", "--dry-run", "::one").code == 0


def test_log_json_lists_files_as_borg_does(repository: Run, tree: Path) -> None:
    done = repository("create", "--log-json", "--list", "::one", "src/a", "missing")
    records = [json.loads(line) for line in done.err.splitlines()]
    assert {"type": "file_status", "status": "A", "path": "src/a"} in records
    warning = next(record for record in records if record["type"] == "log_message")
    assert (warning["levelname"], warning["msgid"]) == ("WARNING", "BackupFileNotFoundError")
