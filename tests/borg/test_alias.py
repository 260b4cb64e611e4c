"""The name `borg`: made and taken away with care, and what the program answers to it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mounting import needs_fuse
from program import Done, Program
from strongroom.cli.identity import BORG_LEVEL

EXECUTABLE = Path(sys.executable).with_name("strongroom")


def installed(*words: str | Path, program: Path = EXECUTABLE) -> Done:
    """The executable as pip made it, in a fresh interpreter."""
    done = subprocess.run([program, *words], capture_output=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr.decode())


def test_the_alias_says_that_it_is_borg_and_goes_again(tmp_path: Path) -> None:
    made = installed("install-borg-alias", "--to", tmp_path).ok()
    link = tmp_path / "borg"
    assert str(link) in made.out and "PATH" in made.err
    assert installed("--version", program=link).ok().out == f"borg {BORG_LEVEL}\n"
    assert installed("-V", program=link).ok().out == f"borg {BORG_LEVEL}\n"
    assert installed("--version").ok().out.startswith("strongroom ")
    installed("install-borg-alias", "--to", tmp_path).ok()  # once more changes nothing
    installed("install-borg-alias", "--remove", "--to", tmp_path, program=link).ok()
    assert list(tmp_path.iterdir()) == []
    assert installed("install-borg-alias", "--remove", "--to", tmp_path).code == 2


@needs_fuse
def test_borgfs_mounts_as_fstab_has_it_started(sr: Program, src: Path, tmp_path: Path) -> None:
    (src / "file").write_text("content")
    (src / "file").chmod(0o4755)
    sr("create", "::one", "src").ok()
    installed("install-borg-alias", "--to", tmp_path).ok()
    place = tmp_path / "place"
    place.mkdir()
    words = [tmp_path / "borgfs", sr.repo, place, "-o", "rw,suid,dev,noauto,user,x-systemd.automount"]
    subprocess.run(words, env=os.environ | sr.env, check=True)
    try:
        assert (place / "one/src/file").read_text() == "content"
        mounted = next(
            line.split() for line in Path("/proc/mounts").read_text().splitlines() if str(place) in line
        )
        assert mounted[0] == "borgfs" and {"ro", "nosuid", "nodev"} <= set(mounted[3].split(","))
    finally:
        subprocess.run([tmp_path / "borg", "umount", place], check=True)
    assert installed("--version", program=tmp_path / "borgfs").ok().out == f"borg {BORG_LEVEL}\n"
    assert "MOUNTPOINT" in installed("--help", program=tmp_path / "borgfs").ok().out


@pytest.mark.parametrize("name", ["borg", "borgfs"])
@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling"])
def test_what_is_no_alias_is_never_touched(tmp_path: Path, kind: str, name: str) -> None:
    borg = tmp_path / name
    if kind == "file":
        borg.write_text("#!/bin/sh\n")
    elif kind == "folder":
        borg.mkdir()
    else:
        borg.symlink_to("/bin/sh" if kind == "link" else "/nowhere/borg")
    before = os.lstat(borg).st_ino
    for words in ([], ["--remove"]):
        assert "is there already" in installed("install-borg-alias", "--to", tmp_path, *words).sentence()
    assert os.lstat(borg).st_ino == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    assert "is no folder" in installed("install-borg-alias", "--to", tmp_path / "x").sentence()


def test_borgs_variables_alone_are_enough(borg: Program, src: Path) -> None:
    (src / "file").write_text("content")
    borg("create", "::one", "src").ok()
    assert borg("list", "--short").ok().out == "one\n"
    assert borg("version").ok().out == f"{BORG_LEVEL} / {BORG_LEVEL}\n"


def test_messages_help_and_loggers_bear_the_name(borg: Program, src: Path) -> None:
    done = borg("create", "--log-json", "--stats", "--show-rc", "--show-version", "::one", "src").ok()
    lines = [json.loads(line) for line in done.err.splitlines()]
    names = [line["name"] for line in lines if line["type"] == "log_message"]
    stats = ["borg.output.stats"] * 17  # one message a line, as from Borg
    assert names == ["borg.output.show-version", *stats, "borg.output.show-rc"]
    assert lines[0]["message"] == f"borgbackup version {BORG_LEVEL}"
    assert borg("frobnicate").err.startswith("borg: there is no command 'frobnicate'")
    text = borg("create", "--help").ok().out
    assert "borg create" in text and "strongroom create" not in text
    assert "borg create --compression" in borg("help", "compression").ok().out
    nowhere = borg("list", env={"BORG_REPO": None})
    assert "BORG_REPO" in nowhere.sentence()


def test_a_question_names_borgs_variable(borg: Program) -> None:
    done = borg("delete", "--log-json", env={"BORG_DELETE_I_KNOW_WHAT_I_AM_DOING": "NO"})
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert {line.get("msgid") for line in lines if line["type"].startswith("question")} == {
        "BORG_DELETE_I_KNOW_WHAT_I_AM_DOING"
    }
    assert borg.repo.exists()


def test_check_sums_up_in_borgs_words(borg: Program, src: Path) -> None:
    borg("create", "::one", "src").ok()
    borg("create", "::two", "src").ok()
    fine = borg("check", "--verbose").ok().err.splitlines()
    sentences = [
        "Starting repository check",
        "Starting archive consistency check...",
        "Analyzing archive one (1/2)",
        "Analyzing archive two (2/2)",
        "Finished full repository check, no problems found.",
        "Archive consistency check complete, no problems found.",
    ]
    assert [line for line in fine if line in sentences] == sentences
    next(borg.repo.glob("packs/*/*")).unlink()
    broken = borg("check", "--verbose")
    assert broken.code == 1
    assert broken.err.splitlines()[-2:] == [
        "Finished full repository check, errors found.",
        "Archive consistency check complete, problems found.",
    ]


def test_a_dry_run_shows_the_repository_that_would_be_deleted(borg: Program, src: Path) -> None:
    borg("create", "::one", "src").ok()
    shown = borg("delete", "--dry-run", "--list").ok().err
    assert "*including* 1 archive it contains:" in shown and "\none   " in shown and "YES" not in shown
    assert borg.names() == ["one"]


def test_a_key_in_the_repository_is_named_by_it(program: Program) -> None:
    program.called = "borg"
    program.env = {
        "BORG_REPO": str(program.repo),
        "BORG_PASSPHRASE": "right",
        "BORG_BASE_DIR": str(program.root),
    }
    program("init", "--encryption=repokey").ok()
    said = program("list", env={"BORG_PASSPHRASE": "wrong"}).sentence()
    assert said == f"The passphrase from BORG_PASSPHRASE does not open key {program.repo}."


def test_a_name_with_two_colons_is_one_behind_the_first_two(borg: Program, src: Path) -> None:
    borg("create", f"{borg.repo}::a::b", "src").ok()
    assert borg("list", "--short", f"{borg.repo}::a::b").ok().out == "src\n"
    assert "cannot name an archive" in borg("rename", "::a::b", "c::d").sentence()
    borg("rename", "::a::b", "c").ok()
    assert borg.names() == ["c"]


def test_our_own_variables_go_first(borg: Program) -> None:
    other = str(borg.root / "other")
    borg("init", "--encryption=none", other).ok()
    assert (
        borg("config", "::", "id", env={"STRONGROOM_REPO": other}).ok().out
        != borg("config", "::", "id").ok().out
    )
