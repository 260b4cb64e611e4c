"""A fallen client with a backup key may add objects: what it adds must keep nobody from the rest."""

from pathlib import Path

import msgspec
import pytest
from blake3 import blake3

from format.conftest import PASSPHRASE, GivenPassphrase, open_at
from program import Program
from strongroom.commands.opening import Need
from strongroom.crypto import argon, hashing, keybackup, keyformat, keys
from strongroom.errors import PassphraseWrong
from strongroom.ids import IndexId
from strongroom.repository import archives, keyring, packs
from strongroom.repository.keyfiles import FoundKey
from strongroom.repository.log import ArchiveBody
from strongroom.repository.repository import Repository
from strongroom.store.local import LocalStore


@pytest.fixture
def filled(sr: Program, src: Path) -> Program:
    """With an archive of the honest, and a backup key `web.key` for the client that will fall."""
    sr.env["STRONGROOM_PASSPHRASE"] = PASSPHRASE
    (src / "file").write_text("precious")
    sr("init", "-r", sr.root / "sealed", "--encryption=repokey").ok()
    sr.env["STRONGROOM_REPO"] = str(sr.root / "sealed")
    sr("create", "::honest", "src").ok()
    sr("key", "add", "--no-passphrase", "--output", sr.cwd / "web.key", "web").ok()
    return sr


def fallen(program: Program) -> Repository:
    """The repository as the attacker opens it, with the machine's key alone."""
    base = program.root / "fallen"
    (base / "keys").mkdir(parents=True, exist_ok=True)
    (base / "keys" / "web").write_bytes(keybackup.parse_file((program.cwd / "web.key").read_text())[1])
    repository = open_at(program.repo, base, passphrase="not known", need=Need.WRITE)
    assert repository.require_key().role == "backup"
    return repository


def still_there(program: Program) -> None:
    """On a machine that never saw the repository."""
    fresh = program.another("fresh")
    assert "honest" in fresh("list", "--short").out.split()
    assert (fresh.extract("honest") / "src/file").read_text() == "precious"
    fresh("create", "::later", "src").ok()


@pytest.mark.parametrize("blob", [b"rubbish", keyformat.MAGIC + b"\x92\xc4\x02\x91\x09\xc4\x00"])
def test_rubbish_among_the_keys_locks_nobody_out(filled: Program, blob: bytes) -> None:
    LocalStore.open(str(filled.repo)).put(f"keys/{blake3(blob).hexdigest()}", [blob])
    still_there(filled)


def _admin_key(program: Program) -> FoundKey:
    with open_at(program.repo, program.root / "look", need=Need.ADMIN) as repository:
        assert repository.key is not None
        return repository.key


def _planted(file: keyformat.KeyFile, **changes: object) -> bytes:
    """A key file that claims to be the admin's, with another header."""
    header = msgspec.msgpack.encode(msgspec.structs.replace(file.header, **changes))
    return keyformat.MAGIC + msgspec.msgpack.encode([header, file.sealed])


def test_a_planted_key_that_takes_hours_to_try_is_tried_last(filled: Program) -> None:
    kdf = keyformat.Kdf("argon2id", bytes(16), 16, 16, 2 * 1024 * 1024)  # the dearest that the format admits
    blob = _planted(_admin_key(filled).file, kdf=kdf)
    keyring.store_in_repository(LocalStore.open(str(filled.repo)), blob)
    still_there(filled)


def test_a_planted_key_that_opens_does_not_tell_whether_it_did(filled: Program) -> None:
    """A partitioning oracle: a ciphertext made to open under many passphrases, to see which is in use."""
    true = _admin_key(filled)
    cheap = keyformat.Kdf("argon2id", bytes(16), 1, 1, 8)
    planted = msgspec.structs.replace(true.file.header, kdf=cheap)
    header = msgspec.msgpack.encode(planted)
    sealed = keys.AESGCM(argon.derive(cheap, PASSPHRASE)).encrypt(planted.nonce, bytes(99), header)
    blob = keyformat.MAGIC + msgspec.msgpack.encode([header, sealed])
    keyring.store_in_repository(LocalStore.open(str(filled.repo)), blob)
    still_there(filled)
    opens, fails = (
        [FoundKey(keyformat.parse(one, "planted"), "planted", None)]
        for one in (blob, _planted(true.file, kdf=cheap))
    )
    with open_at(filled.repo, filled.root / "look", need=Need.STRUCTURE) as repository:
        for found in (opens, fails):
            with pytest.raises(PassphraseWrong):
                keyring.unlock(found, Need.READ, repository.state, OneTry(PASSPHRASE), Path("nowhere"))


class OneTry(GivenPassphrase):
    def existing(self, subject: str, attempt: int) -> str:
        if attempt > 1:
            raise PassphraseWrong(subject)
        return super().existing(subject, attempt)


def test_an_index_that_is_none_costs_nobody_an_archive(filled: Program) -> None:
    blob = msgspec.msgpack.encode([packs.VERSION, [[bytes(32), 0, []]]])
    index = IndexId(hashing.plain_hash(blob))
    with fallen(filled) as repository:
        repository.put_if_new(packs.index_name(index), blob)
        meta = archives.ArchiveMeta(name="evil", start=1, end=2, root=b"")
        archive, sealed = archives.encode(meta, bytes(32), repository.session_writer())  # type: ignore[arg-type]
        repository.put_if_new(archives.name(archive), sealed)
        tag = hashing.name_tag(repository.require_key().id_key, "evil")
        repository.commit("archive", lambda _: ArchiveBody(archive, tag, b"", bytes(index), 0, 0, 0))
    still_there(filled)
    told = filled("check")
    assert told.code == 1 and packs.index_name(index) in told.err


def test_an_archive_that_does_not_open_hides_no_other(filled: Program) -> None:
    with fallen(filled) as repository:
        for number, blob in enumerate(
            (b"no archive at all", msgspec.msgpack.encode([1, [bytes(16), 1, b"x"], bytes(32), bytes(99)]))
        ):
            archive = archives.ArchiveId(hashing.plain_hash(blob))
            repository.put_if_new(archives.name(archive), blob)
            body = ArchiveBody(archive, bytes([number]) * 32, b"", b"", 0, 0, 0)
            repository.commit("archive", lambda _, body=body: body)  # type: ignore[misc]
    still_there(filled)
    told = filled("list", "--format", "{archive} {key}{NL}")
    assert told.code == 1 and "honest admin" in told.out
    assert [line.split()[-1] for line in told.out.splitlines() if "damaged" in line] == ["web", "web"]


def test_a_key_that_rotted_comes_back_from_its_copy(filled: Program) -> None:
    filled("key", "export", "::", filled.root / "copy").ok()
    (found,) = (filled.repo / "keys").iterdir()
    whole = found.read_bytes()
    found.chmod(0o600)
    found.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert filled("list").code == 2
    filled("key", "import", "::", filled.root / "copy").ok()
    assert found.read_bytes() == whole
    still_there(filled)
