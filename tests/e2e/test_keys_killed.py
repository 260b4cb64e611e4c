"""Whenever `key add` or `init` is killed, no key is known to the repository that nobody has."""

import shutil
import socket
from pathlib import Path

import pytest

from faultlayer import Fault, steps
from program import Program
from strongroom.crypto import keys

WORDS = ("key", "add", "--no-passphrase", "--role", "restore", "--output", "x.key", "::", "x")


def names(program: Program) -> list[str]:
    return [key["name"] for key in program("key", "list", "--json").ok().json["keys"]]


def test_a_key_that_the_log_knows_is_on_the_disk(sr: Program) -> None:
    saved, journal = sr.root / "saved", sr.root / "journal"
    shutil.copytree(sr.repo, saved)
    sr.start(*WORDS, before=Fault("none", 0, [sr.cwd, sr.repo], journal).install).wait().ok()
    calls = steps(journal)
    last = len(calls)
    assert calls[-1] == "rename", "the file gets its name at last"
    for path in (sr.cwd / "x.key", journal):
        path.unlink()
    shutil.rmtree(sr.repo)
    shutil.copytree(saved, sr.repo)
    sr.lose_cache()
    shutil.rmtree(sr.root / "base" / ".config" / "strongroom" / "security", ignore_errors=True)

    sr.start(*WORDS, before=Fault("kill", last, [sr.cwd, sr.repo], journal).install).wait()
    assert names(sr) == ["admin", "x"] and not (sr.cwd / "x.key").exists()
    again = sr("key", "add", *WORDS[2:-1], "another")
    assert again.code == 2 and "interrupted" in again.err
    holder = sr.another("holder")
    holder("key", "import", "::", sr.cwd / "x.key.new").ok()
    holder("list").ok()


def test_what_is_refused_leaves_no_file(sr: Program) -> None:
    sr(*WORDS).ok()
    (sr.cwd / "x.key").unlink()
    assert sr(*WORDS).code == 2
    assert not (sr.cwd / "x.key.new").exists()


def test_a_rest_that_no_log_knows_is_written_over(sr: Program) -> None:
    (sr.cwd / "x.key.new").write_text("cut sho")
    sr(*WORDS).ok()
    assert (sr.cwd / "x.key").exists() and not (sr.cwd / "x.key.new").exists()


def holders(program: Program) -> set[str]:
    """The names of the keys whose files are on the disk."""
    folder = Path(program.env["STRONGROOM_BASE_DIR"]) / ".config" / "strongroom" / "keys"
    return {keys.parse(path.read_bytes(), path.name).name for path in folder.iterdir()}


def test_a_backup_key_that_init_records_is_on_the_disk(program: Program) -> None:
    words = ("init", "--encryption=keyfile", "--backup-key")
    base, journal = Path(program.env["STRONGROOM_BASE_DIR"]), program.root / "journal"
    watched = [program.repo, base / ".config"]
    program.start(*words, before=Fault("none", 0, watched, journal).install).wait().ok()
    recorded = holders(program)
    assert recorded == set(names(program)) and len(recorded) == 2
    calls = steps(journal)
    log = [step for step, call in enumerate(calls, 1) if call == "link"][-2]
    met = set()
    for step in range(log + 1, len(calls) + 1):
        journal.unlink()
        shutil.rmtree(program.repo)
        shutil.rmtree(base)
        program.start(*words, before=Fault("kill", step, watched, journal).install).wait()
        known = set(names(program))
        assert known <= holders(program), (step, calls[step - 1])
        met.add(len(known))
    assert met == {1, 2}, "it was killed before the record, and after it"


@pytest.mark.parametrize("name", ["admin", "laptop"])
def test_a_machine_may_be_called_like_the_first_key(
    program: Program, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    program("init", "--encryption=keyfile", "--backup-key").ok()
    assert names(program) == ["admin", "admin-backup" if name == "admin" else name]
