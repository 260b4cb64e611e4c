"""The attacker has a machine with its backup key: what it can do, cannot do, and is seen to have done."""

from pathlib import Path

import pytest

from format.conftest import PASSPHRASE, open_at
from program import Program
from strongroom.commands.opening import Need
from strongroom.crypto import hashing
from strongroom.crypto.sealing import DATA, OVERHEAD
from strongroom.errors import LogBroken
from strongroom.ids import ArchiveId, ChunkId, PackId
from strongroom.repository import log, packs
from strongroom.repository.bundles import BundleEncoder
from strongroom.repository.compression import parse_compression
from strongroom.repository.log import (
    ArchiveBody,
    ArchivesBody,
    Body,
    KeyAddBody,
    KeyRevokeBody,
    Kind,
    LogState,
)
from strongroom.repository.packs import BundleEntry, IndexedPack, Trailer
from strongroom.repository.repository import Repository


@pytest.fixture
def office(sr: Program, src: Path) -> Program:
    """The administrator's machine, with an archive of its own."""
    sr.env["STRONGROOM_PASSPHRASE"] = PASSPHRASE
    sr.env["STRONGROOM_REPO"] = str(sr.root / "shared")
    sr("init", "--encryption=keyfile").ok()
    (src / "file").write_text("precious")
    sr("create", "::of-the-office", "src").ok()
    return sr


@pytest.fixture
def web(office: Program) -> Program:
    """The machine that falls: a backup key that opens by itself, and an archive of its own."""
    office("key", "add", "--no-passphrase", "--output", office.root / "web.key", "web").ok()
    made = office.another("web", STRONGROOM_PASSPHRASE="unknown")
    made("key", "import", "::", office.root / "web.key").ok()
    made("create", "::of-the-web", "src").ok()
    return made


def fallen(web: Program) -> Repository:
    base = Path(web.env["STRONGROOM_BASE_DIR"]) / ".config" / "strongroom"
    repository = open_at(web.repo, base, passphrase="unknown", need=Need.WRITE)
    assert repository.require_key().role == "backup"
    return repository


def stored(program: Program) -> dict[Path, bytes]:
    found = {path: path.read_bytes() for path in program.repo.rglob("*") if path.is_file()}
    return {path: blob for path, blob in found.items() if "leases" not in path.parts}


def test_every_archive_tells_which_key_wrote_it(office: Program, web: Program) -> None:
    told = office("list", "--format", "{archive} {key}{NL}").ok().out.split()
    assert told == ["of-the-office", "admin", "of-the-web", "web"]
    assert [one["key"] for one in office("list", "--json", "--format", "{key}").ok().json["archives"]] == [
        "admin",
        "web",
    ]


def test_it_cannot_sign_what_its_role_may_not(office: Program, web: Program) -> None:
    before = stored(web)
    with fallen(web) as repository:
        state = repository.state
        victim = next(iter(state.archives.values()))
        renamed = ArchiveBody(bytes(32), bytes(32), b"", b"", 0, 0, 0, replaces=bytes(victim.id))
        forbidden: list[tuple[Kind, Body]] = [
            ("key-add", KeyAddBody("accomplice", "admin", bytes(range(32)))),
            ("key-revoke", KeyRevokeBody(next(iter(state.keys)), None)),
            ("rename", renamed),
        ]
        for kind, body in forbidden:
            blob = log.sign(state, kind, body, repository.require_key(), 1)
            with pytest.raises(LogBroken, match="backup key"):
                LogState.apply(state, blob)
    for words in (("key", "add", "x"), ("key", "revoke", "admin"), ("rename", "::of-the-web", "x")):
        assert web(*words).code == 2
    assert stored(web) == before


def test_its_deletions_free_nothing_and_are_taken_back(office: Program, web: Program) -> None:
    before = stored(web)
    with fallen(web) as repository:
        everything = [bytes(one) for one in repository.state.archives]
        repository.commit("delete", lambda _: ArchivesBody(everything))
    after = stored(web)
    assert before.items() <= after.items() and len(after) == len(before) + 1
    listed = office("list").ok().out
    assert "of-the-office" in listed and listed.count("deletion asked for by web") == len(everything)
    with open_at(office.repo, office.root / "base" / ".config" / "strongroom", need=Need.ADMIN) as repository:
        assert len(repository.state.living()) == len(repository.state.requested()) == len(everything)
        repository.commit("undelete", lambda _: ArchivesBody(everything))
    assert (office.extract("of-the-office") / "src/file").read_text() == "precious"
    office("check", "--verify-data").ok()


def test_an_archive_of_another_name_cannot_be_overwritten_or_hidden(office: Program, web: Program) -> None:
    assert "already exists" in web("create", "::of-the-office", "src").sentence()
    with fallen(web) as repository:
        state = repository.state
        victim = next(iter(state.archives.values()))
        body = ArchiveBody(bytes(32), bytes(victim.name_tag), b"", b"", 0, 0, 0)
        blob = log.sign(state, "archive", body, repository.require_key(), 1)
        with pytest.raises(LogBroken, match="name that is taken"):
            LogState.apply(state, blob)


def plant(repository: Repository, true: bytes, false: bytes) -> ChunkId:
    """Store `false` under the id of `true`, as a writer that lies would."""
    chunk = repository.chunk_hasher()(true)
    plain = BundleEncoder(parse_compression("none")).encode([false])
    session = repository.session_writer()
    bundle = bytearray(len(plain) + OVERHEAD)
    session.encrypt_into(DATA, plain, memoryview(bundle))
    table = [BundleEntry(len(packs.HEADER), len(bundle), DATA, 0, chunk)]
    blob = packs.HEADER + bundle + packs.encode_trailer(Trailer([session.sealed], table))
    pack = PackId(hashing.plain_hash(blob))
    repository.put_if_new(packs.name(pack), blob)
    index, listed = packs.encode_index([IndexedPack(pack, len(blob), table)])
    repository.put_if_new(packs.index_name(index), listed)
    archive = ArchiveId(hashing.plain_hash(b"any"))
    repository.put_if_new(f"archives/{archive.hex()}", b"any")
    body = ArchiveBody(archive, bytes(32), bytes(pack), bytes(index), len(blob), 1, 0)
    repository.commit("archive", lambda _: body)
    return chunk


def test_a_planted_chunk_is_told_and_never_restored_as_if_it_were_true(
    office: Program, web: Program, src: Path
) -> None:
    """The limit: a later archive of the same repository loses that chunk. It is never given other bytes."""
    with fallen(web) as repository:
        plant(repository, b"the next payroll", b"the evil payroll")
    (src / "payroll").write_text("the next payroll")
    office("create", "::after", "src").ok()
    told = office("check", "--verify-data")
    assert told.code == 1 and "has other bytes than its id says" in told.err
    place = office.root / "out"
    place.mkdir()
    told = office("extract", "::after", cwd=place)
    assert told.code == 1 and "src/payroll" in told.err
    assert b"evil" not in (place / "src/payroll").read_bytes()
    assert (place / "src/file").read_text() == "precious"
    # What was there before is as it was.
    assert (office.extract("of-the-office") / "src/file").read_text() == "precious"


def test_a_chunk_that_was_there_before_cannot_be_replaced_by_a_planted_one(
    office: Program, web: Program
) -> None:
    with fallen(web) as repository:
        plant(repository, b"precious", b"worthless")
    fresh = office.another("fresh", STRONGROOM_KEYS_DIR=str(office.root / "base/.config/strongroom/keys"))
    for machine in (office, fresh):
        assert (machine.extract("of-the-office") / "src/file").read_text() == "precious"


def test_it_can_tell_whether_a_chunk_that_it_knows_is_there(office: Program, web: Program) -> None:
    """The limit that the page names, and the reason for one repository a client."""
    with fallen(web) as repository:
        repository.load_index()
        chunk_id = repository.chunk_hasher()
        assert chunk_id(b"precious") in repository.index
        assert chunk_id(b"something else") not in repository.index


def test_packs_are_named_by_their_bytes(office: Program) -> None:
    """No second content under one name: whoever may put cannot replace."""
    for path in office.repo.rglob("packs/*/*"):
        assert PackId(hashing.plain_hash(path.read_bytes())).hex() == path.name
