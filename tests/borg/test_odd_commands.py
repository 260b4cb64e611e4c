"""Commands of Borg's that have little or nothing to do here: each says so, and does what it says."""

import json
from pathlib import Path

import pytest

from program import Program
from strongroom.cli.commands.debug import REFUSED


def test_an_option_with_nothing_to_do_says_what_happens_instead(sr: Program, src: Path) -> None:
    words = ["create", "--chunker-params", "19,23,21,4095", "--sparse", "-c", "60"]
    done = sr(*words, "::one", "src").ok()
    assert done.err.splitlines() == [
        "--chunker-params changes nothing in strongroom create: the repository decides how files are cut, "
        "so that all its clients share data."
    ]
    spoken = sr(*words, "-v", "::two", "src").ok().err
    assert spoken.count("--sparse changes nothing") == 1
    assert "--sparse changes" not in sr("create", "-v", "::three", "--", "src", "--sparse").err


def test_upgrade_and_migration_say_that_nothing_is_to_be_done(sr: Program) -> None:
    before = sorted(sr.repo.rglob("*"))
    assert "nothing was upgraded" in sr("upgrade", "--tam", "--force").ok().out
    assert "nothing was migrated" in sr("key", "migrate-to-repokey").ok().out
    assert sorted(sr.repo.rglob("*")) == before
    assert sr("upgrade", str(sr.root / "nowhere")).code == 2
    assert "never share" in sr("key", "export-related-secrets", "::", "x").sentence()


def test_a_key_of_borgs_is_no_key_of_ours(sr: Program) -> None:
    (sr.cwd / "key").write_text(f"BORG_KEY {'0' * 64}\naGVsbG8=\n")
    assert "BORG_KEY_FILE" in sr("key", "import", "::", "key").sentence()
    assert sr("key", "import", "::", "key", env={"BORG_EXIT_CODES": "modern"}).code == 43


def test_config_shows_borgs_keys_and_sets_none(sr: Program) -> None:
    shown = dict(line.split(" = ") for line in sr("config", "--list").ok().out.splitlines()[1:])
    assert shown["append_only"] == "0" and len(shown["id"]) == 64
    assert shown["additional_free_space"] == (sr.repo / ".reserve/size").read_text().strip() != "0"
    assert sr("config", "::", "repository.id").ok().out.strip() == shown["id"]
    sr("config", "::", "append_only", "0").ok()
    assert "server set" in sr("config", "::", "append_only", "1").sentence()
    assert "has no meaning" in sr("config", "::", "segments_per_dir", "10").ok().err
    assert "cannot be deleted" in sr("config", "--delete", "::", "append_only").sentence()
    assert "is no key" in sr("config", "::", "nonsense").sentence()
    assert "No key is named" in sr("config").sentence()
    sr("config", "::", "additional_free_space", "300K").ok()
    assert sr("config", "::", "additional_free_space").ok().out == "300000\n"
    assert (sr.repo / ".reserve/space").stat().st_size == 300_000
    sr("config", "::", "additional_free_space", "0").ok()
    assert not (sr.repo / ".reserve/space").exists()
    assert "is no size" in sr("config", "::", "additional_free_space", "much").sentence()
    assert f"previous_location = {sr.repo}" in sr("config", "--cache", "--list").ok().out


def test_debug_dumps_what_there_is(sr: Program, src: Path) -> None:
    (src / "file").write_bytes(b"some content")
    sr("create", "--comment", "hello", "::one", "src").ok()
    archive, *items = map(json.loads, sr("debug", "dump-archive", "::one", "-").ok().out.splitlines())
    assert archive["archive"]["comment"] == "hello"
    assert [item["path"] for item in items] == ["src", "src/file"]
    printed = sr("debug", "dump-archive-items", "::one").ok().out
    assert [json.loads(line) for line in printed.splitlines()] == items
    records = [json.loads(line) for line in sr("debug", "dump-manifest", "::", "-").ok().out.splitlines()]
    records = [one["record"] for one in records]
    assert [record["kind"] for record in records] == ["init", "archive"]
    assert [record["seq"] for record in records] == [1, 2]
    chunk = sr("debug", "id-hash", "::", "src/file").ok().out.strip()
    sr("debug", "get-obj", "::", chunk, "chunk").ok()
    assert (sr.cwd / "chunk").read_bytes() == b"some content"
    assert "is no id" in sr("debug", "get-obj", "::", "abc", "x").sentence()
    assert "strongroom: " in sr("debug", "info").ok().out


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_debug_does_not_do_it_says(program: Program, name: str) -> None:
    arguments = {"dump-repo-objs": [], "dump-hints": ["x"], "search-repo-objs": ["x"], "put-obj": ["x", "x"]}
    done = program("debug", name, str(program.repo), *arguments.get(name, ["x"]))
    assert done.sentence() == REFUSED[name]


def test_a_profile_is_read_by_pstats(sr: Program) -> None:
    import pstats

    sr("list", "--debug-profile", "profile").ok()
    sr("debug", "convert-profile", "profile", "copy").ok()
    assert pstats.Stats(str(sr.cwd / "copy")).total_calls > 100  # type: ignore[attr-defined]


def test_benchmark_measures_and_cleans_up(sr: Program) -> None:
    work = sr.cwd / "work"
    work.mkdir()
    done = sr("benchmark", "crud", str(sr.repo), str(work), env={"_STRONGROOM_BENCHMARK_CRUD_TEST": "1"}).ok()
    begins = [line.split()[0] for line in done.out.splitlines()]
    kinds = [f"{letter}-{size}" for size in ("BIG", "MEDIUM", "SMALL") for letter in "ZR"]
    assert begins == [f"{what}-{kind}" for kind in kinds for what in "CRUD"]
    assert all("MB/s (10 * 10 B " in line for line in done.out.splitlines())
    assert list(work.iterdir()) == [] and sr.names() == []
