"""Getting files back: all, some, elsewhere, over what is there."""

import os
from pathlib import Path
from typing import Any

import pytest

from program import Program, patterned
from programfixtures import Disk
from strongroom.commands import extract
from strongroom.ids import PackId
from strongroom.repository.packs import BundleEntry
from strongroom.repository.reading import BundleReader
from treefacts import differences, facts


@pytest.fixture
def filled(sr: Program, src: Path) -> Program:
    for name in ("a/one", "a/b/two", "a/b/three.o", "c/four"):
        (src / name).parent.mkdir(parents=True, exist_ok=True)
        (src / name).write_text(name)
    (src / "big").write_bytes(patterned(6_000_000))
    (src / "link").symlink_to("a/one")
    os.link(src / "big", src / "c" / "big-too")
    os.chmod(src / "a" / "b", 0o750)
    for path in (src / "a/b", src / "a", src / "c"):
        os.utime(path, ns=(1, 10**18))
    sr("create", "::a", "src").ok()
    return sr


def restored(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["src/a/one"], ["src", "src/a", "src/a/one"]),
        (["src/a/b"], ["src", "src/a", "src/a/b", "src/a/b/three.o", "src/a/b/two"]),
        (["sh:**/*.o"], ["src", "src/a", "src/a/b", "src/a/b/three.o"]),
        (["re:four$"], ["src", "src/c", "src/c/four"]),
        (["src/a", "--exclude", "*.o"], ["src", "src/a", "src/a/b", "src/a/b/two", "src/a/one"]),
        (["src/a", "-e", "pp:src/a/b"], ["src", "src/a", "src/a/one"]),
        (["--pattern", "+ src/c/four", "--pattern", "- src"], ["src", "src/c", "src/c/four"]),
        (["--strip-components", "2", "src/a"], ["b", "b/three.o", "b/two", "one"]),
        (["--strip-components", "3"], ["three.o", "two"]),
        (["--strip-components", "9"], []),
        (["src/c/big-too"], ["src", "src/c", "src/c/big-too"]),
    ],
)
def test_a_part_of_an_archive(filled: Program, words: list[str], expected: list[str]) -> None:
    place = filled.extract("a", *words)
    assert restored(place) == expected
    for path in (place / one for one in expected):
        if path.name.startswith("big"):
            assert path.read_bytes() == patterned(6_000_000)


def test_folders_that_only_lead_there_are_made_as_usual(filled: Program) -> None:
    """What was not asked for brings no metadata; what was asked for does."""
    part = filled.extract("a", "src/a/b/two") / "src/a/b"
    assert part.stat().st_mtime_ns != 10**18
    whole = filled.extract("a", "src/a/b") / "src/a/b"
    assert whole.stat().st_mtime_ns == 10**18 and whole.stat().st_mode & 0o777 == 0o750


def test_hard_links_with_stripped_paths(filled: Program) -> None:
    place = filled.extract("a", "--strip-components", "1")
    assert (place / "big").stat().st_ino == (place / "c/big-too").stat().st_ino


def test_a_second_name_alone_and_a_first_name_in_the_way(filled: Program) -> None:
    place = filled.root / "out"
    (place / "src" / "big" / "not-empty").mkdir(parents=True)
    done = filled("extract", "::a", cwd=place)
    assert done.code == 1 and "src/big" in done.err
    assert (place / "src/c/big-too").read_bytes() == patterned(6_000_000)


def test_names_of_an_inode_on_two_file_systems(filled: Program, small_disk: Disk) -> None:
    """A mount point in the destination: no link leads across, so the file is written twice."""
    place = filled.root / "out"
    (place / "src" / "c").mkdir(parents=True)
    small_disk(place / "src" / "c", "20m")
    filled("extract", "::a", cwd=place).ok()
    for name in ("big", "c/big-too"):
        assert (place / "src" / name).read_bytes() == patterned(6_000_000)
        assert (place / "src" / name).stat().st_mtime_ns == (filled.cwd / "src/big").stat().st_mtime_ns


def test_over_files_that_are_there(filled: Program) -> None:
    place = filled.extract("a")
    (place / "src/a/one").write_text("changed, and longer than before")
    os.chmod(place / "src/a/one", 0)
    (place / "src/a/b/two").unlink()
    (place / "src/a/b/two").mkdir()
    (place / "src/link").unlink()
    (place / "src/link").mkdir()
    (place / "src/c/extra").write_text("stays")
    os.chmod(place / "src/a/b", 0o500)
    filled("extract", "::a", cwd=place).ok()
    assert (place / "src/c/extra").read_text() == "stays"
    (place / "src/c/extra").unlink()
    os.utime(place / "src/c", ns=(1, 10**18))
    assert differences(facts(filled.cwd / "src"), facts(place / "src")) == []


def test_another_name_of_a_file_in_the_way_keeps_its_content(filled: Program) -> None:
    place = filled.extract("a")
    os.link(place / "src/a/one", place / "mine")
    (place / "mine").write_text("mine")
    filled("extract", "::a", cwd=place).ok()
    assert (place / "mine").read_text() == "mine" and (place / "src/a/one").read_text() == "a/one"


def test_a_full_folder_in_the_way_is_kept(filled: Program) -> None:
    place = filled.root / "out"
    (place / "src/a/one/precious").mkdir(parents=True)
    done = filled("extract", "::a", cwd=place)
    assert done.code == 1 and "src/a/one" in done.err
    assert (place / "src/a/one/precious").is_dir() and (place / "src/c/four").exists()


def test_to_standard_output_in_the_order_of_the_archive(filled: Program) -> None:
    assert filled("extract", "--stdout", "::a", "src/a").ok().raw == b"a/b/three.oa/b/twoa/one"
    big = patterned(6_000_000)
    assert filled("extract", "--stdout", "::a", "src/big").ok().raw == big
    assert filled("extract", "--stdout", "::a", "src/c/big-too").ok().raw == big


def test_a_dry_run_reads_everything_and_writes_nothing(filled: Program) -> None:
    place = filled.root / "out"
    place.mkdir()
    done = filled("extract", "--dry-run", "--list", "::a", cwd=place).ok()
    assert restored(place) == []
    assert "src/a/b/two" in done.err.splitlines()
    pack = max(filled.repo.glob("packs/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    assert filled("extract", "--dry-run", "::a", cwd=place).code == 1


def test_damage_is_confined_to_its_bytes(filled: Program) -> None:
    pack = max(filled.repo.glob("packs/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[1_000_000] ^= 1
    pack.write_bytes(content)
    place = filled.root / "out"
    place.mkdir()
    done = filled("extract", "::a", cwd=place)
    assert done.code == 1 and "are lost" in done.err
    got, want = (place / "src/big").read_bytes(), patterned(6_000_000)
    assert len(got) == len(want) and sum(a != b for a, b in zip(got[::997], want[::997], strict=True)) < 4400
    assert (place / "src/a/one").read_text() == "a/one"


def test_what_is_lost_reads_as_zeros_in_a_kept_file_too(filled: Program) -> None:
    (filled.cwd / "src/c/big-too").unlink()
    filled("create", "::b", "src").ok()
    place = filled.extract("b")
    with open(place / "src/big", "r+b") as big:
        for at in range(50_000, 6_000_000, 100_000):
            big.seek(at)
            big.write(b"old rubbish")
    for pack in filled.repo.glob("packs/*/*"):
        if pack.stat().st_size > 3_000_000:
            content = bytearray(pack.read_bytes())
            for at in range(1_000, len(content) - 100_000, 200_000):
                content[at] ^= 1
            pack.write_bytes(content)
    done = filled("extract", "--continue", "::b", cwd=place)
    assert done.code == 1 and "are lost" in done.err
    got = (place / "src/big").read_bytes()
    assert len(got) == 6_000_000
    assert b"old rubbish" not in got


def test_a_root_that_was_the_source(filled: Program) -> None:
    source = filled.cwd / "src"
    os.chmod(source, 0o711)
    filled("create", "::dot", ".", cwd=source).ok()
    place = filled.extract("dot")
    assert differences(facts(source), facts(place)) == []


def test_without_attributes_when_asked(filled: Program, src: Path) -> None:
    os.setxattr(src / "a/one", "user.x", b"1")
    filled("create", "::x", "src").ok()
    assert os.listxattr(filled.extract("x") / "src/a/one") == ["user.x"]
    assert os.listxattr(filled.extract("x", "--noxattrs") / "src/a/one") == []


def test_rename_delete_and_information(filled: Program, src: Path) -> None:
    (src / "more").write_bytes(patterned(2_000_000, 9))
    filled(
        "create", "--comment", "of {user}", "--timestamp", "2020-02-29T12:00:00", "::{hostname}-b", "src"
    ).ok()
    name = next(one for one in filled.names() if one.endswith("-b"))
    record = filled("info", "--json", f"::{name}").ok().json["archives"][0]
    assert record["comment"] == "of root" if os.geteuid() == 0 else record["comment"]
    assert record["start"].startswith("2020-02-29") and record["stats"]["nfiles"] == 7
    # a file of two names counts once
    assert record["stats"]["original_size"] == 6_000_000 + 2_000_000 + len("a/onea/b/twoa/b/three.oc/four")
    assert 2_000_000 <= record["stats"]["deduplicated_size"] < 2_100_000
    filled("rename", f"::{name}", "renamed").ok()
    assert sorted(filled.names()) == ["a", "renamed"]
    assert filled("info", "--json", "::renamed").ok().json["archives"][0]["comment"] == record["comment"]
    filled("delete", "::a").ok()
    assert filled.names() == ["renamed"]
    filled("check", "--verify-data").ok()
    assert differences(facts(src), facts(filled.extract("renamed") / "src")) == []
    filled("create", "::a", "src").ok()
    assert sorted(filled.names()) == ["a", "renamed"]


def test_into_a_named_folder_that_is_made(filled: Program) -> None:
    place = filled.root / "new" / "place"
    filled("extract", "--to", place, "::a", "src/a/one").ok()
    assert restored(place) == ["src", "src/a", "src/a/one"]
    (filled.root / "file").write_text("in the way")
    done = filled("extract", "--to", filled.root / "file", "::a")
    assert done.code == 2
    assert "cannot be made a folder" in done.err


def spoil(place: Path) -> None:
    """As a restore leaves it that was stopped, and as people leave it who went on working."""
    with open(place / "src/c/big-too", "r+b") as big:  # and src/big: one file
        big.truncate(5_500_000)
        big.seek(3_000_000)
        big.write(b"not what it was")
    (place / "src/a/one").write_text("a/ONE")
    (place / "src/a/b/two").unlink()
    (place / "src/c/four").write_text("c/four, and more")
    (place / "src/link").unlink()


def test_a_restore_goes_on_where_it_stopped(filled: Program, src: Path) -> None:
    filled("create", "::b", "src").ok()
    place = filled.extract("b")
    kept = (place / "src/a/b/three.o").stat().st_ino
    spoil(place)
    filled("extract", "--continue", "::b", cwd=place).ok()
    assert differences(facts(src), facts(place / "src")) == []
    assert (place / "src/a/b/three.o").stat().st_ino == kept
    assert (place / "src/big").stat().st_ino == (place / "src/c/big-too").stat().st_ino


def test_a_spoiled_file_is_mended_in_place(filled: Program, src: Path) -> None:
    (src / "c/big-too").unlink()
    filled("create", "::b", "src").ok()
    place = filled.extract("b")
    with open(place / "src/big", "r+b") as big:
        big.seek(3_000_000)
        big.write(b"x")
    before = (place / "src/big").stat().st_ino
    filled("extract", "--continue", "::b", cwd=place).ok()
    assert (place / "src/big").stat().st_ino == before
    assert differences(facts(src), facts(place / "src")) == []


def test_holes_of_a_kept_file_are_holes_of_the_archive(sr: Program, src: Path) -> None:
    with open(src / "sparse", "wb") as file:
        file.truncate(9_000_000)
        file.seek(4_000_000)
        file.write(patterned(1_000_000))
    sr("create", "--sparse", "::a", "src").ok()
    place = sr.extract("a", "--sparse")
    for at in (100, 4_500_000, 8_999_999):
        with open(place / "src/sparse", "r+b") as file:
            file.seek(at)
            file.write(b"rubbish")
        sr("extract", "--continue", "--sparse", "::a", cwd=place).ok()
        assert (place / "src/sparse").read_bytes() == (src / "sparse").read_bytes()
        assert (place / "src/sparse").stat().st_size == 9_000_000


def test_a_file_with_other_names_is_made_anew(filled: Program) -> None:
    """Writing into it would change what stands outside of the restore."""
    place = filled.extract("a")
    outside = place / "outside"
    os.link(place / "src/a/one", outside)
    outside.write_text("mine")
    (place / "src/a/b/two").unlink()
    (place / "src/a/b/two").symlink_to(outside)
    filled("extract", "--continue", "::a", cwd=place).ok()
    assert outside.read_text() == "mine"
    assert (place / "src/a/one").read_text() == "a/one"
    assert (place / "src/a/b/two").read_text() == "a/b/two"


def test_what_was_restored_is_read_back(filled: Program) -> None:
    place = filled.root / "out"
    done = filled("extract", "--verify", "--to", place, "::a").ok()
    assert done.err == ""
    assert "all is as in the archive" in filled("extract", "--verify", "-v", "--to", place, "::a").ok().err
    (place / "src/extra").write_text("does not count")
    filled("extract", "--verify", "--to", place, "::a", "src/a").ok()
    for word in ("--stdout", "--dry-run", "--strip-components=1"):
        assert filled("extract", "--verify", word, "::a").code != 0
    assert "--to" in filled("extract", "--stdout", "--to", place, "::a").sentence()


def test_verifying_tells_what_could_not_be_restored(filled: Program) -> None:
    """A damaged file reads as zeros: extract says so, and so does the comparison."""
    pack = max(filled.repo.glob("packs/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[1_000_000] ^= 1
    pack.write_bytes(content)
    done = filled("extract", "--verify", "--to", filled.root / "out", "::a")
    assert done.code == 1
    told = [line for line in done.err.splitlines() if line.startswith("not as in the archive")]
    assert {line.split()[-1] for line in told} == {"src/big", "src/c/big-too"}


@pytest.mark.parametrize("threads", [1, 4])
def test_each_bundle_is_opened_once_in_the_order_of_the_packs(
    sr: Program, src: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """However the files are called by now, and however many of them share a bundle."""
    for number in range(300):
        (src / f"{number:03}").write_bytes(patterned(30_000, number))
    sr("create", "::before", "src").ok()
    for number in range(300):
        (src / f"{number:03}").rename(src / f"{number * 7 % 300:03}-again")
    sr("create", "::a", "src").ok()
    told = sr.root / "opened"
    opening = BundleReader.open_bundle

    def noted(
        reader: BundleReader, pack: PackId, size: int, bundle: BundleEntry, **how: Any
    ) -> list[memoryview]:
        if how.get("room") is not None:  # as files are restored, not as folders are read
            with open(told, "a") as stream:
                stream.write(f"{pack.hex()} {bundle.offset:09}\n")
        return opening(reader, pack, size, bundle, **how)

    monkeypatch.setattr(BundleReader, "open_bundle", noted)
    monkeypatch.setattr(extract, "cpu_threads", lambda: threads)
    sr("extract", "--to", sr.root / "out", "::a").ok()
    opened = told.read_text().splitlines()
    assert len(opened) == len(set(opened)) > 5
    if threads == 1:
        assert opened == sorted(opened)
    for number in range(300):
        again = sr.root / "out/src" / f"{number * 7 % 300:03}-again"
        assert again.read_bytes() == patterned(30_000, number)
