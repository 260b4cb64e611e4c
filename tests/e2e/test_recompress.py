"""recreate --recompress: the same contents in other bytes, and the old bytes go with the next compact."""

import os
from pathlib import Path

import pytest

from program import Program, patterned
from strongroom.repository.repository import Repository

PLAIN = "a line of text that repeats itself\n" * 20_000


@pytest.fixture
def loose(sr: Program, src: Path) -> Program:
    """Archives `a` and `b`, which share most of their data, not compressed at all."""
    (src / "text").write_text(PLAIN)
    (src / "noise").write_bytes(patterned(200_000))
    for name in ("a", "b"):
        (src / "own").write_text(f"{name} alone\n" * 5000)
        sr("create", "-C", "none", f"::{name}", "src").ok()
    return sr


def stored(program: Program) -> int:
    return sum(path.stat().st_size for path in (program.repo / "packs").rglob("*") if path.is_file())


def compacted(program: Program) -> int:
    program("compact", "--quarantine", "0", "--threshold", "0").ok()
    program("check", "--verify-data").ok()
    return stored(program)


def contents(program: Program, archive: str) -> dict[str, bytes]:
    root = program.extract(archive) / "src"
    return {path.name: path.read_bytes() for path in root.iterdir()}


def test_it_shrinks_and_grows_and_its_contents_stay(loose: Program) -> None:
    before = {name: contents(loose, name) for name in ("a", "b")}
    plain = stored(loose)
    loose("recreate", "--recompress", "if-different", "-C", "zlib").ok()
    assert stored(loose) > plain, "nothing is freed but by compact"
    small = compacted(loose)
    assert small < plain - len(PLAIN) + 50_000
    assert {name: contents(loose, name) for name in ("a", "b")} == before
    loose("recreate", "--recompress", "always", "-C", "none").ok()
    assert compacted(loose) > small + len(PLAIN) - 50_000
    assert {name: contents(loose, name) for name in ("a", "b")} == before


def test_what_is_compressed_so_already_is_left_alone(loose: Program) -> None:
    loose("recreate", "--recompress", "-C", "zlib").ok()
    small = stored(loose)
    again = loose("recreate", "--info", "--recompress", "-C", "zlib").ok()
    assert again.err.count("nothing to do") == 2 and stored(loose) == small


def test_one_archive_recompressed_serves_the_other_too(loose: Program) -> None:
    plain = stored(loose)
    loose("recreate", "--recompress", "-C", "zlib", "::a").ok()
    assert compacted(loose) < plain - len(PLAIN) + 50_000
    assert contents(loose, "b")["text"] == PLAIN.encode()


def test_a_new_copy_that_rotted_frees_no_old_one(loose: Program) -> None:
    before = set((loose.repo / "packs").rglob("*"))
    loose("recreate", "--recompress", "-C", "zlib").ok()
    for pack in set((loose.repo / "packs").rglob("*")) - before:
        if pack.is_file():
            pack.chmod(0o600)
            blob = bytearray(pack.read_bytes())
            blob[20] ^= 1
            pack.write_bytes(blob)
    done = loose("compact", "--quarantine", "0", "--threshold", "0")
    assert done.code == 1 and "what it replaces is kept" in done.err
    assert contents(loose, "b")["text"] == PLAIN.encode()


def test_with_a_target_the_old_archive_stays_and_uses_the_new_copy_too(loose: Program) -> None:
    plain, before = stored(loose), {name: contents(loose, name) for name in ("a", "b")}
    ids = set(loose("list", "--format", "{id}{NL}").ok().out.split())
    loose("recreate", "--recompress", "--target", "z", "-C", "zlib", "-e", "src/noise", "::a").ok()
    assert sorted(loose.names()) == ["a", "b", "z"] and stored(loose) > plain
    assert ids < set(loose("list", "--format", "{id}{NL}").ok().out.split()), "the old ones are untouched"
    assert not loose("list", "--deleted").ok().out
    assert compacted(loose) < plain - len(PLAIN) + 50_000
    assert {name: contents(loose, name) for name in ("a", "b")} == before
    assert contents(loose, "z") == {key: before["a"][key] for key in ("text", "own")}
    loose("audit", "--hash").ok()


def test_a_target_that_is_compressed_so_already_is_a_mere_copy(loose: Program) -> None:
    loose("recreate", "--recompress", "-C", "zlib", "::a").ok()
    small = len(list((loose.repo / "packs").rglob("*")))
    loose("recreate", "--recompress", "--target", "z", "-C", "zlib", "::a").ok()
    assert len(list((loose.repo / "packs").rglob("*"))) == small
    assert contents(loose, "z") == contents(loose, "a")


def test_a_recompression_that_was_killed_is_taken_up_with_a_target(loose: Program) -> None:
    """What it had stored is not stored again, and counts once a record names it."""
    plain = stored(loose)
    words = ("recreate", "--recompress", "--target", "z", "-C", "zlib", "::a")

    def dies_before_its_record() -> None:
        setattr(Repository, "commit", lambda *_: os._exit(9))  # noqa: B010  # in the forked process

    assert loose.start(*words, before=dies_before_its_record).wait().code == 9
    once = stored(loose)
    loose(*words).ok()
    assert stored(loose) == once > plain
    assert compacted(loose) < plain - len(PLAIN) + 50_000
