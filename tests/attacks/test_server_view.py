"""The server, its disk and its memory of all requests in the attacker's hand."""

from pathlib import Path

import pytest

from format.conftest import PASSPHRASE, open_at
from program import Program, patterned
from strongroom.commands.opening import Need
from strongroom.crypto import sealing
from strongroom.crypto.sealing import SealingKeyPair, session_info
from strongroom.errors import Damaged
from strongroom.ids import ArchiveId, PackId, RepositoryId
from strongroom.repository import archives, packs, refs
from strongroom.repository.repository import Repository

ML_KEM_768_CIPHERTEXT = 1088  # FIPS 203, table 3
ML_KEM_768_PUBLIC = 1184

WORDS = ("patient-list", "diagnosis", "weekly-of-the-clinic", "a comment on the patients", "ward seven")


@pytest.fixture
def clinic(sr: Program, src: Path) -> Program:
    """Backed up with the admin key, and with a machine's backup key."""
    sr.env["STRONGROOM_PASSPHRASE"] = PASSPHRASE
    sr.env["STRONGROOM_REPO"] = str(sr.root / "clinic")
    sr("init", "--encryption=keyfile").ok()
    folder = src / "ward seven"
    folder.mkdir()
    (folder / "patient-list.txt").write_text("diagnosis: nothing\n" * 100)
    (folder / "empty").touch()
    (folder / "large").write_bytes(patterned(5_000_000))
    (folder / "link").symlink_to("patient-list.txt")
    sr("create", "--comment", WORDS[3], "--compression", "none", f"::{WORDS[2]}", "src").ok()
    (folder / "later").write_text("diagnosis: none")
    sr("create", "::later", "src").ok()
    return sr


def observer(program: Program) -> Repository:
    """As whoever has the repository's bytes and nothing else."""
    return open_at(program.repo, program.root / "observer", need=Need.STRUCTURE)


def test_what_the_server_learns_is_what_the_page_says(clinic: Program) -> None:
    """Counts, kinds, order, sizes, times, equality and names of keys: claimed neither more nor less."""
    with observer(clinic) as repository:
        state = repository.state
        assert [key.name for key in state.keys.values()] == ["admin"]
        first, second = state.archives.values()
        assert first.time < second.time and first.body.new_bytes > 5_000_000 > second.body.new_bytes > 0
        walks = []
        for one in (first, second):
            root, _, _ = archives.decode(repository.archive_blob(one.id), one.id)
            walks.append(list(refs.read_all(root, repository.refs_block, one.body.chunks)))
        repository.load_index()
        kinds = {chunk: repository.index.get(chunk).bundle.kind for walk in walks for chunk in walk}  # type: ignore[union-attr]
        # `large`, the list; their folder, `src`, the root: the empty file and the link are unseen
        data, tree = sealing.DATA, sealing.TREE
        count = len(walks[0]) - 3  # how many chunks `large` has depends on the secret seed
        assert count >= 2
        assert [kinds[chunk] for chunk in walks[0]] == [data] * count + [tree] * 3
        assert [kinds[chunk] for chunk in walks[1]] == [data] * (count + 1) + [tree] * 3
        assert len(set(walks[0]) & set(walks[1])) == count
        bundles = [repository.index.get(chunk).bundle for chunk in walks[0]]  # type: ignore[union-attr]
        assert any(len(bundle.chunks) == 32 and bundle.length > 512 * 1024 for bundle in bundles)


def sessions(repository: Repository) -> list[sealing.SealedSession]:
    found = []
    for listed in repository.store.list("packs/"):
        pack = PackId(bytes.fromhex(listed.name[-64:]))
        found += packs.read_trailer(repository.store, pack, listed.size).sessions
    for archive in repository.state.archives:
        found.append(archives.decode(repository.archive_blob(ArchiveId(archive)), archive)[1])
    return found


def test_every_session_key_is_sealed_by_the_hybrid_kem(clinic: Program) -> None:
    """Today's ciphertext in the hands of tomorrow's quantum computer: no session without ML-KEM."""
    with observer(clinic) as repository:
        assert len(bytes.fromhex(repository.founding.sealing_key)) == ML_KEM_768_PUBLIC + 32
        found = sessions(repository)
    assert len(found) >= 4
    assert len({one.id for one in found}) == len({one.sealed for one in found}) == len(found)
    for one in found:
        assert one.algorithm in (sealing.HPKE_AES256GCM, sealing.HPKE_CHACHA20POLY1305)
        assert len(one.sealed) == ML_KEM_768_CIPHERTEXT + 32 + 32 + sealing.TAG_SIZE


@pytest.mark.parametrize("broken", ["the curve", "the lattice"])
def test_who_breaks_one_half_of_the_kem_opens_nothing(broken: str) -> None:
    """Has the X25519 key from a quantum computer and not ML-KEM's, or the other way round."""
    public, private = SealingKeyPair.generate()
    _, other = SealingKeyPair.generate()
    info = session_info(RepositoryId(bytes(32)), bytes(16), sealing.HPKE_AES256GCM)
    sealed = SealingKeyPair(public, None).seal(bytes(range(32)), info)
    assert SealingKeyPair(public, private).open(sealed, info) == bytes(range(32))
    mixed = other[:64] + private[64:] if broken == "the curve" else private[:64] + other[64:]
    mixed_public = SealingKeyPair.generate()[0]
    for claimed in (public, mixed_public):
        with pytest.raises(Damaged):
            SealingKeyPair(claimed, mixed).open(sealed, info)


@pytest.mark.parametrize("at", [0, ML_KEM_768_CIPHERTEXT - 1, ML_KEM_768_CIPHERTEXT, -1])
def test_both_halves_of_a_sealed_key_count(at: int) -> None:
    public, private = SealingKeyPair.generate()
    pair = SealingKeyPair(public, private)
    info = session_info(RepositoryId(bytes(32)), bytes(16), sealing.HPKE_AES256GCM)
    sealed = bytearray(pair.seal(bytes(range(32)), info))
    sealed[at] ^= 1
    with pytest.raises(Damaged):
        pair.open(bytes(sealed), info)


def test_the_servers_bytes_without_key_or_passphrase_open_nothing(clinic: Program) -> None:
    """The disk of the server, copied: with keyfile there is nothing to guess a passphrase against."""
    assert not (clinic.repo / "keys").exists() or not list((clinic.repo / "keys").iterdir())
    thief = clinic.another("thief")
    for words in (("list",), ("extract", "::later"), ("create", "::evil", "src")):
        assert "No key for repository" in thief(*words).sentence()
