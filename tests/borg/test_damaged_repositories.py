"""A Borg repository that is locked, damaged, too new, or lacks its key: a sentence, and never wrong bytes."""

import hashlib
import random
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oldborg import PASSPHRASE, Old, state_of
from program import Program
from strongroom.archive.content import FileContent
from strongroom.archive.entries import Entry
from strongroom.archive.reading import ArchiveTree
from strongroom.borg import packing
from strongroom.borg.compressors import decompress
from strongroom.borg.items import content_of, entry_of, hard_link_source, parts_of
from strongroom.borg.keys import parse_key
from strongroom.borg.opening import BorgPlaces, open_borg
from strongroom.errors import Damaged, StrongroomError
from strongroom.reporting import SilentReporter
from strongroom.store.location import parse_location
from strongroom.store.ssh import SshOptions

Unpack = Callable[[str], Old]


def refused(program: Program, old: Old, *words: str) -> str:
    """The one sentence, while the folder stays as it is."""
    before = state_of(old.folder)
    sentence = program("list", *words, old.place).sentence()
    assert state_of(old.folder) == before
    return sentence


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def test_a_repository_that_borg_writes_to_is_left_alone(program: Program, unpack: Unpack) -> None:
    old = unpack("none")
    (old.folder / "lock.exclusive").mkdir()
    assert "borg break-lock" in refused(program, old, "--lock-wait", "0")
    # readers do not hinder each other
    (old.folder / "lock.exclusive").rmdir()
    (old.folder / "lock.roster").write_text('{"shared": [["host", 1, 0]]}')
    program("list", old.place).ok()


def test_a_repository_of_a_newer_borg_is_named_as_such(program: Program, unpack: Unpack) -> None:
    old = unpack("none")
    edit(old.folder / "config", lambda text: text.replace(b"version = 1", b"version = 2"))
    assert "version 2" in refused(program, old)
    shutil.rmtree(old.folder)
    (old.folder / "config").mkdir(parents=True)  # so Borg 2 has it
    (old.folder / "config/version").write_text("2")
    assert "one of Borg 2" in refused(program, old)


def test_what_is_no_repository_is_named_as_such(program: Program, unpack: Unpack) -> None:
    old = unpack("none")
    assert "does not exist" in program("list", f"{old.place}-gone").sentence()
    (program.root / "empty").mkdir()
    assert "not a Borg repository" in program("list", f"borg:{program.root}/empty").sentence()
    program("init", "--encryption=none").ok()
    assert "of strongroom, not of Borg" in program("list", f"borg:{program.repo}").sentence()
    edit(old.folder / "config", lambda text: text[:40])
    assert "config is damaged" in refused(program, old)


def test_a_repository_of_borgs_is_known_where_one_of_ours_is_expected(
    program: Program, unpack: Unpack
) -> None:
    """Who moves over has scripts that name it."""
    old = unpack("repokey")
    before = state_of(old.folder)
    for words in (
        ["list", old.folder],
        ["create", f"{old.folder}::new", "."],
        ["check", "--repair", old.folder],
    ):
        said = program(*words).sentence()
        assert f"write borg:{old.folder}" in said and "transfer --from" in said, words
    assert program("list", old.folder, env={"BORG_EXIT_CODES": "modern"}).code == 15
    assert state_of(old.folder) == before


def test_keys_that_are_missing_wrong_or_foreign_are_told(program: Program, unpack: Unpack) -> None:
    old = unpack("keyfile")
    program.env["BORG_PASSPHRASE"] = "wrong"
    assert "BORG_PASSPHRASE does not open" in refused(program, old)
    program.env["BORG_PASSPHRASE"] = PASSPHRASE
    (key,) = Path(program.env["BORG_KEYS_DIR"]).iterdir()
    shutil.copy(key, program.root / "key")
    program(
        "list", old.place, env={"BORG_KEYS_DIR": "/nowhere", "BORG_KEY_FILE": str(program.root / "key")}
    ).ok()
    edit(key, lambda text: text[:200])
    assert "is invalid" in refused(program, old)
    key.unlink()
    assert "No key file" in refused(program, old)
    other = unpack("repokey")
    edit(other.folder / "config", lambda text: re.sub(rb"key = .*\n(\t.*\n)*", b"", text))
    assert "holds no key" in refused(program, other)


def test_the_passphrase_comes_from_a_command_or_a_descriptor(program: Program, unpack: Unpack) -> None:
    old = unpack("repokey")
    del program.env["BORG_PASSPHRASE"]
    program("list", old.place, env={"BORG_PASSCOMMAND": f"echo '{PASSPHRASE}'"}).ok()
    program("list", old.place, env={"BORG_PASSPHRASE_FD": "0"}, stdin=PASSPHRASE.encode()).ok()
    program("list", old.place, env={"STRONGROOM_PASSPHRASE": PASSPHRASE}).ok()
    assert "STRONGROOM_PASSPHRASE does not open" in refused(program, old)  # the program's own


def test_a_damaged_chunk_costs_its_bytes_and_is_told(program: Program, unpack: Unpack) -> None:
    old = unpack("repokey")
    data = old.folder / "data" / "0"
    largest = max(data.iterdir(), key=lambda path: path.stat().st_size)
    middle = largest.stat().st_size // 2
    edit(largest, lambda blob: blob[:middle] + bytes([blob[middle] ^ 1]) + blob[middle + 1 :])
    out = program.root / "out"
    out.mkdir()
    before = state_of(old.folder)
    done = program("extract", f"{old.place}::first", cwd=out)
    assert done.code == 1 and "they read as zeros now" in done.err
    done = program("check", old.place)
    assert done.code == 1 and "checksum" in done.err
    done = program("check", "--verify-data", old.place)
    assert done.code == 1 and "first: src/plain/" in done.err
    assert "never written to" in program("check", "--repair", old.place).sentence()
    program("init", "--encryption=none").ok()
    done = program("transfer", "--from", old.place)
    assert done.code == 1 and "Archive first is not brought over" in done.err
    assert state_of(old.folder) == before


def test_a_sound_repository_has_no_problems(program: Program, unpack: Unpack) -> None:
    for name in ("none", "repokey-blake2"):
        old = unpack(name)
        assert "No problems found." in program("check", "--info", "--verify-data", old.place).ok().err


def test_without_its_index_a_repository_is_read_from_its_segments(program: Program, unpack: Unpack) -> None:
    old = unpack("none")
    said = program("list", "--json", old.place).ok().json["archives"]
    (index,) = old.folder.glob("index.*")
    edit(index, lambda blob: blob[:-5])
    assert program("list", "--json", old.place).ok().json["archives"] == said
    index.unlink()
    assert program("list", "--json", old.place).ok().json["archives"] == said
    assert "No problems found." in program("check", "--info", "--verify-data", old.place).ok().err


def test_an_unfinished_transaction_counts_for_nothing(program: Program, unpack: Unpack) -> None:
    old = unpack("none")
    said = program("list", "--json", old.place).ok().json["archives"]
    (index,) = old.folder.glob("index.*")
    index.unlink()
    numbers = sorted(int(path.name) for path in (old.folder / "data" / "0").iterdir())
    first = old.folder / "data" / "0" / str(numbers[0])
    # entries that delete the manifest, without a commit behind them
    body = (41).to_bytes(4, "little") + b"\1" + bytes(32)
    entry = zlib.crc32(body).to_bytes(4, "little") + body
    (first.parent / str(numbers[-1] + 1)).write_bytes(b"BORG_SEG" + entry)
    assert program("list", "--json", old.place).ok().json["archives"] == said


# --- every byte ---


class _Fixed:
    def existing(self, subject: str, attempt: int) -> str:
        assert attempt == 1
        return PASSPHRASE

    def new(self, subject: str) -> str:
        raise AssertionError


def contents(old: Old, work: Path) -> dict[str, Any]:
    """What can be read of a repository; what cannot is left out. Raises `StrongroomError`."""
    places = BorgPlaces(Path(old.env["BORG_KEYS_DIR"]), None, work, work)
    found: dict[str, Any] = {}
    with open_borg(
        parse_location(old.place), places, _Fixed(), SilentReporter(), SshOptions(), lock_wait=0
    ) as repository:
        for state in list(repository.state.archives.values()):
            try:
                meta = repository.archive_meta(state.id)
            except StrongroomError:
                continue
            chunks = repository.chunk_reader()
            found[meta.name] = (meta.start, meta.end, meta.comment)
            for path, entry in ArchiveTree(chunks, meta).walk():
                name = f"{meta.name}::{path!r}"
                try:
                    found[name] = (facts(entry), content(entry, chunks))
                except Damaged:
                    continue
    return found


def facts(entry: Entry) -> bytes:
    return repr([getattr(entry, name) for name in entry.__struct_fields__ if name != "content"]).encode()


def content(entry: Entry, chunks: Any) -> str:
    if not entry.is_regular:
        return ""
    return hashlib.sha256(FileContent(entry, chunks).read(0, entry.size)).hexdigest()


def flips(old: Old, count: int, seed: int) -> Iterator[tuple[Path, bytes]]:
    """Files with one byte changed, or cut off."""
    paths = [path for path in sorted(old.folder.rglob("*")) if path.is_file() and path.stat().st_size]
    paths = [path for path in paths if path.name != "README"]
    chance = random.Random(seed)
    weights = [path.stat().st_size + 200 for path in paths]
    for number in range(count):
        (path,) = chance.choices(paths, weights)
        blob = path.read_bytes()
        at = chance.randrange(min(len(blob), 60) if number % 3 == 0 else len(blob))
        if number % 10 == 9:
            yield path, blob[:at]
        else:
            yield path, blob[:at] + bytes([blob[at] ^ (1 << chance.randrange(8))]) + blob[at + 1 :]


@pytest.mark.parametrize(
    ("name", "count", "checksums"), [("none", 60, False), ("none", 40, True), ("repokey", 10, True)]
)
def test_a_changed_byte_costs_a_sentence_or_nothing(
    name: str, count: int, checksums: bool, program: Program, unpack: Unpack
) -> None:
    old = unpack(name)
    work = program.root / "work-cache"
    truth = contents(old, work)
    assert len(truth) > 30
    whole = 0
    for path, blob in flips(old, count, seed=count):
        sound = path.read_bytes()
        path.write_bytes(with_checksums(blob) if checksums and path.parent.name == "0" else blob)
        try:
            found = contents(old, work)
        except StrongroomError as error:
            assert str(error)[-1] in ".)", error
        else:
            whole += found == truth
            for key, value in found.items():
                assert truth.get(key) == value, (path, key)
        finally:
            path.write_bytes(sound)
    assert 0 < whole < count
    assert contents(old, work) == truth


def with_checksums(blob: bytes) -> bytes:
    """A segment whose entries have fitting checksums again, as an attacker would leave it."""
    out, at = bytearray(blob), 8
    while at + 9 <= len(out):
        size = int.from_bytes(out[at + 4 : at + 8], "little")
        if not 9 <= size <= len(out) - at:
            break
        out[at : at + 4] = zlib.crc32(out[at + 4 : at + size]).to_bytes(4, "little")
        at += size
    return bytes(out)


# --- the parsers ---

MARKS = (b"\1\0", b"\2\0", b"\3\0", b"\4\0", b"\x78\x9c")  # of the compressors

raw = st.binary(max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | raw,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(raw, inner, max_size=4),
    max_leaves=12,
)
fields = [
    *("path", "source", "rdev", "chunks", "mode", "user", "group", "uid", "gid", "mtime", "atime", "size"),
    *("xattrs", "bsdflags", "acl_access", "hardlink_master", "part", "ctime", "birthtime"),
]
items = st.dictionaries(st.sampled_from([name.encode() for name in fields]), values, max_size=12)


@settings(max_examples=100, deadline=None)
@given(items)
def test_no_item_is_more_than_damaged(item: dict[bytes, Any]) -> None:
    try:
        parts = parts_of(item)
        hard_link_source(item)
        entry = entry_of(item, parts[-1] if parts else b"", content_of(item))
    except Damaged:
        return
    assert entry.name not in (b"..", b".") and b"/" not in entry.name


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_damaged(blob: bytes) -> None:
    for parse in (
        lambda: packing.unpack(blob, "It"),
        lambda: list(packing.unpack_stream([blob[:7], blob[7:]], "It", 1000)),
        lambda: decompress(blob),
        lambda: parse_key(blob, "It"),
        *(
            lambda mark=mark: decompress(mark + blob)
            for mark in (b"\1\0", b"\2\0", b"\3\0", b"\4\0", b"\x78\x9c")
        ),
    ):
        try:
            parse()
        except StrongroomError:
            continue


def test_a_small_object_cannot_claim_much_memory() -> None:
    for bomb in (zlib.compress(bytes(64 << 20)), b"\3\0\x28\xb5\x2f\xfd\xa0\xff\xff\xff\x7f" + bytes(20)):
        with pytest.raises(Damaged):
            decompress(bomb)
    with pytest.raises(Damaged):
        packing.unpack(b"\xdd\xff\xff\xff\xff" + bytes(10), "It")
    with pytest.raises(Damaged):
        packing.unpack(b"\x91" * 100_000 + b"\xc0", "It")
