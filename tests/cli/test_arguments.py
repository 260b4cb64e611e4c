"""How the command line is read."""

import os
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.archive.options import FilesCacheMode
from strongroom.cli import argument_types as types
from strongroom.cli.arguments import parse


def test_common_options_count_before_and_after_the_command() -> None:
    assert parse(["--progress", "list", "::a"]).progress
    assert parse(["list", "::a", "--progress"]).progress
    assert not parse(["list", "::a"]).progress
    assert parse(["--show-rc", "key", "--iec", "export", "/r"]).iec
    assert parse(["--show-rc", "key", "--iec", "export", "/r"]).show_rc


def test_the_innermost_level_wins_and_topics_add_up() -> None:
    assert parse(["--debug", "list", "--info"]).log_level == "info"
    assert parse(["--debug", "list"]).log_level == "debug"
    assert parse(["--debug-topic", "a", "list", "--debug-topic", "b"]).debug_topics == ["a", "b"]
    assert parse(["list"]).debug_topics == []


def test_defaults_of_common_options() -> None:
    args = parse(["list"])
    assert (args.lock_wait, args.umask, args.log_level, args.lock) == (1, 0o077, "warning", True)


def test_r_makes_arguments_name_archives() -> None:
    args = parse(["-r", "/repo", "create", "name", "path"])
    assert (args.repo, args.location, args.paths) == ("/repo", "name", ["path"])
    args = parse(["key", "export", "--repo", "/repo", "out.key"])
    assert (args.repo, args.location, args.path) == ("/repo", "", "out.key")
    args = parse(["delete", "-r", "/repo", "a", "b"])
    assert (args.location, args.archives) == ("a", ["b"])


def test_options_may_stand_between_paths() -> None:
    args = parse(["create", "::a", "--stats", "one", "--list", "two", "-"])
    assert (args.location, args.paths) == ("::a", ["one", "two", "-"])
    assert args.stats and args.output_list


def test_words_after_two_dashes_are_paths_even_behind_an_option() -> None:
    args = parse(["create", "::a", "--stats", "one", "--", "--noatime"])
    assert args.paths == ["one", "--noatime"] and not args.noatime


def test_a_command_after_two_dashes_keeps_its_options() -> None:
    args = parse(["create", "--content-from-command", "::a", "--", "dump", "--all", "-x"])
    assert args.paths == ["dump", "--all", "-x"]


def test_patterns_keep_the_order_of_the_command_line() -> None:
    args = parse(["create", "::a", "-e", "x", "--pattern=-y", "--exclude", "z", "--patterns-from", "f", "p"])
    assert args.pattern_rules == [
        ("exclude", "x"),
        ("pattern", "-y"),
        ("exclude", "z"),
        ("patterns_from", "f"),
    ]


def test_usage_errors_are_short_and_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["frob"], ["create"], ["list", "--nonsense"], ["list", "--first", "0"], ["init"]):
        with pytest.raises(SystemExit) as end:
            parse(words)
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 2
        assert said.splitlines()[1].startswith("See: strongroom")


@pytest.mark.parametrize(
    "words",
    [
        ["list", "-P", "a", "-a", "b"],
        ["list", "--first", "1", "--last", "1"],
        ["list", "-a", "x", "-a", "y"],
        ["create", "::a", "p", "--filter", "A", "--filter", "M"],
    ],
)
def test_options_that_exclude_each_other(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(words)
    assert end.value.code == 2


def test_no_words_and_a_group_alone_show_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in (([], "COMMAND"), (["key"], "change-passphrase")):
        with pytest.raises(SystemExit) as end:
            parse(words)
        assert end.value.code == 0
        assert expected in capsys.readouterr().out


def test_deprecated_options_still_work_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    args = parse(["create", "--numeric-owner", "--nobsdflags", "--noatime", "::a", "p"])
    assert args.numeric_ids and args.noflags
    said = capsys.readouterr().err
    assert said.count("is deprecated") == 3


def test_default_compression() -> None:
    assert parse(["create", "::a", "p"]).compression == "auto,zstd,2"


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("ctime,size,inode", FilesCacheMode()),
        ("mtime,size", FilesCacheMode(time="mtime", inode=False)),
        ("inode,size,mtime", FilesCacheMode(time="mtime")),
        ("rechunk,mtime", FilesCacheMode(time="mtime", read=False)),
        ("disabled", FilesCacheMode(read=False, write=False)),
    ],
)
def test_files_cache_modes(text: str, mode: FilesCacheMode) -> None:
    assert types.files_cache_mode(text) == mode


@pytest.mark.parametrize("text", ["", "ctime", "ctime,mtime,size", "rechunk", "size,inode", "x"])
def test_files_cache_modes_that_borg_refuses(text: str) -> None:
    with pytest.raises(types.ArgumentTypeError):
        types.files_cache_mode(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1234", 1234), ("55G", 55 * 10**9), ("1.7T", 1_700_000_000_000), ("5k", 5000)],
)
def test_sizes(text: str, size: int) -> None:
    assert types.size(text) == size


@pytest.mark.parametrize("text", ["", "G", "x", "-1", "nan", "infG", "1e30"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(types.ArgumentTypeError):
        types.size(text)


def test_small_quotas_are_refused() -> None:
    with pytest.raises(types.ArgumentTypeError, match="10M"):
        types.storage_quota("9M")
    assert types.storage_quota("10M") == 10**7


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00", "2262-05-01", "9999-12-31T23:59:59", "future"])
def test_times_that_no_archive_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The first and the third were an internal error, the second an archive that nobody could read."""
    monkeypatch.chdir(tmp_path)
    Path("future").touch()
    os.utime("future", (2**34, 2**34))
    with pytest.raises(ArgumentTypeError, match="not between 1678-01-01 and 2262-01-01"):
        types.timestamp(text)
    assert types.timestamp("1960-01-01").year == 1960


def test_timestamps(tmp_path: Path) -> None:
    expected = datetime(2026, 11, 23, 15, tzinfo=UTC)
    for text in (
        "2026-11-23T15:00:00",
        "2026-11-23 15:00",
        "2026-11-23T15:00:00Z",
        "2026-11-23T15:00:00+00:00",
    ):
        assert types.timestamp(text) == expected
    assert types.timestamp("2026-11-23") == expected.replace(hour=0)
    assert types.timestamp("2026-327") == expected.replace(hour=0)
    file = tmp_path / "reference"
    file.touch()
    assert types.timestamp(str(file)).timestamp() == pytest.approx(file.stat().st_mtime)
    with pytest.raises(types.ArgumentTypeError):
        types.timestamp("yesterday")


@pytest.mark.parametrize("text", ["buzhash,19,23,21,4095", "19,23,21,4095", "fixed,4194304", "default"])
def test_chunker_params_of_borg_are_accepted(text: str) -> None:
    assert types.chunker_params(text)


@pytest.mark.parametrize("text", ["", "buzhash,1,23,21,4095", "19,23,21,4096", "fixed,1", "fixed", "a,b,c,d"])
def test_chunker_params_that_borg_refuses(text: str) -> None:
    with pytest.raises(types.ArgumentTypeError):
        types.chunker_params(text)
