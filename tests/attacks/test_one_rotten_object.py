"""One damaged or planted object must not stop or mislead those who use the others."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from program import Done, Program
from strongroom.archive import trees
from strongroom.archive.entries import Entry
from strongroom.errors import Damaged
from strongroom.ids import RefsId
from strongroom.repository import refs
from strongroom.repository.refs import RefsCounter, RefsWriter
from strongroom.repository.repository import Repository


def spoil(path: Path) -> None:
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(blob)


def cut(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size // 2)


HARMS = {"spoilt": spoil, "cut": cut, "missing": Path.unlink}
harms = pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)


def objects(program: Program, area: str) -> list[Path]:
    """Oldest first."""
    found = (path for path in (program.repo / area).rglob("*") if path.is_file())
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def restored(program: Program, archive: str) -> tuple[Done, str]:
    """The run, and what came of the file."""
    place = program.root / "out"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    done = program("extract", f"::{archive}", cwd=place)
    return done, (place / str(program.cwd / "src/file").lstrip("/")).read_text()


def newest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture
def two(sr: Program, src: Path) -> Program:
    (src / "file").write_text("text")
    sr("create", "::one", str(src)).ok()
    (src / "file").write_text("other text")
    sr("create", "::two", str(src)).ok()
    return sr


def test_a_damaged_archive_hides_no_other(two: Program) -> None:
    spoil(newest(two.repo / "archives"))
    two.lose_cache()
    done = two("list")
    assert done.code == 1 and "one " in done.out and "(damaged " in done.out and "damaged" in done.err
    two("extract", "::one", cwd=two.root).ok()


def test_rot_in_a_deleted_archive_is_found_while_it_can_still_come_back(two: Program) -> None:
    path = newest(two.repo / "archives")
    two("delete", "::two").ok()
    two("check").ok()
    spoil(path)
    done = two("check")
    assert done.code == 1 and path.name in done.err


def test_a_damaged_key_in_the_repository_stops_no_other(two: Program) -> None:
    rotten = two.repo / "keys" / ("ab" * 32)
    rotten.write_bytes(b"STRONGROOMKEY and then nonsense")
    two("list").ok()
    done = two("check")
    assert done.code == 1 and rotten.name in done.err


@harms
def test_a_rotten_index_object_stops_no_reader(two: Program, harm: Callable[[Path], None]) -> None:
    told_of = set()
    for path in objects(two, "index"):
        harm(path)
        told_of.add(path.name)
        two.lose_cache()
        for _ in range(2):  # with an empty cache, and with what the packs themselves said
            for archive, text in (("one", "text"), ("two", "other text")):
                done, found = restored(two, archive)
                assert (done.code, found) == (1, text) and "lost" not in done.err
                assert all(name in done.err for name in told_of)
    assert two("list", "::one").code == two("info", "::one").code == 1
    two("list").ok()
    told = two("check").err
    assert all(name in told for name in told_of)


def test_a_writer_stores_nothing_twice_for_a_rotten_index_object(two: Program) -> None:
    path = objects(two, "index")[0]
    spoil(path)
    two.lose_cache()
    before = two.stored()
    done = two("create", "::three", str(two.cwd / "src"))
    assert done.code == 1 and path.name in done.err
    assert two.stored() == before
    assert restored(two, "three")[1] == "other text"


@harms
def test_a_chunk_in_two_packs_is_read_from_the_sound_one(
    program: Program, src: Path, harm: Callable[[Path], None]
) -> None:
    """Two clients that ran at once, and did not know of each other."""
    program("init", "--encryption=repokey").ok()
    (src / "file").write_text("text")
    program("create", "::one", str(src)).ok()

    def ignorant() -> None:
        Repository.load_index = lambda _: None  # type: ignore[method-assign]

    program.another("elsewhere")("create", "::two", str(src), before=ignorant).ok()
    first, second = objects(program, "packs")
    for path in (first, second):
        whole = path.read_bytes()
        harm(path)
        program.lose_cache()
        for archive in ("one", "two"):
            done, text = restored(program, archive)
            assert (done.code, text) == (0, "text"), done
        assert program("extract", "--stdout", "::one").out == "text"
        assert program("check", "--verify-data").code == 1
        path.unlink(missing_ok=True)
        path.write_bytes(whole)
    program("check", "--verify-data").ok()


@harms
def test_a_rotten_pack_costs_what_it_holds(two: Program, harm: Callable[[Path], None]) -> None:
    first = objects(two, "packs")[0]
    harm(first)
    done = two("extract", "::one", "--dry-run")
    assert done.code == 1 and ("cannot be read" in done.err or "are lost" in done.err)
    assert restored(two, "two")[1] == "other text"
    done = two("list", "::one")
    assert done.code == 1 and "cannot be read" in done.err
    two("list").ok()
    assert first.name in two("check", "--verify-data").err


@harms
def test_rotten_refs_stop_no_reader(two: Program, harm: Callable[[Path], None]) -> None:
    first = objects(two, "refs")[0]
    harm(first)
    done, text = restored(two, "one")
    assert (done.code, text) == (0, "text")
    two("list", "::one").ok()
    for words in (
        ("info", "::one"),
        ("info",),
        ("prune", "--keep-last=2", "--stats"),
        ("create", "--stats", "::3", "."),
    ):
        done = two(*words)
        assert done.code == 1 and first.name in done.err, words
    assert two("delete", "--stats", "::two").code == 1
    assert first.name in two("check").err


@harms
def test_statistics_leave_out_what_is_damaged(two: Program, harm: Callable[[Path], None]) -> None:
    path = objects(two, "archives")[0]
    harm(path)
    two.lose_cache()
    done = two("delete", "--stats", "::two")
    assert done.code == 1 and path.name in done.err and "Deleted data" in done.err
    assert two("undelete", "::two").code == 0
    done = two("prune", "--force", "--stats", "--keep-last=1")
    assert done.code == 1 and path.name in done.err and "Deleted data" in done.err
    assert two("info").code == 1
    assert restored(two, "two")[1] == "other text"


def test_chunks_that_do_not_fill_their_place_count_as_lost(sr: Program, src: Path) -> None:
    """A hostile client's entry claims other chunk sizes than the chunks have; the sum is right."""
    (src / "file").write_bytes(os.urandom(9_000_000))

    def shifted(entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if entry.sizes is not None:
                entry.sizes[0] += 1
                entry.sizes[-1] -= 1
            yield entry

    def shift(entries: Iterable[Entry]) -> Iterator[bytes]:
        return real(shifted(entries))

    real: Callable[[Iterable[Entry]], Iterator[bytes]] = trees.encode_tree

    def before() -> None:
        trees.encode_tree = shift

    sr("create", "::a", str(src), before=before).ok()
    done = sr("extract", "::a", cwd=sr.root)
    assert done.code == 1 and "are lost" in done.err
    assert sr("extract", "--stdout", "::a").code == 2


def test_blocks_that_list_more_than_anybody_can_read_are_refused() -> None:
    blocks: dict[RefsId, bytes] = {}
    writer = RefsWriter(blocks.__setitem__, lambda _: False)
    writer.add_all(b"\xff" * 32 * refs.MAX_IDS)
    block = writer.finish()
    for level in range(1, refs.MAX_LEVEL + 1):
        blob = refs.HEADER + bytes((level,)) + block * refs.MAX_IDS
        block = RefsId(refs.hashing.plain_hash(blob))
        blocks[block] = blob
    total, missing = RefsCounter(blocks.__getitem__, len).count(block)
    assert total == missing == refs.MAX_IDS ** (refs.MAX_LEVEL + 1)
    with pytest.raises(Damaged, match="more chunks"):
        list(refs.read_all(block, blocks.__getitem__, 10_000))
