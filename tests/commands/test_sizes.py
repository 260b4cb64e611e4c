"""The sizes of many archives: what they share is read once, and what is known not at all."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from program import Program, patterned
from programfixtures import program, sr, src
from shelf import Shelf, put_archive
from strongroom.commands import sizes
from strongroom.commands.info import totals
from strongroom.commands.sizes import unique_sizes
from strongroom.crypto import hashing
from strongroom.ids import ArchiveId, RefsId
from strongroom.repository import refs
from strongroom.repository.cache import Cache
from strongroom.repository.index import ChunkIndex
from strongroom.repository.refs import RefsWriter
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


def put_hollow(repository: Repository, name: str, uses: list[bytes]) -> ArchiveId:
    """An archive that uses these chunks, which are in no pack."""
    writer = RefsWriter(
        lambda block, blob: repository.put_if_new(refs.name(block), blob), repository.is_freed_refs
    )
    for one in uses:
        writer.add(one)
    return put_archive(repository, name, root=RefsId(writer.finish()), uses=len(uses))


def test_what_is_each_archives_alone_takes_two_looks_at_a_block_however_many_there_are(
    shelf: Shelf, asked: Counter[RefsId], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChunkIndex, "shares", lambda _, chunks: [1 for _ in chunks])
    common = sorted((hashing.plain_hash(b"%d" % one) for one in range(20_000)), key=lambda one: one[31])
    with shelf.open() as writer:
        kept = []
        for number in range(12):
            own = [hashing.plain_hash(b"own %d %d" % (number, one)) for one in range(number)]
            kept.append(put_hollow(writer, f"a{number}", [*common, *own, *own[:2]]))
        asked.clear()
        assert unique_sizes(writer, [[one] for one in kept]) == list(range(12))
        assert len(asked) > 20 and max(asked.values()) <= 3  # what is below it, for two of them; its ids
        assert sum(asked.values()) < 2.5 * len(asked)
        asked.clear()
        assert unique_sizes(writer, [kept[3:5], kept[:2]]) == [3 + 4, 0 + 1]
        monkeypatch.setattr(sizes, "_AT_ONCE", 1000)  # in several passes
        assert unique_sizes(writer, [[one] for one in kept]) == list(range(12))
        assert unique_sizes(writer, [kept]) == [20_000 + sum(range(12))]
