"""A Borg repository that another one was put in place of is noticed, as Borg notices it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from oldborg import Old, state_of
from program import Program

Unpack = Callable[[str], Old]

UNKNOWN = "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK"
RELOCATED = "BORG_RELOCATED_REPO_ACCESS_IS_OK"


@pytest.fixture
def strict(program: Program) -> Program:
    """Its questions have no answer; Borg's own memory is beside it."""
    program.env["BORG_SECURITY_DIR"] = str(program.root / "borgs-memory")
    program.env["STRONGROOM_SECURITY_DIR"] = str(program.root / "ours")
    return program


def no_answers(program: Program) -> None:
    del program.env[UNKNOWN], program.env[RELOCATED]


def borg_knows(program: Program, old: Old, location: str, key_type: int, when: str) -> Path:
    config = (old.folder / "config").read_text()
    identity = re.search(r"^id = (\w+)$", config, re.MULTILINE)
    assert identity is not None
    folder = Path(program.env["BORG_SECURITY_DIR"]) / identity[1]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "location").write_text(location)
    (folder / "key-type").write_text(str(key_type))
    (folder / "manifest-timestamp").write_text(when)
    return folder


def test_a_stranger_without_encryption_is_asked_about_once(strict: Program, unpack: Unpack) -> None:
    old = unpack("none")
    no_answers(strict)
    done = strict("list", "--short", old.place)
    assert "previously unknown unencrypted repository" in done.err and done.code == 2 and done.out == ""
    modern = {"BORG_EXIT_CODES": "modern", UNKNOWN: "no"}
    assert strict("list", old.place, env=modern).code == 60
    assert strict("list", "--short", old.place, env={UNKNOWN: "yes"}).ok().out != ""
    assert strict("list", "--short", old.place).ok().err == ""


def test_one_that_borg_knows_is_no_stranger(strict: Program, unpack: Unpack) -> None:
    old = unpack("none")
    no_answers(strict)
    memory = borg_knows(strict, old, str(old.folder), 2, "2020-01-01T00:00:00.000000")
    before = state_of(memory)
    assert strict("list", "--short", old.place).ok().err == ""
    assert state_of(memory) == before


def test_an_encrypted_one_is_no_stranger(strict: Program, unpack: Unpack) -> None:
    old = unpack("repokey")
    no_answers(strict)
    assert strict("list", "--short", old.place).ok().err == ""


def test_one_that_moved_is_asked_about(strict: Program, unpack: Unpack) -> None:
    old = unpack("repokey")
    no_answers(strict)
    borg_knows(strict, old, "ssh://me@host/./repo", 3, "2020-01-01T00:00:00.000000")
    asked = strict("list", old.place)
    assert "previously located at ssh://me@host/./repo" in asked.err and asked.code == 2
    strict("list", old.place, env={RELOCATED: "yes"}).ok()
    assert strict("list", old.place).ok().err == ""
    moved = old.folder.with_name("moved")
    shutil.move(old.folder, moved)
    assert f"previously located at {old.folder}" in strict("list", f"borg:{moved}").err


def test_an_unencrypted_one_in_place_of_an_encrypted_is_refused(strict: Program, unpack: Unpack) -> None:
    old, fake = unpack("repokey"), unpack("none")
    strict("list", old.place).ok()
    identity = re.search(r"^id = (\w+)$", (old.folder / "config").read_text(), re.MULTILINE)
    assert identity is not None
    config = fake.folder / "config"
    config.write_text(re.sub(r"(?m)^id = \w+$", identity[0], config.read_text()))
    shutil.rmtree(old.folder)
    shutil.move(fake.folder, old.folder)
    for words in (["list"], ["check"], ["transfer", "--from"]):
        if words[0] == "transfer":
            strict("init", "--encryption=none").ok()
        assert "is not encrypted, though it was" in strict(*words, old.place).sentence(), words
    assert strict("list", old.place, env={"BORG_EXIT_CODES": "modern"}).code == 61


@pytest.mark.parametrize("when", ["2099-01-01T00:00:00.000000", "2099-01-01T00:00:00.000000+00:00"])
def test_an_older_state_than_was_seen_is_refused(when: str, strict: Program, unpack: Unpack) -> None:
    old = unpack("repokey-blake2")
    memory = borg_knows(strict, old, str(old.folder), 5, when)
    said = strict("list", old.place).sentence()
    assert "as of 2099-01-01 00:00:00 UTC" in said and str(memory) in said
    assert strict("list", old.place, env={"BORG_EXIT_CODES": "modern"}).code == 64
    shutil.rmtree(memory)
    strict("list", old.place).ok()
    # both folders know better: both are named
    ours = Path(strict.env["STRONGROOM_SECURITY_DIR"]) / borg_knows(strict, old, "", 5, when).name
    (ours / "manifest-timestamp").write_text(when)
    said = strict("list", old.place).sentence()
    assert str(memory) in said and str(ours) in said


def test_rubbish_in_borgs_memory_is_no_knowledge(strict: Program, unpack: Unpack) -> None:
    old = unpack("repokey")
    for kind, when in ((3, "yesterday"), (99, "2020-01-01T00:00:00.000000")):
        borg_knows(strict, old, "/elsewhere", kind, when)
        assert strict("list", "--short", old.place).ok().err == ""
