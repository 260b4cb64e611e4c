"""prune, delete, undelete and list --deleted, from the command line."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shelf import time_zone

Run = Callable[..., Any]
HEX = "[0-9a-f]{64}"


@pytest.fixture
def filled(repository: Run) -> Run:
    """Five archives, two of them of one day, at noon UTC."""
    Path("a").write_text("content of a\n" * 100)
    for name, at in (
        ("mon", "2026-11-16T11:00:00"),
        ("tue", "2026-11-17T11:00:00"),
        ("wed", "2026-11-18T10:00:00"),
        ("wed-late", "2026-11-18T11:00:00"),
        ("thu", "2026-11-19T11:00:00"),
    ):
        done = repository("create", "--timestamp", at, f"::{name}", "a")
        assert done.code == 0, done.err
    return repository


def names(run: Run, *words: str) -> list[str]:
    return run("list", "--short", *words).out.split()


def log_size(tmp_path: Path) -> int:
    return len(list((tmp_path / "repo" / "log").iterdir()))


# --- prune ---


def test_the_list_says_which_rule_kept_each_archive_as_borg_does(filled: Run) -> None:
    with time_zone("UTC"):
        done = filled("prune", "--dry-run", "--list", "--keep-daily", "3", "--keep-weekly=1", "--iec")
    assert done.code == 0 and done.out == ""
    lines = [re.sub(rf" +\w{{3}}, \S+ \S+ \[{HEX}\]$", "", line) for line in done.err.splitlines()]
    assert lines == [
        "Keeping archive (rule: daily #1):            thu",
        "Keeping archive (rule: daily #2):            wed-late",
        "Would prune:                                 wed",
        "Keeping archive (rule: daily #3):            tue",
        "Keeping archive (rule: weekly[oldest] #1):   mon",
    ]
    assert len(names(filled)) == 5
    done = filled("prune", "--list", "--keep-last", "1", "-v")
    assert "Pruning archive (1/4):                       wed-late" in done.err
    assert "Keeping 1 archives and 0 checkpoints, pruning 4 archives and 0 checkpoints." in done.err
    assert names(filled) == ["thu"]


def test_pruning_is_one_record_and_nothing_is_freed(filled: Run, tmp_path: Path) -> None:
    def stored() -> set[Path]:
        return {path for path in (tmp_path / "repo").rglob("*") if path.is_file()}

    before = stored()
    assert filled("prune", "--keep-daily", "1").code == 0
    (record,) = stored() - before
    assert record.parent.name == "log" and before < stored()


@pytest.mark.parametrize("words", [[], ["--keep-daily", "0"], ["-a", "*"], ["--dry-run", "--list"]])
def test_without_a_rule_prune_does_nothing(filled: Run, words: list[str]) -> None:
    done = filled("prune", *words)
    assert done.code == 2 and len(done.err.splitlines()) == 1 and "--keep-within" in done.err
    assert len(names(filled)) == 5


@pytest.mark.parametrize(
    "words",
    [
        ["--keep-13weekly", "1", "--keep-3monthly", "1"],
        ["--keep-within", "5"],
        ["--keep-within", "0d"],
        ["--keep-within", "-1d"],
        ["--keep-within", "5S"],
        ["--keep-within", "9" * 5000 + "y"],
        ["--keep-within", ""],
        ["--keep-daily", "many"],
        ["--keep-daily", "1", "::mon"],
        ["--keep-daily", "1", "--first", "2"],
        ["--keep-daily", "1", "-a", "x", "-P", "y"],
    ],
)
def test_rules_that_mean_nothing_are_refused(filled: Run, words: list[str]) -> None:
    assert filled("prune", *words).code == 2
    assert len(names(filled)) == 5


def test_every_rule_is_taken(filled: Run) -> None:
    rules = ["-H", "-1", "-d", "1", "-w", "1", "-m", "1", "-y", "1", "--keep-minutely", "1"]
    done = filled("prune", "-n", "--list", *rules, "--keep-secondly=1", "--keep-3monthly", "1")
    assert done.code == 0 and "Would prune" not in done.err
    for rule in ("within", "secondly", "13weekly", "yearly"):
        value = "1H" if rule == "within" else "-1"
        done = filled("prune", "-n", "--list", f"--keep-{rule}", value, "--save-space", "--force", "-c", "9")
        assert done.code == 0 and (rule == "within" or f"{rule} #1)" in done.err)
        assert ("Keeping" not in done.err) == (rule == "within")


def test_prune_chooses_by_name_and_tells_statistics(filled: Run) -> None:
    done = filled("prune", "--glob-archives", "wed*", "--keep-last=1", "--stats", "--list")
    assert done.err.count("archive (") == 2 and "Pruning archive (1/1):" in done.err
    assert re.search(r"^Deleted data: +-1\.\d+ kB +-\S+ k?B +-?0 B$", done.err, re.MULTILINE), done.err
    assert "All archives:" in done.err
    assert names(filled) == ["mon", "tue", "wed-late", "thu"]
    done = filled("prune", "--prefix", "m", "--keep-yearly=1", "--quick-stats")
    assert "Deleted data:" in done.err and "All archives:" not in done.err


# --- delete ---


def test_archives_are_deleted_by_every_filter(filled: Run) -> None:
    assert filled("delete", "--first", "1", "--list").err.startswith("Deleting archive: mon ")
    assert filled("delete", "--last", "1", "--sort-by", "name").code == 0
    assert names(filled) == ["tue", "wed", "thu"]
    assert filled("delete", "--oldest", "10H").code == 0
    assert filled("delete", "--newest", "1S", "-n").code == 0
    assert names(filled) == ["wed", "thu"]
    assert filled("delete", "--newer", "1M").code == 0
    assert names(filled) == ["wed", "thu"]
    assert filled("delete", "-P", "w").code == 0
    assert filled("delete", "--older", "1M").code == 0
    assert names(filled) == []


@pytest.mark.parametrize("word", ["--oldest", "--newest", "--older", "--newer"])
def test_a_filter_by_age_that_finds_nothing_never_means_the_repository(
    repository: Run, tmp_path: Path, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRONGROOM_DELETE_I_KNOW_WHAT_I_AM_DOING", "YES")
    assert repository("delete", word, "1d").code == 0
    assert repository("delete", word, "1x").code == 2
    assert repository("delete", word, "1d", "::x").code == 2
    assert repository("list").code == 0


def test_statistics_of_a_deletion_count_what_only_the_deleted_share(repository: Run) -> None:
    Path("a").write_bytes(b"shared by both " * 1000)
    for name in ("one", "two"):
        assert repository("create", f"::{name}", "a").code == 0
    assert re.search(r"Deleted data:.* -?0 B$", repository("delete", "-n", "-s", "::one").err, re.MULTILINE)
    done = repository("delete", "--stats", "-a", "*")
    assert re.search(r"Deleted data: .*-[1-9]\S* k?B$", done.err, re.MULTILINE), done.err


def test_a_damaged_archive_is_deleted_only_by_name_and_force(filled: Run, tmp_path: Path) -> None:
    (done,) = (one for one in filled("list", "--json").json["archives"] if one["name"] == "tue")
    (tmp_path / "repo" / "archives" / done["id"]).write_bytes(b"rubbish")
    assert filled("delete", "--cache-only").code == 0
    refused = filled("delete", "::tue")
    assert refused.code == 2 and "--force" in refused.err
    left = filled("delete", "-a", "*u*")
    assert left.code == 1 and "left alone" in left.err
    assert filled("delete", "--force", "::tue").code == 0
    assert names(filled) == ["mon", "wed", "wed-late"]
    assert filled("undelete", "::tue").code == 0


# --- undelete ---


def test_deleted_archives_are_listed_and_come_back(filled: Run, tmp_path: Path) -> None:
    assert filled("list", "--deleted").out == ""
    assert filled("delete", "::mon", "tue").code == 0
    shown = filled("list", "--deleted").out.splitlines()
    assert len(shown) == 2
    assert re.fullmatch(rf"mon +\w{{3}}, \S+ \S+ \[{HEX}\] deleted \w{{3}}, \S+ \S+ by admin", shown[0])
    assert (
        filled("list", "--deleted", "--format", "{name} {deleted_by}{NL}", "--last", "1").out == "tue admin\n"
    )
    record = filled("list", "--deleted", "--json", "--format", "{deleted}{deleted_by}").json
    assert [one["deleted_by"] for one in record["archives"]] == ["admin", "admin"]
    before = log_size(tmp_path)
    assert "Would undelete archive: mon" in filled("undelete", "--dry-run", "--list", "::mon").err
    assert log_size(tmp_path) == before
    done = filled("undelete", "--list", "::mon")
    assert done.code == 0 and re.match(rf"Undeleting archive: mon .*\[{HEX}\] \(1/1\)\n", done.err)
    assert names(filled, "--deleted") == ["tue"]
    assert filled("undelete", "-a", "t*").code == 0
    assert names(filled) == ["mon", "tue", "wed", "wed-late", "thu"]
    assert filled("list", "--deleted", "::mon").code == 2


def test_pruned_archives_come_back_with_their_content(filled: Run) -> None:
    assert filled("prune", "--keep-last", "1").code == 0
    assert filled("undelete", "--older", "1M").code == 0
    Path("out").mkdir()
    assert filled("extract", "--stdout", "::mon").out == "content of a\n" * 100
    assert filled("check", "--verify-data").code == 0


def test_what_is_to_come_back_must_be_said(filled: Run) -> None:
    assert filled("delete", "::mon").code == 0
    for words in ([], ["-a", "*", "::mon"], ["::nowhere"], ["::tue"], ["::", "aid:zz"]):
        done = filled("undelete", *words)
        assert done.code == 2 and len(done.err.splitlines()) == 1, done.err
    assert names(filled, "--deleted") == ["mon"]


def test_a_taken_name_is_refused_by_name_and_left_out_by_filter(filled: Run) -> None:
    assert filled("delete", "::mon", "tue").code == 0
    assert filled("create", "::mon", "a").code == 0
    done = filled("undelete", "::mon", "tue")
    assert done.code == 2 and "strongroom rename" in done.err and names(filled, "--deleted") == ["mon", "tue"]
    done = filled("undelete", "-a", "*")
    assert done.code == 1 and len(done.err.splitlines()) == 1
    assert names(filled, "--deleted") == ["mon"]
    assert filled("rename", "::mon", "newer").code == 0
    assert filled("undelete", "::mon").code == 0
    assert "mon" in names(filled) and "newer" in names(filled)


# --- with a backup key ---


def test_a_backup_key_asks_by_name_and_by_time_but_not_by_pattern(run: Run, tmp_path: Path) -> None:
    assert run("init", "--encryption=keyfile", "--backup-key").code == 0
    keys = tmp_path / "base" / ".config" / "strongroom" / "keys"
    (admin,) = keys.glob("*__admin")
    admin.rename(tmp_path / "safe")
    Path("a").write_text("a")
    for name in ("one", "two", "three"):
        assert run("create", f"::{name}", "a").code == 0
    for words in (
        ["prune", "--keep-last", "1", "-a", "t*"],
        ["delete", "-a", "t*"],
        ["undelete", "-a", "t*"],
    ):
        done = run(*words)
        assert done.code == 2 and len(done.err.splitlines()) == 1 and "sealed" in done.err
    assert run("delete", "--list", "::one").err.startswith("Deleting archive: one ")
    assert run("prune", "--keep-within", "1d", "--stats").code == 0
    asked = run("delete", "--last", "1")
    assert asked.code == 0 and asked.err.startswith("Their deletion is asked for, no more")
    assert run("delete", "--last", "1").err == ""  # it was asked for before
    assert run("list", "--deleted").out == ""  # nothing is deleted by being asked for
    assert run("list").out.count("deletion asked for") == 2
    assert run("undelete", "::one").code == 0
    for path in keys.iterdir():
        path.unlink()
    (tmp_path / "safe").rename(admin)
    assert names(run) == ["one", "two", "three"] and names(run, "--deleted") == []
    assert [line.split()[0] for line in run("list").out.splitlines() if "asked for" in line] == ["three"]


def test_beside_an_admin_key_that_opens_a_backup_key_asks_for_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the admin key is taken away from the machine: a passphrase that is at hand is used, nobody is
    asked for one that is not."""
    assert run("init", "--encryption=keyfile", "--backup-key").code == 0
    Path("a").write_text("a")
    for name in ("one", "two", "three"):
        assert run("create", f"::{name}", "a").code == 0
    written = run("list", "--format", "{key}{NL}").out.split()
    assert len(written) == 3 and "admin" not in written
    assert names(run) == ["one", "two", "three"]
    assert run("prune", "-a", "t*", "--keep-last", "1").code == 0
    assert names(run) == ["one", "three"] and "by admin" in run("list", "--deleted").out
    assert run("undelete", "-a", "*").code == 0
    assert "Key role: admin" in run("info").out
    monkeypatch.setenv("STRONGROOM_PASSPHRASE", "wrong")
    assert "sealed" in run("list").out and "asked for" in run("delete", "--last", "1").err
    monkeypatch.delenv("STRONGROOM_PASSPHRASE")
    assert "sealed" in run("list").out


def test_a_dry_run_shows_what_accepting_would_free(run: Run, tmp_path: Path) -> None:
    assert run("init", "--encryption=keyfile", "--backup-key").code == 0
    (admin,) = (tmp_path / "base" / ".config" / "strongroom" / "keys").glob("*__admin")
    admin.rename(tmp_path / "safe")
    for name in ("one", "two", "three"):
        Path("a").write_bytes(os.urandom(50_000))
        assert run("create", f"::{name}", "a").code == 0
    assert run("delete", "::", "one", "two").code == 0
    (tmp_path / "safe").rename(admin)

    def verdicts(*words: str) -> list[str]:
        done = run("compact", "--accept", "one", *words)
        assert done.code == 0, done
        return [line.partition(":")[0] for line in done.err.splitlines()]

    nothing = "Would free 0 B in 0 packs, and move 0 B for it."
    assert verdicts("--dry-run") == ["Would accept", "Not accepted", nothing]
    at_once = verdicts("--dry-run", "--quarantine", "0")
    assert at_once[:3] == ["Would accept", "Would free", "Not accepted"]
    assert at_once[3].startswith("Would free 5") and "in 1 pack," in at_once[3]
    assert verdicts("--list", "--quarantine", "0") == ["Accepted", "Freed", "Not accepted"]
    assert sorted(names(run)) == ["three", "two"]
