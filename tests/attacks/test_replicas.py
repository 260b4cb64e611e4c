"""A second place for a repository: what a hostile or rotten side of it can do to the other."""

import random
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from format.conftest import open_at
from program import Program, patterned
from sshd import direct_rsh
from strongroom.cli import commands
from strongroom.cli.session import READING
from strongroom.commands.check import CheckOptions, check_repository
from strongroom.commands.opening import Need
from strongroom.commands.replicate import replicate
from strongroom.errors import LogBroken, StoreFailed
from strongroom.reporting import SilentReporter
from strongroom.store.local import LocalStore
from strongroom.store.location import parse_location
from strongroom.store.protocol import Buffer
from strongroom.store.ssh import SshOptions, SshStore
from strongroom.store.stamp import unstamp


@pytest.fixture
def filled(sr: Program, src: Path) -> Program:
    for number in range(3):
        (src / f"file{number}").write_bytes(patterned(300_000, number))
        sr("create", f"::{number}", "src").ok()
    return sr


@pytest.fixture
def copied(filled: Program) -> tuple[Program, Path]:
    """With a replica of the first three archives."""
    copy = filled.root / "copy"
    filled("replicate", filled.repo, copy).ok()
    return filled, copy


def objects(repo: Path) -> dict[str, bytes]:
    """All but what a store adds by itself: the stamps of the log, leases."""
    return {
        str(path.relative_to(repo)): path.read_bytes()
        for path in repo.rglob("*")
        if path.is_file() and path.relative_to(repo).parts[0] not in ("log", "leases", "tmp", ".reserve")
    }


def records(repo: Path) -> int:
    return len(list((repo / "log").iterdir()))


def damage(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[random.Random(path.name).randrange(len(whole))] ^= 4
    path.chmod(0o600)
    path.write_bytes(whole)


def restored(program: Program, location: Path, archive: str, *words: str, code: int = 0) -> dict[str, bytes]:
    place = program.root / "out"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    done = program("extract", *words, f"{location}::{archive}", cwd=place)
    assert done.code == code, done
    return {path.name: path.read_bytes() for path in (place / "src").iterdir()}


def contents(src: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in src.iterdir()}


def test_the_copy_is_the_repository_and_grows_with_it(copied: tuple[Program, Path], src: Path) -> None:
    sr, copy = copied
    assert objects(copy) == objects(sr.repo)
    (src / "more").write_bytes(patterned(200_000, 9))
    sr("create", "::more", "src").ok()
    assert "1 record were copied" in sr("replicate", "-v", sr.repo, copy).ok().err
    assert "0 objects (0 B) and 0 records" in sr("-r", sr.repo, "replicate", "-v", copy).ok().err
    assert objects(copy) == objects(sr.repo)
    assert "No problems" in sr("check", "-v", "--verify-data", copy).ok().err
    assert restored(sr, copy, "more") == contents(src)


def test_it_needs_no_key_and_no_passphrase(filled: Program) -> None:
    stranger = filled.another("stranger", STRONGROOM_PASSPHRASE="unknown")
    copy = filled.root / "copy"
    stranger("replicate", filled.repo, copy).ok()
    assert objects(copy) == objects(filled.repo)


def test_it_goes_from_server_to_server_and_an_append_only_one_takes_it(filled: Program) -> None:
    copy = filled.root / "copy"
    rsh = direct_rsh(filled.root, "--append-only", "--restrict-to-path", str(filled.root))
    where = {"STRONGROOM_RSH": rsh}
    puller = filled.another("a third machine", STRONGROOM_PASSPHRASE="unknown")
    for _ in range(2):
        puller("replicate", f"ssh://one{filled.repo}", f"ssh://two{copy}", env=where).ok()
    assert objects(copy) == objects(filled.repo)
    assert records(copy) == records(filled.repo)


class Failing(LocalStore):
    """A target that dies before it has stored the `left`th object."""

    uploads = 1
    left = 0

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        self._count()
        super().put(name, parts)

    def append_record(self, name: str, record: bytes) -> bytes:
        if self.left < 0:
            raise StoreFailed("dead")
        return super().append_record(name, record)

    def _count(self) -> None:
        if self.left <= 0:
            raise StoreFailed("dead")
        self.left -= 1


def test_a_copy_that_was_cut_off_anywhere_is_a_whole_repository(filled: Program) -> None:
    copy = filled.root / "copy"
    done = False
    stages = set()
    target = Failing.create(str(copy))
    for left in range(1, 60):
        target.left = left
        with open_at(filled.repo, filled.root / "machine", need=Need.STRUCTURE) as source:
            try:
                replicate(source, target, SilentReporter())
                done = True
            except StoreFailed:
                pass
        stages.add(records(copy) if (copy / "log").exists() else 0)
        if (copy / "log").exists():
            with open_at(copy, filled.root / f"reader{left}", need=Need.STRUCTURE) as opened:
                options = CheckOptions(verify_data=True, repository_only=True)
                assert not check_repository(opened, options, SilentReporter()).problems
        if done:
            break
    assert done and len(stages) > 2
    assert objects(copy) == objects(filled.repo)


@pytest.mark.parametrize("area", ["packs", "index", "refs", "archives"])
def test_rot_at_the_source_is_not_carried_over(filled: Program, src: Path, area: str) -> None:
    whole = objects(filled.repo)
    names = {path.relative_to(filled.repo) for path in (filled.repo / area).rglob("*") if path.is_file()}
    (src / "last").write_bytes(patterned(100_000, 7))
    filled("create", "::last", "src").ok()
    (rotten, *_) = [
        path
        for path in (filled.repo / area).rglob("*")
        if path.is_file() and path.relative_to(filled.repo) not in names
    ]
    damage(rotten)
    copy = filled.root / "copy"
    told = filled("replicate", filled.repo, copy)
    assert told.code == 1 and rotten.name in told.err and "1 records" in told.err, told
    assert records(copy) == records(filled.repo) - 1
    assert objects(copy).items() >= whole.items()
    assert str(rotten.relative_to(filled.repo)) not in objects(copy)
    assert "No problems" in filled("check", "-v", "--verify-data", copy).err


def test_rot_at_the_source_does_not_touch_what_was_copied_before(copied: tuple[Program, Path]) -> None:
    sr, copy = copied
    before = objects(copy)
    for path in (sr.repo / "packs").rglob("*"):
        if path.is_file():
            damage(path)
    sr("replicate", sr.repo, copy).ok()
    assert objects(copy) == before


@pytest.fixture
def cut(copied: tuple[Program, Path]) -> Iterator[tuple[Program, Path]]:
    """The source has lost its last record, and the machine that replicates does not remember it."""
    sr, copy = copied
    max((sr.repo / "log").iterdir()).unlink()
    yield sr.another("pulling machine", STRONGROOM_PASSPHRASE="unknown"), copy


def test_a_rolled_back_source_is_refused(cut: tuple[Program, Path]) -> None:
    stranger, copy = cut
    before, count = objects(copy), records(copy)
    told = stranger("replicate", stranger.repo, copy)
    assert told.code == 2 and "record 4" in told.sentence() and "nothing was copied" in told.err.lower()
    assert (objects(copy), records(copy)) == (before, count)


def test_a_forked_source_is_refused(cut: tuple[Program, Path], filled: Program, src: Path) -> None:
    stranger, copy = cut
    before, count = objects(copy), records(copy)
    attacker = filled.another("another writer")
    for name in ("branch", "branch2"):
        (src / "file1").write_text(name)
        attacker("create", f"::{name}", "src").ok()
    told = stranger("replicate", stranger.repo, copy)
    assert told.code == 2 and "record 4" in told.sentence()
    assert (objects(copy), records(copy)) == (before, count)


def test_another_repository_is_not_written_over(copied: tuple[Program, Path]) -> None:
    sr, copy = copied
    other = sr.root / "other"
    sr("init", "--encryption=repokey", other).ok()
    before = objects(other)
    assert "another repository" in sr("replicate", copy, other).sentence()
    assert objects(other) == before


def test_deleting_at_the_source_removes_nothing_from_the_copy(copied: tuple[Program, Path]) -> None:
    sr, copy = copied
    before = objects(copy)
    sr("delete", sr.repo, "0", "1", "2").ok()
    sr("replicate", sr.repo, copy).ok()
    assert objects(copy) == before
    sr("undelete", "::1").ok()
    sr("replicate", sr.repo, copy).ok()
    assert sr("list", "--short", copy).ok().out.split() == ["1"]


def test_when_the_source_is_gone_the_copy_serves_and_founds_a_new_one(
    copied: tuple[Program, Path], src: Path
) -> None:
    sr, copy = copied
    shutil.rmtree(sr.repo)
    survivor = sr.another("new machine")
    assert restored(survivor, copy, "2") == contents(src)
    survivor("replicate", copy, sr.repo).ok()
    assert objects(sr.repo) == objects(copy)
    sr("create", "::after", "src").ok()
    assert sr.names() == ["0", "1", "2", "after"]
    sr("replicate", sr.repo, copy).ok()
    assert restored(sr, copy, "after") == contents(src)


def test_a_target_is_needed_and_is_another_place(filled: Program) -> None:
    assert "No target" in filled("replicate").sentence()
    assert "both" in filled("replicate", filled.repo, filled.repo).sentence()
    assert "archive" in filled("replicate", filled.repo, f"{filled.repo}::a").sentence()


def test_a_copy_that_lags_behind_is_read_with_a_warning_and_not_written_to(
    copied: tuple[Program, Path], src: Path
) -> None:
    sr, copy = copied
    before = contents(src)
    (src / "file0").write_text("changed since")
    sr("create", "::later", "src").ok()
    told = sr("list", "--short", copy)
    assert told.code == 1 and told.out.split() == ["0", "1", "2"] and "lacks the last 1 records" in told.err
    assert restored(sr, copy, "2", code=1) == before
    held = objects(copy), records(copy)
    for words in (
        ("create", f"{copy}::new", "src"),
        ("delete", f"{copy}::1"),
        ("prune", "--keep-last=1", copy),
    ):
        assert "is a copy" in sr(*words).err.splitlines()[-1]
    assert (objects(copy), records(copy)) == held
    sr("replicate", sr.repo, copy).ok()
    sr("list", copy).ok()


def test_a_copy_takes_the_place_of_a_lost_original_when_its_owner_says_so(
    copied: tuple[Program, Path], src: Path
) -> None:
    sr, copy = copied
    sr("create", "::lost for good", "src").ok()
    shutil.rmtree(sr.repo)
    yes = {"STRONGROOM_REPLICA_WRITE_IS_OK": "yes"}
    sr("create", f"{copy}::new", "src", env=yes)
    assert sr("list", "--short", copy).ok().out.split() == ["0", "1", "2", "new"]
    sr("create", f"{copy}::newer", "src").ok()


def test_a_copy_with_another_history_is_not_read(
    cut: tuple[Program, Path], filled: Program, src: Path
) -> None:
    """The copy is honest, this machine follows a branch: or the other way round, it cannot know."""
    _, copy = cut
    attacker = filled.another("another writer")
    for name in ("branch", "branch2"):
        attacker("create", f"::{name}", "src").ok()
    other = filled.root / "other copy"
    attacker("replicate", filled.repo, other).ok()
    shutil.rmtree(copy)
    shutil.copytree(other, copy)  # what a hostile keeper of the copy puts there
    told = filled("list", copy)
    assert told.code == 2 and "record 4" in told.sentence()


def packs_and_more(repo: Path) -> list[Path]:
    return [path for area in ("packs", "index", "refs", "archives") for path in repo.glob(f"{area}/**/*")]


@pytest.mark.parametrize("how", ["rotten", "gone"])
def test_what_the_first_level_lost_is_read_from_the_copy(
    copied: tuple[Program, Path], src: Path, how: str
) -> None:
    sr, copy = copied
    for path in packs_and_more(sr.repo):
        if path.is_file():
            damage(path) if how == "rotten" else path.unlink()
    sr.lose_cache()
    place = sr.root / "out"
    place.mkdir()
    told = sr("extract", "--fallback", copy, "::2", cwd=place)
    assert told.code == 1 and "fallback" in told.err, told
    assert {path.name: path.read_bytes() for path in (place / "src").iterdir()} == contents(src)
    assert sr("list", "--short", "--fallback", copy, "::2").out.split()


def test_a_first_level_that_is_gone_altogether_is_stood_in_for(
    copied: tuple[Program, Path], src: Path
) -> None:
    sr, copy = copied
    reader = sr.another("reader")
    reader("list").ok()
    shutil.rmtree(sr.repo)
    for one in (sr, reader):
        told = one("list", "--short", "--fallback", copy)
        assert told.code == 1 and told.out.split() == ["0", "1", "2"], told
    assert "--fallback is for" in sr("create", "--fallback", copy, "::x", "src").sentence()
    assert "does not exist" in sr("list").sentence()


READERS: dict[str, tuple[str | Path, ...]] = {
    "analyze": (),
    "cat": ("::2", "src/file1"),
    "compare": ("::2",),
    "debug dump-archive": ("::2", "-"),
    "debug dump-archive-items": ("::2",),
    "diff": ("::1", "2"),
    "drill": ("--seed", "1"),
    "du": ("::2",),
    "export-tar": ("::2", "-"),
    "extract": ("::2", "--dry-run"),
    "find": ("file1",),
    "info": ("::2",),
    "list": ("::2",),
    "transfer": ("--from",),
}
ELSEWHERE = {"browse", "mount"}  # they stay: tested on their own


def test_every_reader_takes_a_fallback() -> None:
    assert READERS.keys() | ELSEWHERE == set(READING)
    needed = re.compile(r"session\.open\(Need\.READ\b")
    for path in Path(commands.__file__).parent.glob("*.py"):
        if needed.search(path.read_text()) and path.stem not in ("benchmark", "debug", "delete", "listing"):
            assert path.stem.replace("_", "-") in READING, path


@pytest.mark.parametrize("name", READERS)
def test_each_reader_goes_on_by_the_copy(copied: tuple[Program, Path], name: str) -> None:
    """With data that is damaged, and with the first level gone altogether."""
    sr, copy = copied
    words = [*READERS[name]]
    place = sr.repo
    if name == "transfer":
        other = sr.root / "other"
        sr("init", "--encryption=repokey", other).ok()
        words.append(place)
        sr.env["STRONGROOM_REPO"] = str(other)
    sr.lose_cache()
    for folder in ("packs", "index", "archives"):
        for path in (place / folder).rglob("*"):
            if path.is_file():
                path.unlink()
    told = sr(*name.split(), "--fallback", copy, *words)
    assert told.code == 1 and "read from the fallback" in told.err, told
    shutil.rmtree(place)
    if name == "transfer":
        sr("delete", "-a", "*").ok()
    again = sr(*name.split(), "--fallback", copy, *words)
    assert again.code == 1 and "Going on with" in again.err, again
    if name not in ("drill", "transfer"):
        assert again.raw == told.raw
    if name == "transfer":
        assert sr.names() == ["0", "1", "2"]
        sr("check", "--verify-data").ok()


def test_a_hostile_copy_can_slip_nothing_in(copied: tuple[Program, Path], src: Path) -> None:
    sr, copy = copied
    for path in packs_and_more(copy):
        if path.is_file():
            damage(path)
    before = contents(src)
    for path in (sr.repo / "packs").glob("*/*"):
        damage(path)
    place = sr.root / "out"
    place.mkdir()
    told = sr("extract", "--fallback", copy, "::2", cwd=place)
    assert told.code in (1, 2) and "Traceback" not in told.err
    for path in (place / "src").glob("*"):
        whole = before[path.name]
        assert all(a in (b, 0) for a, b in zip(path.read_bytes(), whole, strict=True))


def test_a_rolled_back_first_level_is_refused_with_a_fallback_too(copied: tuple[Program, Path]) -> None:
    sr, copy = copied
    max((sr.repo / "log").iterdir()).unlink()
    told = sr("list", "--fallback", copy)
    assert told.code == 2 and "does not continue" in told.sentence()


@pytest.fixture
def compacted(copied: tuple[Program, Path], src: Path) -> tuple[Program, Path]:
    """Half of the first archives is freed at the source, and not at the copy."""
    sr, copy = copied
    (src / "file0").unlink()
    sr("create", "::3", "src").ok()
    sr("delete", "::", "0", "1", "2").ok()
    sr("compact", "--quarantine", "0", "--threshold", "0").ok()
    sr("create", "::4", "src").ok()
    return sr, copy


@pytest.mark.parametrize("where", ["folder", "server"])
def test_a_compacted_repository_is_copied_without_what_it_freed(
    compacted: tuple[Program, Path], src: Path, where: str
) -> None:
    sr, _ = compacted
    fresh = sr.root / "fresh copy"
    rsh = direct_rsh(sr.root, "--append-only")
    puller = sr.another("a third machine", STRONGROOM_PASSPHRASE="unknown", STRONGROOM_RSH=rsh)
    for _ in range(2):
        puller("replicate", sr.repo, fresh if where == "folder" else f"ssh://second{fresh}").ok()
    assert objects(fresh) == objects(sr.repo)
    assert records(fresh) == records(sr.repo)
    assert "No problems" in sr.another("reader")("check", "-v", "--verify-data", fresh).ok().err
    assert restored(sr.another("reader"), fresh, "4") == contents(src)


def test_a_copy_follows_a_compaction_and_loses_nothing(compacted: tuple[Program, Path], src: Path) -> None:
    sr, copy = compacted
    before = objects(copy)
    sr("replicate", sr.repo, copy).ok()
    assert objects(copy).items() >= objects(sr.repo).items()
    assert objects(copy).items() >= before.items()
    assert "No problems" in sr("check", "-v", "--verify-data", copy).ok().err
    assert restored(sr, copy, "4") == contents(src)


def test_compacting_the_copy_removes_what_its_own_log_freed_and_nothing_else(
    compacted: tuple[Program, Path], src: Path
) -> None:
    sr, copy = compacted
    before = objects(copy)
    sr(
        "compact", "--quarantine", "0", copy
    )  # it lags behind: its log does not say yet that anything was freed
    assert objects(copy) == before
    sr("replicate", sr.repo, copy).ok()
    sr("delete", "::3").ok()
    sr("replicate", sr.repo, copy).ok()
    held = objects(copy)
    sr("compact", "--dry-run", "--quarantine", "0", copy).ok()
    assert objects(copy) == held
    count = records(copy)
    assert "Removed" in sr("compact", "-v", "--quarantine", "0", "--threshold", "0", copy).ok().err
    assert objects(copy) == objects(sr.repo)  # what was deleted, and not freed there, is here too
    assert records(copy) == count
    assert "No problems" in sr("check", "-v", "--verify-data", copy).ok().err
    assert restored(sr, copy, "4") == contents(src)
    assert "0 objects" in sr("compact", "-v", copy).ok().err
    sr("create", "::5", "src").ok()
    sr("replicate", sr.repo, copy).ok()  # it is a copy as before


def test_the_copy_keeps_what_nothing_took_the_place_of(compacted: tuple[Program, Path]) -> None:
    sr, copy = compacted
    sr("replicate", sr.repo, copy).ok()
    for path in (copy / "index").iterdir():
        if (sr.repo / "index" / path.name).exists():
            path.unlink()
    told = sr("compact", copy)
    assert told.code == 1 and "replicate" in told.err
    assert any(name.startswith("packs/") for name in objects(copy).keys() - objects(sr.repo).keys())
    sr("replicate", sr.repo, copy).ok()
    sr("compact", copy).ok()
    assert objects(copy) == objects(sr.repo)


def test_records_that_never_free_what_they_lack_are_refused_together_too(
    compacted: tuple[Program, Path],
) -> None:
    sr, _ = compacted
    source = LocalStore.open(str(sr.repo))
    names = [one.name for one in source.list("log/")]
    blobs = [unstamp(source.get(name))[0] for name in names]
    fresh = sr.root / "fresh copy"
    (fresh / "log").mkdir(parents=True)
    shutil.copy(sr.repo / "config", fresh)
    opened = SshStore.open(
        parse_location(f"ssh://server{fresh}"), SshOptions(rsh=direct_rsh(sr.root, "--append-only"))
    )
    try:
        for count in range(2, len(blobs) + 1):
            with pytest.raises(LogBroken, match="not in the repository"):
                opened.append_records(names[0], blobs[:count])
        with pytest.raises(LogBroken):
            opened.append_records(names[0], [])
        with pytest.raises(LogBroken):
            opened.append_records(names[0], [b"rubbish"])
    finally:
        opened.close()
    assert not list((fresh / "log").iterdir())
