"""Sectors that rot under packs with parity: read as if nothing had happened, up to the bound, and told."""

import random
from pathlib import Path

import pytest

from program import Program, patterned
from strongroom.ids import PackId
from strongroom.repository.parity import BLOCK, encode


@pytest.fixture
def protected(program: Program, src: Path) -> Program:
    """With one pack of about 3 MB and its parity of 5 percent."""
    program("init", "--encryption=repokey", "--parity=5%").ok()
    for number in range(3):
        (src / f"file{number}").write_bytes(patterned(1_000_000, number))
    program("create", "::a", "src").ok()
    return program


def pack_of(program: Program) -> Path:
    """The largest: the files are in it."""
    return max((path for path in program.repo.glob("packs/*/*")), key=lambda path: path.stat().st_size)


def erase(path: Path, places: list[tuple[int, int]]) -> None:
    whole = bytearray(path.read_bytes())
    for start, length in places:
        whole[start : start + length] = bytes(len(whole[start : start + length]))
    path.chmod(0o600)
    path.write_bytes(whole)


def same(place: Path, src: Path) -> bool:
    return all((place / "src" / one.name).read_bytes() == one.read_bytes() for one in src.iterdir())


def extracted(program: Program) -> tuple[int, str, Path]:
    place = program.root / "out"
    place.mkdir(exist_ok=True)
    done = program("extract", "::a", cwd=place)
    return done.code, done.err, place


def test_random_sectors_that_rot_cost_nothing(protected: Program, src: Path) -> None:
    pack = pack_of(protected)
    sectors = pack.stat().st_size // BLOCK
    chooser = random.Random(5)
    erase(pack, [(chooser.randrange(sectors) * BLOCK, BLOCK) for _ in range(6)])
    code, err, place = extracted(protected)
    assert code == 1 and "parity" in err and same(place, src), err


def test_a_long_run_that_is_lost_costs_nothing(protected: Program, src: Path) -> None:
    pack = pack_of(protected)
    erase(pack, [(500_000, pack.stat().st_size // 25)])
    code, err, place = extracted(protected)
    assert code == 1 and "parity" in err and same(place, src), err
    assert protected("list", "::a").ok().out.count("file") == 3


def test_beyond_the_bound_the_files_are_named_and_nothing_false_is_restored(
    protected: Program, src: Path
) -> None:
    pack = pack_of(protected)
    erase(pack, [(500_000, pack.stat().st_size // 5)])
    code, err, place = extracted(protected)
    assert code == 1 and "file0" in err
    for one in src.iterdir():
        got = (place / "src" / one.name).read_bytes()
        assert len(got) == 1_000_000
        assert all(a in (b, 0) for a, b in zip(got, one.read_bytes(), strict=True))


def test_old_packs_are_protected_later_without_a_key_and_once(sr: Program, src: Path) -> None:
    (src / "file").write_bytes(patterned(1_000_000))
    sr("create", "::a", "src").ok()
    assert not (sr.repo / "parity").exists()
    stranger = sr.another("stranger", STRONGROOM_PASSPHRASE="unknown")
    count = len(list(sr.repo.glob("packs/*/*")))
    assert f"{count} packs were given" in stranger("protect", "--parity", "10", "-v").ok().err
    assert len(list(sr.repo.glob("parity/*"))) == count
    assert f"0 packs were given parity (0 B), {count} had it" in stranger("protect", "-v").ok().err
    erase(pack_of(sr), [(0, 50_000)])
    code, _, place = extracted(sr)
    assert code == 1 and same(place, src)


def test_what_is_damaged_is_not_given_parity(sr: Program, src: Path) -> None:
    (src / "file").write_bytes(patterned(1_000_000))
    sr("create", "::a", "src").ok()
    pack = pack_of(sr)
    erase(pack, [(5_000, 10)])
    told = sr("protect")
    assert told.code == 1 and pack.name in told.err
    assert not (sr.repo / "parity" / pack.name).exists()


def test_parity_that_somebody_planted_changes_nothing_that_is_read(protected: Program, src: Path) -> None:
    parity = protected.repo / "parity" / pack_of(protected).name
    other = b"".join(encode(PackId(bytes(32)), patterned(100_000), 5))
    rubbish = [b"", b"rubbish", other, parity.read_bytes()[:-5_000] + bytes(5_000)]
    erase(pack_of(protected), [(5_000, 10)])
    for blob in rubbish:
        parity.chmod(0o600)
        parity.write_bytes(blob)
        code, err, place = extracted(protected)
        assert code == 1 and "Traceback" not in err
        for one in src.iterdir():
            got = (place / "src" / one.name).read_bytes()
            assert all(a in (b, 0) for a, b in zip(got, one.read_bytes(), strict=True))
