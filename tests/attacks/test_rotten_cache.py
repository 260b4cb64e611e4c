"""A client's disk rots as well: that costs time or a run, and never makes a wrong backup in silence."""

import random
from pathlib import Path

import pytest

from program import Program, clock_ahead, patterned
from strongroom.errors import CacheDamaged
from strongroom.ids import RepositoryId
from strongroom.repository.cache import Cache
from strongroom.repository.guarded import guard, unguard

FLIPS = 6


@pytest.fixture
def used(sr: Program, src: Path) -> Program:
    """Two runs: the cache believes folders and files unchanged."""
    for number in range(30):
        folder = src / f"folder{number % 5}"
        folder.mkdir(exist_ok=True)
        (folder / f"file{number}").write_bytes(patterned(2_000, number))
    (src / "large").write_bytes(patterned(3_000_000, 99))
    for name in ("one", "two"):
        sr("create", f"::{name}", "src", before=clock_ahead).ok()
    return sr


def same(left: Path, right: Path) -> bool:
    found = [
        {path.relative_to(top): path for path in top.rglob("*") if path.is_file()} for top in (left, right)
    ]
    return found[0].keys() == found[1].keys() and all(
        path.read_bytes() == found[1][name].read_bytes() for name, path in found[0].items()
    )


def test_flipped_bits_never_make_a_wrong_backup_in_silence(used: Program, src: Path) -> None:
    (cache,) = used.caches()
    database = cache / "data.mdb"
    whole = database.read_bytes()
    used_bytes = [at for at in range(8192, len(whole)) if whole[at]]
    dice = random.Random(7)
    witness = used.another("witness")
    for turn in range(FLIPS):
        if not cache.exists():
            cache.mkdir()
        spoilt = bytearray(whole)
        for at in dice.sample(used_bytes, 200):
            spoilt[at] ^= 1 << dice.randrange(8)
        database.write_bytes(spoilt)
        name = f"turn{turn}"
        done = used("create", f"::{name}", "src", before=clock_ahead)
        assert "Internal error" not in done.err, done.err
        if done.code:  # it was told, and the next run, or one without the cache, goes well
            used.lose_cache()
            used("create", f"::{name}", "src", before=clock_ahead).ok()
        assert same(witness.extract(name, into="seen") / "src", src)
    witness("check", "--verify-data").ok()


def test_losing_the_cache_at_any_time_is_safe(used: Program, src: Path) -> None:
    before = used.stored()
    used.lose_cache()
    used("create", "::three", "src").ok()
    assert used.stored() - before < 5_000, "something was stored twice"
    assert same(used.extract("three") / "src", src)
    used("check", "--verify-data").ok()


def test_a_damaged_value_is_told_and_the_next_run_begins_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path, RepositoryId(bytes(32)))
    with cache.writing() as txn:
        cache.note(txn, b"key", b"value")
    with cache.reading("meta") as txn:
        assert cache.noted(txn, b"key") == b"value"
        assert cache.noted(txn, b"other") is None
    with cache.writing() as txn:
        txn.put(b"key", guard(b"another key", b"value"), db=cache.meta)
    with cache.reading("meta") as txn, pytest.raises(CacheDamaged, match="run the same command again"):
        cache.noted(txn, b"key")
    cache.close()
    again = Cache(tmp_path, RepositoryId(bytes(32)))
    with again.reading("meta") as txn:
        assert again.noted(txn, b"key") is None
    again.close()


def test_every_flipped_bit_of_a_value_is_seen() -> None:
    stored = guard(b"key", patterned(100))
    assert unguard(b"key", stored) == patterned(100)
    for bit in range(8 * len(stored)):
        spoilt = bytearray(stored)
        spoilt[bit // 8] ^= 1 << bit % 8
        assert unguard(b"key", bytes(spoilt)) is None
    assert unguard(b"other", stored) is None and unguard(b"key", b"") is None
