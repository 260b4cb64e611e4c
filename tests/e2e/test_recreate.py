"""recreate: what is asked for goes, everything else stays to the byte."""

import os
from pathlib import Path

import pytest

from program import Program, patterned

SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n"


@pytest.fixture
def kept(sr: Program, src: Path) -> Program:
    """The archive `a` of a small tree, and `b` of the same."""
    for name in (
        "docs/one.txt",
        "docs/deep/two.txt",
        "iso/big.iso",
        "iso/small.txt",
        "cache/CACHEDIR.TAG",
        "cache/x",
    ):
        (src / name).parent.mkdir(parents=True, exist_ok=True)
        (src / name).write_text(name)
    (src / "iso/big.iso").write_bytes(patterned(700_000))
    os.link(src / "iso/big.iso", src / "docs/linked.iso")
    (src / "cache/CACHEDIR.TAG").write_text(SIGNATURE)
    (src / "iso/link").symlink_to("small.txt")
    for name in ("a", "b"):
        sr("create", "--comment", f"about {name}", f"::{name}", "src").ok()
    return sr


def facts(program: Program, archive: str) -> dict[str, str]:
    """All that `list` tells of each path."""
    layout = "{mode} {user} {group} {uid} {gid} {size} {isomtime} {isoctime} {xxh64} {linktarget} {path}{NL}"
    lines = program("list", "--format", layout, f"::{archive}").ok().out.splitlines()
    return {line.rsplit(" ", 1)[1]: line for line in lines}


def about(program: Program, archive: str) -> dict[str, object]:
    (found,) = program("info", "--json", f"::{archive}").ok().json["archives"]
    return {
        key: found[key] for key in ("name", "comment", "start", "end", "hostname", "username", "command_line")
    }


def test_what_is_excluded_is_gone_and_the_rest_is_as_it_was(kept: Program) -> None:
    before, meta = facts(kept, "a"), about(kept, "a")
    kept("recreate", "-e", "*.iso", "::a").ok()
    after = facts(kept, "a")
    assert after == {path: line for path, line in before.items() if not path.endswith(".iso")}
    assert about(kept, "a") == meta and sorted(kept.names()) == ["a", "b"]
    assert facts(kept, "b") == before
    assert (kept.extract("a") / "src/docs/deep/two.txt").read_text() == "docs/deep/two.txt"
    kept("check", "--verify-data").ok()


def test_the_old_one_comes_back(kept: Program) -> None:
    before = facts(kept, "a")
    kept("recreate", "-e", "*.iso", "::a").ok()
    kept("rename", "::a", "thinner").ok()
    kept("undelete", "::a").ok()
    assert facts(kept, "a") == before
    assert (kept.extract("a") / "src/iso/big.iso").read_bytes() == patterned(700_000)


def test_only_paths_that_are_named_stay(kept: Program) -> None:
    before = facts(kept, "a")
    kept("recreate", "::a", "src/docs").ok()
    after = facts(kept, "a")
    assert after == {path: line for path, line in before.items() if path.startswith("src/docs")}


def test_a_target_leaves_the_old_one_alone(kept: Program) -> None:
    before = facts(kept, "a")
    kept("recreate", "--target", "c", "-e", "src/cache", "::a").ok()
    assert sorted(kept.names()) == ["a", "b", "c"] and facts(kept, "a") == before
    assert set(before) - set(facts(kept, "c")) == {"src/cache", "src/cache/x", "src/cache/CACHEDIR.TAG"}
    assert "exists" in kept("recreate", "--target", "b", "::a").sentence()
    kept("recreate", "--target", "copy", "::a").ok()
    assert facts(kept, "copy") == before


def test_all_archives_when_none_is_named(kept: Program) -> None:
    kept("recreate", "-e", "*.iso").ok()
    for name in ("a", "b"):
        assert "src/iso/big.iso" not in kept.paths(name) and "src/iso/small.txt" in kept.paths(name)
    assert "--target" in kept("recreate", "--target", "c").sentence()


def test_comment_and_time_alone_touch_no_file(kept: Program) -> None:
    before, stored = facts(kept, "a"), kept.stored()
    kept("recreate", "--comment", "new words", "--timestamp", "2020-02-03T04:05:06", "::a").ok()
    assert facts(kept, "a") == before and kept.stored() == stored
    meta = about(kept, "a")
    assert meta["comment"] == "new words" and str(meta["start"]).startswith("2020-02-03T04:05:06")
    assert about(kept, "b")["comment"] == "about b"


def test_nothing_to_do_is_said_and_done(kept: Program) -> None:
    log = sorted((kept.repo / "log").iterdir())
    done = kept("recreate", "--info", "-e", "*.nowhere", "::a").ok()
    assert "Skipped archive a" in done.err
    assert sorted((kept.repo / "log").iterdir()) == log


def test_a_dry_run_lists_and_changes_nothing(kept: Program) -> None:
    before = {path: path.read_bytes() for path in kept.repo.rglob("*") if path.is_file()}
    letters = kept("recreate", "--dry-run", "--list", "-e", "*.iso", "::a").ok().letters
    assert letters["src/iso/big.iso"] == "x" and letters["src/iso/small.txt"] == "-"
    assert {path: path.read_bytes() for path in kept.repo.rglob("*") if path.is_file()} == before
    letters = kept("recreate", "--list", "-e", "*.iso", "::a").ok().letters
    assert letters["src/iso/big.iso"] == "x" and letters["src/docs"] == "d" and letters["src/iso/link"] == "s"
    assert letters["src/docs/one.txt"] == "A"


def test_tagged_folders_go(kept: Program) -> None:
    kept("recreate", "--exclude-caches", "--target", "t", "::a").ok()
    assert not [path for path in kept.paths("t") if "cache" in path]
    kept("recreate", "--exclude-caches", "--keep-exclude-tags", "--target", "k", "::a").ok()
    assert [path for path in kept.paths("k") if "cache" in path] == ["src/cache", "src/cache/CACHEDIR.TAG"]
    kept("recreate", "--exclude-if-present", "two.txt", "--target", "p", "::a").ok()
    assert "src/docs/deep" not in kept.paths("p") and "src/docs/one.txt" in kept.paths("p")


def test_everything_excluded_leaves_an_empty_archive(kept: Program) -> None:
    kept("recreate", "-e", "*", "::a").ok()
    assert kept.paths("a") == []
    kept("check", "--verify-data").ok()
    assert list(kept.extract("a").iterdir()) == []


def test_a_kept_file_keeps_the_way_to_it(kept: Program) -> None:
    kept("recreate", "--pattern", "+src/docs/deep/two.txt", "--pattern=-src", "::a").ok()
    assert kept.paths("a") == ["src/docs/deep/two.txt"]
    assert (kept.extract("a") / "src/docs/deep/two.txt").read_text() == "docs/deep/two.txt"


def test_a_backup_key_is_told_what_it_takes(program: Program, src: Path) -> None:
    kept = program
    kept("init", "--encryption=keyfile").ok()
    kept("create", "::a", "src").ok()
    kept("key", "add", "--no-passphrase", "--output", "laptop.key", "::", "laptop").ok()
    laptop = kept.another("laptop", STRONGROOM_PASSPHRASE="unknown")
    laptop("key", "import", "::", str(kept.cwd / "laptop.key")).ok()
    assert "admin" in laptop("recreate", "-e", "*.iso", "::a").sentence()
    assert kept.names() == ["a"]


def test_stats_are_those_of_the_new_archive(kept: Program) -> None:
    said = kept("recreate", "--stats", "-e", "*.iso", "::a").ok().err
    assert "Archive name: a" in said and "Number of files: 5" in said and "This archive:" in said
