"""key add: whenever it is killed, no key is known to the repository that nobody has."""

import shutil

from faultlayer import Fault, steps
from program import Program

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
