"""Sectors that rot under packs with parity: read as if nothing had happened, up to the bound, and told."""

import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from format.conftest import open_at
from program import Done, Program, patterned
from shelf import Told
from strongroom.commands.check import CheckOptions, check_repository
from strongroom.commands.compact import CompactOptions, compact
from strongroom.commands.opening import Need
from strongroom.errors import StoreFull
from strongroom.ids import PackId
from strongroom.reporting import SilentReporter
from strongroom.repository.parity import BLOCK, encode
from strongroom.store.local import LocalStore
from strongroom.store.protocol import Buffer


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


def test_bits_that_flip_where_nothing_is_encrypted_cost_nothing(program: Program, src: Path) -> None:
    """A bundle opens there whatever its bytes are: only the chunks' ids tell."""
    program("init", "--encryption=none", "--parity=5%").ok()
    for number in range(60):
        (src / f"file{number}").write_bytes(patterned(20_000, number))
    program("create", "-C", "none", "::a", "src").ok()
    pack = pack_of(program)
    whole = bytearray(pack.read_bytes())
    for at in (100_000, 400_000, 400_001, 1_100_000):
        whole[at] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(whole)
    code, err, place = extracted(program)
    assert code == 1 and "parity" in err and same(place, src), err
    for number in range(60):
        done = program("cat", "::a", f"src/file{number}")
        assert done.raw == (src / f"file{number}").read_bytes(), done.err


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


def repaired(program: Program, *words: str) -> Done:
    yes = {"STRONGROOM_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES"}
    return program("check", "--repair", "--verify-data", "-v", *words, env=yes)


def protects_all(program: Program) -> bool:
    stored = {path.name for path in program.repo.glob("packs/*/*")}
    return stored == {path.name for path in program.repo.glob("parity/*")}


def rot(pack: Path, chooser: random.Random, bad: int) -> None:
    """Random sectors, `bad` of them in each row of the parity that is hit: the bound is 5."""
    sectors = -(-pack.stat().st_size // BLOCK)
    rows = -(-sectors // 100)
    shares = range(sectors // rows)
    for row in chooser.sample(range(rows), min(3, rows)):
        for share in chooser.sample(shares, bad):
            at = (share * rows + row) * BLOCK
            erase(pack, [(at + chooser.randrange(100), 1 + chooser.randrange(BLOCK - 100))])


@pytest.mark.parametrize("seed", range(3))
def test_check_repair_heals_random_sectors_within_the_bound_as_they_were(
    protected: Program, seed: int
) -> None:
    packs = {path: path.read_bytes() for path in protected.repo.glob("packs/*/*")}
    log = len(os.listdir(protected.repo / "log"))
    rot(pack_of(protected), random.Random(seed), 5)
    done = repaired(protected).ok()
    assert "was healed" in done.err and "Everything is whole" in done.err
    assert {path: path.read_bytes() for path in protected.repo.glob("packs/*/*")} == packs
    assert len(os.listdir(protected.repo / "log")) == log  # nothing was given up
    protected("check", "--verify-data").ok()


@pytest.mark.parametrize("place", [30, 0.5, -20], ids=["its head", "its blocks", "its other head"])
def test_parity_that_rots_is_told_before_it_is_needed_and_made_anew_as_it_was(
    protected: Program, place: float
) -> None:
    parities = {path: path.read_bytes() for path in (protected.repo / "parity").iterdir()}
    largest = max(parities, key=lambda path: len(parities[path]))
    size = len(parities[largest])
    at = int(place * size) if isinstance(place, float) else place % size
    erase(largest, [(at, 10)])
    protected("check").ok()
    for words in (["--repository-only"], []):
        told = protected("check", "--verify-data", *words)
        assert told.code == 1 and f"parity/{largest.name}: This parity is damaged" in told.err
    done = repaired(protected).ok()
    assert "was made anew, as it was" in done.err
    assert {path: path.read_bytes() for path in (protected.repo / "parity").iterdir()} == parities
    protected("check", "--verify-data").ok()


def test_a_pack_and_its_parity_that_both_rot_are_both_put_right(protected: Program) -> None:
    before = {path: path.read_bytes() for area in ("packs", "parity") for path in files(protected, area)}
    pack = pack_of(protected)
    (extra,) = (path for path in files(protected, "parity") if path.name == pack.name)
    erase(pack, [(500_000, BLOCK)])
    erase(extra, [(extra.stat().st_size // 2, 10)])
    told = protected("check", "--verify-data")
    assert told.code == 1 and f"packs/{pack.parent.name}/{pack.name}: " in told.err
    assert f"parity/{pack.name}: This parity is damaged: 1 of its" in told.err
    repaired(protected).ok()
    assert {
        path: path.read_bytes() for area in ("packs", "parity") for path in files(protected, area)
    } == before
    protected("check", "--verify-data").ok()


def files(program: Program, area: str) -> list[Path]:
    return [path for path in (program.repo / area).rglob("*") if path.is_file()]


def test_packs_without_parity_are_counted_where_it_is_wanted(protected: Program) -> None:
    for path in (protected.repo / "parity").iterdir():
        path.unlink()
    told = protected("check", "-v", "--verify-data", "--repository-only").ok()
    assert "1 of 1 pack have no parity: run `strongroom protect`" in told.err
    protected("protect").ok()
    assert "no parity" not in protected("check", "-v", "--verify-data").ok().err


@pytest.mark.parametrize("seed", range(3))
def test_beyond_the_bound_what_is_sound_is_saved_into_packs_with_parity(
    protected: Program, src: Path, seed: int
) -> None:
    pack = pack_of(protected)
    rot(pack, random.Random(seed), 6)
    done = repaired(protected)
    assert done.code == 1 and "is replaced" in done.err and not pack.exists()
    assert protects_all(protected)
    code, _, place = extracted(protected)
    assert code == 1
    for one in src.iterdir():
        got = (place / "src" / one.name).read_bytes()
        assert all(a in (b, 0) for a, b in zip(got, one.read_bytes(), strict=True))


@pytest.mark.parametrize("area", ["packs", "index", "refs", "archives"])
def test_beyond_the_bound_everything_comes_from_the_copy(protected: Program, src: Path, area: str) -> None:
    copy = protected.root / "copy"
    protected("replicate", protected.repo, copy).ok()
    before = {path: path.read_bytes() for path in protected.repo.glob(f"{area}/**/*") if path.is_file()}
    for path in before:
        erase(path, [(0, 1 + path.stat().st_size // 2)])
    fresh = protected.another("a machine that remembers nothing")
    done = repaired(fresh, "--fallback", str(copy)).ok()
    assert "was healed" in done.err and "Everything is whole" in done.err
    assert {path: path.read_bytes() for path in before} == before
    code, err, place = extracted(fresh)
    assert code == 0 and same(place, src), err


def test_a_fallback_of_check_is_for_repairs(protected: Program) -> None:
    assert "--repair" in protected("check", "--fallback", protected.root / "copy").sentence()


@pytest.mark.parametrize("when", ["init", "protect"])
def test_packs_that_compact_makes_have_parity_as_the_old_ones_had(
    program: Program, src: Path, when: str
) -> None:
    program("init", "--encryption=repokey", *(["--parity=5%"] if when == "init" else [])).ok()
    for number in range(2):
        (src / f"file{number}").write_bytes(patterned(1_000_000, number))
    program("create", "::gone", "src").ok()
    (src / "file0").unlink()
    program("create", "::kept", "src").ok()
    if when == "protect":
        program("protect").ok()
    old = {path.name for path in program.repo.glob("packs/*/*")}
    program("delete", "::gone").ok()
    program("compact", "--quarantine", "0", "--threshold", "0").ok()
    new = {path.name for path in program.repo.glob("packs/*/*")} - old
    assert new and protects_all(program)
    rot(pack_of(program), random.Random(1), 5)
    assert "was healed" in repaired(program).ok().err


class NoRoomForParity(LocalStore):
    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        if name.startswith("parity/"):
            raise StoreFull("There is no space left.")
        super().put(name, parts)


@pytest.mark.parametrize("lacking", ["zfec", "room"])
def test_compact_frees_where_no_parity_can_be_made_and_says_so(
    protected: Program, src: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    (src / "file0").unlink()
    protected("create", "::kept", "src").ok()
    protected("delete", "::a").ok()
    phrase = protected.env["STRONGROOM_PASSPHRASE"]
    told = Told()
    with open_at(protected.repo, protected.root / "inside", phrase, Need.ADMIN) as repository:
        if lacking == "zfec":
            monkeypatch.setitem(sys.modules, "zfec", None)
        else:
            repository.store = NoRoomForParity(str(protected.repo))
        assert compact(repository, CompactOptions(quarantine=0, threshold=0), told).freed
    monkeypatch.undo()
    assert any("strongroom protect" in one.text for one in told.notices)
    assert not protects_all(protected)
    protected("check", "--verify-data").ok()
    protected("protect").ok()
    assert protects_all(protected)


class Watched(LocalStore):
    """Notes how many bytes of packs are held at once, as far as one answer tells."""

    most = 0

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        blob = super().get(name, offset, length)
        if name.startswith("packs/"):
            self.most = max(self.most, len(blob))
        return blob


def test_checking_data_holds_a_bundle_at_a_time_and_never_a_pack(program: Program) -> None:
    source = program.cwd / "src"
    source.mkdir()
    for number in range(4):
        (source / f"{number}").write_bytes(patterned(6_000_000, number))
    program("init", "--encryption=repokey").ok()
    program("create", "::a", "src").ok()
    pack = max(program.repo.glob("packs/*/*"), key=lambda one: one.stat().st_size)
    with open_at(program.repo, program.root / "machine", program.env["STRONGROOM_PASSPHRASE"]) as repository:
        store = Watched(str(program.repo))
        repository.store = store
        options = CheckOptions(verify_data=True)
        assert not check_repository(repository, options, SilentReporter()).problems
        blob = bytearray(pack.read_bytes())
        blob[len(blob) // 2] ^= 4
        pack.chmod(0o600)
        pack.write_bytes(blob)
        found = check_repository(repository, options, SilentReporter()).problems
        assert any("bytes are not what" in one.what for one in found)
        assert 0 < store.most < len(blob) // 2 > 8_000_000
