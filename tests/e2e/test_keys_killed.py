"""Whatever interrupts `key add`, `key export` or `init`: no key is known that nobody has, no copy is lost."""

import os
import resource
import shutil
import signal
import socket
from pathlib import Path

import pytest

from faultlayer import Fault, crash, steps
from program import Program
from strongroom.crypto import keyformat

WORDS = ("key", "add", "--no-passphrase", "--role", "restore", "--output", "x.key", "::", "x")


def names(program: Program) -> list[str]:
    return [key["name"] for key in program("key", "list", "--json").ok().json["keys"]]


def test_a_key_that_the_log_knows_is_on_the_disk(sr: Program) -> None:
    saved, journal = sr.root / "saved", sr.root / "journal"
    shutil.copytree(sr.repo, saved)
    sr.start(*WORDS, before=Fault("none", 0, [sr.cwd, sr.repo], journal).install).wait().ok()
    calls = steps(journal)
    last = len(calls) - 1
    assert calls[-2:] == ["rename", "sync"], "the file gets its name at last"
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


def test_an_export_that_fails_leaves_the_one_before(sr: Program) -> None:
    """It was emptied before it was known whether there is room for the new one."""
    saved = sr.cwd / "safe" / "saved"
    saved.parent.mkdir()
    words = ("key", "export", "::", saved)
    sr(*words).ok()
    before = saved.read_bytes()

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    assert sr.start(*words, before=full).wait().code == 2
    assert saved.read_bytes() == before and os.listdir(saved.parent) == ["saved"]


def test_a_key_for_a_file_outlives_the_power(sr: Program) -> None:
    """Its name was not synced: the log knew a key that was gone."""
    journal = sr.root / "journal"
    place = sr.cwd / "place"
    place.mkdir()
    words = [*WORDS[:-3], "place/x.key", *WORDS[-2:]]
    sr.start(*words, before=Fault("none", 0, [place], journal).install).wait().ok()
    crash(journal, "power", seed=1)
    assert os.listdir(place) == ["x.key"] and names(sr) == ["admin", "x"]


def test_an_export_goes_to_a_device_and_through_a_link(sr: Program) -> None:
    told = sr("key", "export", "::").ok().out
    assert sr("key", "export", "::", "/dev/stdout").ok().out == told
    (sr.cwd / "link").symlink_to("target")
    sr("key", "export", "::", "link").ok()
    assert (sr.cwd / "target").read_text() == told and (sr.cwd / "link").is_symlink()


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
    return {keyformat.parse(path.read_bytes(), path.name).name for path in folder.iterdir()}


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
