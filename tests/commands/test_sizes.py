"""The sizes of many archives: what they share is read once, and what is known not at all."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from program import Program, patterned
from programfixtures import program, sr, src
from shelf import Shelf, put_archive
from strongroom.commands.info import totals
from strongroom.ids import RefsId
from strongroom.repository.cache import Cache
from strongroom.repository.repository import Repository

__all__ = ["program", "sr", "src"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[RefsId]:
    """How often each block of refs is read."""
    counted: Counter[RefsId] = Counter()
    read = Repository.refs_block

    def counting(repository: Repository, block: RefsId) -> bytes:
        counted[block] += 1
        return read(repository, block)

    monkeypatch.setattr(Repository, "refs_block", counting)
    return counted


def test_a_block_that_archives_share_is_read_once(shelf: Shelf, asked: Counter[RefsId]) -> None:
    with shelf.open() as writer:
        for day in range(1, 6):
            put_archive(writer, f"a{day}", datetime(2026, 1, day, tzinfo=UTC))
    with shelf.open() as reader:
        totals(reader)
        assert list(asked.values()) == [1]
        totals(reader)  # from the cache
        assert list(asked.values()) == [1]


def test_the_sizes_of_many_archives_are_remembered_in_one_write(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: Counter[str] = Counter()
    keep = Cache.keep_copies

    def counting(cache: Cache, name: str, items: Iterable[tuple[bytes, bytes]]) -> None:
        kept = list(items)
        written[name] += bool(kept)
        keep(cache, name, kept)

    monkeypatch.setattr(Cache, "keep_copies", counting)
    with shelf.open() as writer:
        for day in range(1, 8):
            put_archive(writer, f"a{day}", datetime(2026, 1, day, tzinfo=UTC))
    for name in ("admin", "machine"):  # one that opens, one that does not
        if name not in shelf.keys:
            shelf.add_key("backup", name)
        written.clear()
        with shelf.open(name) as reader:
            totals(reader)
        assert written == {"archives": 1, "sizes": 1}


def test_each_archive_counts_all_that_it_uses(sr: Program, src: Path) -> None:
    (src / "one").write_bytes(patterned(300_000, 1))
    sr("create", "::a", "src").ok()
    sr("create", "::b", "src").ok()
    (src / "two").write_bytes(patterned(200_000, 2))
    sr("create", "::c", "src").ok()
    sr.lose_cache()
    whole = sr("info", "--json").json["cache"]["stats"]["total_csize"]
    found = sr("info", "--glob-archives", "*", "--json").json["archives"]
    a, b, c = (one["stats"]["compressed_size"] for one in found)
    assert a == b > 300_000 and c > a + 200_000
    assert whole == a + b + c
