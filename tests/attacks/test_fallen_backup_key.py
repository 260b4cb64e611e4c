"""The attacker has a machine with its backup key: what it can do, cannot do, and is seen to have done."""

import sys
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


# --- revoked since ---

BEGINNING = "2020-01-01T00:00:00"


def test_after_a_revoke_since_nobody_deduplicates_against_what_the_key_wrote(
    office: Program, web: Program, src: Path
) -> None:
    with fallen(web) as repository:
        plant(repository, b"the next payroll", b"the evil payroll")
    (src / "payroll").write_text("the next payroll")
    office("create", "::spoiled", "src").ok()
    assert office("extract", "::spoiled", "--dry-run").code == 1
    office("key", "revoke", "--since", BEGINNING, "web").ok()
    # unchanged files, known to the cache, are read and stored again all the same
    office("create", "::sound", "src").ok()
    assert (office.extract("sound") / "src/payroll").read_text() == "the next payroll"
    # readers prefer the trusted place: what was spoiled has come back
    assert (office.extract("spoiled") / "src/payroll").read_text() == "the next payroll"
    fresh = office.another("fresh", STRONGROOM_KEYS_DIR=str(office.root / "base/.config/strongroom/keys"))
    for archive in ("sound", "spoiled", "of-the-office"):
        assert (fresh.extract(archive) / "src/file").read_text() == "precious"
    assert (fresh.extract("spoiled") / "src/payroll").read_text() == "the next payroll"
    before = office.stored()
    office("create", "::again", "src").ok()  # and once is enough
    assert office.stored() == before


def test_a_revoke_since_counts_for_a_backup_that_began_before_it(
    office: Program, web: Program, src: Path
) -> None:
    with fallen(web) as repository:
        plant(repository, b"the next payroll", b"the evil payroll")
    (src / "payroll").write_text("the next payroll")
    # the index is loaded when the paths are asked for
    script = office.cwd / "paths"
    revoke = f"{sys.executable} -m strongroom key revoke --since {BEGINNING} :: web"
    secret = f"STRONGROOM_PASSPHRASE={office.env['STRONGROOM_PASSPHRASE']}"
    script.write_text(f"#!/bin/sh\n{secret} {revoke} >&2\necho src/payroll\n")
    script.chmod(0o755)
    done = office("create", "--info", "--paths-from-command", "::mine", "--", "./paths")
    assert done.code == 0 and "stored anew" in done.err, done
    assert (office.extract("mine") / "src/payroll").read_text() == "the next payroll"


def test_the_archives_that_rest_on_a_revoked_key_are_marked(office: Program, web: Program, src: Path) -> None:
    (src / "new").write_text("first seen by the web")
    web("create", "::second-of-the-web", "src").ok()
    office("create", "::later", "src").ok()
    assert "DISTRUSTED" not in office("list").ok().out
    office("key", "revoke", "--since", BEGINNING, "web").ok()
    told = {line.split()[0]: line for line in office("list").ok().out.splitlines()}
    assert "DISTRUSTED" not in told["of-the-office"]
    assert "written by the revoked key web" in told["of-the-web"]
    assert "written by" not in told["later"] and "rest on a revoked key's word alone" in told["later"]
    assert "DISTRUSTED" in office("info", "::later").ok().out
    assert "DISTRUSTED" not in office("info", "::of-the-office").ok().out
    listed = office("list", "--json").ok().json["archives"]
    assert [one["name"] for one in listed if "distrusted" in one] == [
        "of-the-web",
        "second-of-the-web",
        "later",
    ]
    audited = office("audit", "--json")
    found = {one["code"]: one for one in audited.json["findings"]}
    assert audited.code == 1 and found["archives-distrusted"]["key"] == "web"
    assert len(found["archives-distrusted"]["archives"]) == 3
    # what was marked still reads, and a later backup of the same content frees it from the mark
    assert (office.extract("later") / "src/new").read_text() == "first seen by the web"
    office("create", "::sound", "src").ok()
    told = {line.split()[0]: line for line in office("list").ok().out.splitlines()}
    assert "DISTRUSTED" not in told["sound"]
    assert "DISTRUSTED" in told["of-the-web"]  # its list of files is the key's own word


def test_what_a_key_wrote_before_the_time_stays_trusted(office: Program, web: Program, src: Path) -> None:
    office("key", "revoke", "--since", "2100-01-01T00:00:00", "web").ok()
    assert "DISTRUSTED" not in office("list").ok().out
    before = office.stored()
    office("create", "::after", "src").ok()
    assert office.stored() - before < 5000
    assert office("audit").code == 0


def test_an_index_that_lies_about_others_packs_counts_no_more_after_the_revoke(
    office: Program, web: Program, src: Path
) -> None:
    """Planted before the victim's own index: the web's machine tells where the office's chunks lie."""
    with fallen(web) as repository:
        repository.load_index()
        chunk = repository.chunk_hasher()(b"yet to come")
        (table, *_) = [t for t in repository.index.tables() if PackId(t.pack) in repository.state.packs]
        lie = [BundleEntry(b.offset, b.length, b.kind, b.session, bytes(chunk)) for b in table.bundles]
        index, listed = packs.encode_index([IndexedPack(b"\1" * 32, table.size, lie)])
        repository.put_if_new(packs.index_name(index), listed)
        archive = ArchiveId(hashing.plain_hash(b"any"))
        repository.put_if_new(f"archives/{archive.hex()}", b"any")
        body = ArchiveBody(archive, bytes(32), b"", bytes(index), 0, 1, 0)
        repository.commit("archive", lambda _: body)
    office("key", "revoke", "--since", BEGINNING, "web").ok()
    (src / "next").write_text("yet to come")
    office("create", "::after", "src").ok()
    assert (office.extract("after") / "src/next").read_text() == "yet to come"
