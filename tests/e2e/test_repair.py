"""`check --repair`: what rotted comes back or is named, nothing gets worse, twice is once."""

import itertools
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from economy import times
from faultlayer import Fault, crash, steps
from program import Done, Program, patterned, remove_tree
from sshd import direct_rsh
from strongroom.store.stamp import unstamp

YES = {"STRONGROOM_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES"}
EXAMPLES = 6
MODES = [(), ("--verify-data",)]


def spoil(path: Path) -> None:
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 4
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


def everything(program: Program) -> dict[str, bytes]:
    top = program.repo
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def repair(program: Program, *words: str) -> Done:
    return program("check", "--repair", "-v", *words, env=YES)


@pytest.fixture
def filled(sr: Program, src: Path) -> Program:
    """Three archives, each with a pack of its own."""
    (src / "deep" / "er").mkdir(parents=True)
    for number in range(3):
        (src / f"file{number}").write_bytes(patterned(300_000, number))
        (src / "deep" / "er" / f"small{number}").write_text(f"small {number}")
        os.link(src / f"file{number}", src / "deep" / f"link{number}")
        (src / "deep" / "holes").write_bytes(b"")
        os.truncate(src / "deep" / "holes", 5_000_000)
        sr("create", f"::{number}", "src").ok()
    sr("list").ok()  # archives are in the cache now
    return sr


@pytest.mark.parametrize("verify", MODES)
@pytest.mark.parametrize("area", ["index", "refs", "archives", "log"])
@harms
def test_what_can_be_made_anew_is_as_it_was(
    filled: Program, area: str, harm: Callable[[Path], None], verify: tuple[str, ...]
) -> None:
    before = everything(filled)
    gone = harm is Path.unlink and area == "log"  # without its newest record it would be rolled back
    for path in objects(filled, area)[: -1 if gone else None]:
        harm(path)
    told = filled("check", *verify)
    assert told.code == 1 and area in told.err
    assert "Everything is whole again" in repair(filled, *verify).ok().err
    after = everything(filled)
    for name in [name for name in before if name.startswith("log/")]:
        was, stamped = unstamp(before.pop(name))
        # a stamp that nobody knows any more becomes a later one: no quarantine ends too early
        record, now = unstamp(after.pop(name))
        assert record == was and (now == stamped if harm is spoil else now >= stamped)
    assert after == before
    assert "Everything" not in repair(filled).ok().err
    filled("check", "--verify-data").ok()


def test_nothing_is_done_without_a_yes(filled: Program) -> None:
    spoil(objects(filled, "index")[0])
    before = everything(filled)
    for answer in (b"", b"yes\n", b"no\n"):
        done = filled("check", "--repair", stdin=answer)
        assert done.code == 2 and "Nothing was repaired" in done.err and "is made anew" in done.err
    assert everything(filled) == before
    filled("check", "--repair", stdin=b"YES\n").ok()
    filled("check", env={"BORG_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES"}).ok()


def file_of(program: Program, archive: str, name: str) -> tuple[Done, bytes]:
    place = program.root / "out"
    remove_tree(place)
    place.mkdir()
    done = program("extract", f"::{archive}", cwd=place)
    path = place / "src" / name
    return done, path.read_bytes() if path.exists() else b""


@harms
def test_a_pack_that_rotted_is_replaced_by_what_is_sound_in_it(
    filled: Program, src: Path, harm: Callable[[Path], None]
) -> None:
    first = objects(filled, "packs")[0]
    harm(first)
    for line in filled("check", "--verify-data").err.splitlines():
        assert "bundle at" not in line or line.count(first.name) == 1, "it is named once"
    told = repair(filled, "--verify-data")
    assert told.code == 1 and first.name in told.err and "src/file0" in told.err
    assert not first.exists()
    if harm is spoil:
        assert f"packs/{first.parent.name}/{first.name} was removed" in told.err
    assert "parity/" not in told.err, "it has none that could be removed"
    assert "is given up" in told.err or "is replaced" in told.err
    after = everything(filled)
    again = repair(filled, "--verify-data")
    assert again.code == 1 and "This will be done" not in again.err
    assert everything(filled) == after
    for number in range(3):
        done, content = file_of(filled, "2", f"file{number}")
        if number:
            assert content == patterned(300_000, number)
        else:
            assert done.code == 1 and "src/deep/link0: bytes" in done.err and content == bytes(300_000)
    filled("create", "::heals", "src").ok()
    left = filled("check", "--verify-data")
    if harm is spoil:
        left.ok()
    else:  # the folders of the first archive are not what they are today: nothing brings them back
        assert all(line.startswith(("0 (", "archives/")) for line in left.err.splitlines())
    for archive in ("0", "1", "2", "heals"):
        if harm is spoil or archive != "0":
            done, content = file_of(filled, archive, "file0")
            assert (done.code, content) == (0, patterned(300_000, 0))


def test_a_pack_whose_own_table_rotted_loses_nothing(filled: Program, src: Path) -> None:
    """Another pack of the same run tells how it is to be opened."""
    content = patterned(36_000_000, 7)
    (src / "big").write_bytes(content)
    filled("create", "::big", "src").ok()
    assert len(objects(filled, "packs")) == 3 + 2
    for number, where in ((-1, -100), (-2, 2)):  # in its table, and in front of all bundles
        path = objects(filled, "packs")[number]
        blob = bytearray(path.read_bytes())
        blob[where] ^= 1
        path.chmod(0o600)
        path.write_bytes(blob)
        assert filled("check", "--verify-data").code == 1
        repair(filled, "--verify-data").ok()
        assert not path.exists()
        filled("check", "--verify-data").ok()
    assert file_of(filled, "big", "big")[1] == content


@harms
def test_an_archive_that_nothing_remembers_is_given_up(filled: Program, harm: Callable[[Path], None]) -> None:
    first = objects(filled, "archives")[0]
    harm(first)
    filled.lose_cache()
    told = repair(filled).ok()
    assert first.name in told.err and "given up" in told.err and not first.exists()
    assert filled.names() == ["1", "2"]
    filled("check", "--verify-data").ok()
    for archive in "12":
        assert file_of(filled, archive, "file1")[1] == patterned(300_000, 1)
    filled("create", "::0", "src").ok()


class Saved:
    """The repository and what this machine knows of it, as they were."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._copy = program.root / "saved"
        for place in self._places():
            shutil.copytree(place, self._copy / place.name, symlinks=True)

    def _places(self) -> list[Path]:
        return [self._program.repo, Path(self._program.env["STRONGROOM_BASE_DIR"])]

    def restore(self) -> None:
        for place in self._places():
            remove_tree(place)
            shutil.copytree(self._copy / place.name, place, symlinks=True)


def harmed(program: Program) -> list[Path]:
    """One object of each kind that a repair has something to do for."""
    found = [objects(program, area)[1] for area in ("index", "refs", "packs")]
    for path in found:
        spoil(path)
    objects(program, "archives")[0].unlink()
    program.lose_cache()
    return found


def test_a_repair_that_is_killed_at_any_step_is_finished_by_the_next(filled: Program) -> None:
    harmed(filled)
    saved, journal = Saved(filled), filled.root / "journal"
    words = ("check", "--repair", "--verify-data")

    def run(kind: str, step: int) -> Done:
        fault = Fault(kind, step, [filled.repo], journal)
        return filled.start(*words, env=YES, before=fault.install).wait()

    assert run("none", 0).code == 1
    calls = steps(journal)
    dice = random.Random(len(calls))
    chosen = sorted(dice.sample(range(1, len(calls) + 1), 6))
    for step in chosen:
        saved.restore()
        shutil.rmtree(f"{journal}.trash", ignore_errors=True)
        journal.unlink()
        run("kill", step)
        crash(journal, "kill", seed=step)
        assert file_of(filled, "2", "file2")[1] == patterned(300_000, 2), calls[step - 1]
        repair(filled, "--verify-data")
        again = repair(filled, "--verify-data")
        assert "This will be done" not in again.err, (calls[step - 1], again.err)
        left = filled("check", "--verify-data").err.splitlines()
        assert all("file1" in line or "lost" in line or "link1" in line for line in left), left
        for number in (0, 2):
            assert file_of(filled, "2", f"file{number}")[1] == patterned(300_000, number)


damages = st.lists(
    st.tuples(
        st.sampled_from(["index", "refs", "packs", "archives"]),
        st.integers(0, 20),
        st.sampled_from(["flip", "cut", "missing"]),
        st.floats(0, 1, exclude_max=True),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda one: (one[0], one[1] % 3),
)


def damage(path: Path, kind: str, where: float) -> None:
    path.chmod(0o600)
    blob = bytearray(path.read_bytes())
    at = int(len(blob) * where)
    if kind == "flip":
        blob[at] ^= 1
        path.write_bytes(blob)
    elif kind == "cut":
        os.truncate(path, at)
    else:
        path.unlink()


def test_whatever_rots_is_named_and_what_survives_is_as_it_was(filled: Program) -> None:
    saved = Saved(filled)

    @settings(
        max_examples=times(EXAMPLES),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(damages, st.booleans())
    def play(chosen: list[tuple[str, int, str, float]], forgetful: bool) -> None:
        saved.restore()
        spoilt = {area: objects(filled, area) for area in ("index", "refs", "packs", "archives")}
        packs_hit, names, archives_hit = set(), set(), set()
        for area, number, kind, where in chosen:
            number %= len(spoilt[area])
            path = spoilt[area][number]
            damage(path, kind, where)
            names.add(path.name)
            if area == "packs":
                packs_hit.add(number)
            if area == "archives":
                archives_hit.add(number)
        if forgetful:
            filled.lose_cache()
        told = filled("check", "--verify-data")
        unnamed = {name for name in names if name not in told.err}
        # what lies behind a lost archive is seen when it is back, and nobody uses what only a lost one used
        assert told.code == 1 and (not unnamed or archives_hit or packs_hit), (unnamed, told.err)
        repair(filled, "--verify-data")
        again = repair(filled, "--verify-data")
        assert "This will be done" not in again.err, again.err
        left = filled("check", "--verify-data").err
        assert "index/" not in left and "packs/" not in left and "log/" not in left, left
        living = filled.names()
        assert len(living) == 3 - (len(archives_hit) if forgetful else 0)
        for archive in living:
            if int(archive) in packs_hit:
                continue  # its folders may be lost
            done, _ = file_of(filled, archive, "file0")
            for number in range(int(archive) + 1):
                for name, content in (
                    (f"file{number}", patterned(300_000, number)),
                    (f"deep/link{number}", patterned(300_000, number)),
                    (f"deep/er/small{number}", b"small %d" % number),
                ):
                    path = filled.root / "out" / "src" / name
                    if path.read_bytes() != content:
                        base = name.rpartition("/")[2].lstrip("filenkrmas")
                        assert number in packs_hit and f"{base}: bytes" in done.err, (name, done.err)
            assert bool(done.code) <= bool(packs_hit)

    play()


def over_ssh(program: Program, *words: str) -> Program:
    """The same machine, the repository at the other end of a connection."""
    rsh = direct_rsh(program.root, *words, name="rsh" + "".join(words))
    env = {"STRONGROOM_REPO": f"ssh://server{program.repo}", "STRONGROOM_RSH": rsh}
    known = {"STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
    return Program(program.root, program.cwd, program.env | env | known, running=program.running)


def test_over_ssh_it_repairs_what_it_may_and_says_what_it_may_not(filled: Program) -> None:
    index, refs, pack = harmed(filled)
    before = everything(filled)
    bound = over_ssh(filled, "--append-only")
    told = repair(bound, "--verify-data")
    for path in (index, refs, pack):
        assert any(path.name in line and "may not be removed" in line for line in told.err.splitlines())
    after = everything(filled)
    assert told.code == 1 and after.items() >= before.items()
    free = over_ssh(filled)
    told = repair(free, "--verify-data")
    assert "may not" not in told.err
    assert "This will be done" not in repair(free, "--verify-data").err
    assert not pack.exists()
    for number in (0, 2):
        assert file_of(free, "2", f"file{number}")[1] == patterned(300_000, number)


def test_a_repository_that_is_append_only_keeps_everything(program: Program, src: Path) -> None:
    program("init", "--encryption=repokey", "--append-only").ok()
    (src / "file").write_text("text")
    program("create", "::one", "src").ok()
    spoil(objects(program, "index")[0])
    before = everything(program)
    told = repair(program)
    assert told.code == 1 and "append-only" in told.err
    assert everything(program) == before


def test_check_gets_somewhere_however_little_time_it_is_given(sr: Program, src: Path) -> None:
    """Where the log and the index took all of the time, no run ever looked at a pack."""
    for number in range(3):
        (src / "file").write_bytes(patterned(50_000, number))
        sr("create", f"::{number}", "src").ok()
    packs = sorted(path for path in (sr.repo / "packs").rglob("*") if path.is_file())
    packs[-1].chmod(0o600)
    packs[-1].write_bytes(bytes(packs[-1].stat().st_size))

    def slow() -> None:
        real = time.monotonic
        calls = itertools.count()
        time.monotonic = lambda: real() + 100 * next(calls)

    words = ("check", "--repository-only", "--verify-data", "--max-duration", "1")
    codes = [sr.start(*words, before=slow).wait().code for _ in packs]
    assert codes == [0] * (len(packs) - 1) + [1]
