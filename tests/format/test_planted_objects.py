"""What the holder of a backup key can sign or plant must not pass for something else."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from format.conftest import open_at
from strongroom.commands.opening import Need
from strongroom.crypto import hashing, keys
from strongroom.crypto.sealing import SealingKeyPair
from strongroom.errors import Damaged, KeyInvalid
from strongroom.ids import RefsId
from strongroom.repository import archives, keyring
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.log import ArchiveBody, KeyAddBody

Program = Callable[..., None]


def test_a_planted_key_cannot_make_anybody_seal_for_somebody_else(program: Program, tmp_path: Path) -> None:
    """It is one that the log knows, opens with the passphrase, and would be preferred for writing."""
    program("init", "-e", "repokey")
    with open_at(tmp_path / "repo", tmp_path / "own", need=Need.ADMIN) as repository:
        own = repository.require_key()
        fallen = msgspec.structs.replace(
            own,
            name="client",
            role="backup",
            signing_private=keys.new_signing_key(),
            sealing_public=SealingKeyPair.generate()[0],
            sealing_private=None,
        )
        repository.commit("key-add", lambda _: KeyAddBody("client", "backup", fallen.public()))
        keyring.store_in_repository(repository.store, keys.wrap(fallen, "secret"))
    with pytest.raises(KeyInvalid, match="somebody else"):
        open_at(tmp_path / "repo", tmp_path / "own", need=Need.WRITE)
    with open_at(tmp_path / "repo", tmp_path / "own", need=Need.READ) as repository:
        assert repository.require_key().role == "admin"


def test_an_archive_cannot_carry_another_name_than_its_record(program: Program, tmp_path: Path) -> None:
    """By the tag nobody would find it, in a list it would pass for the one that it names."""
    program("init", "-e", "repokey")
    with open_at(tmp_path / "repo", tmp_path / "own") as repository:
        meta = ArchiveMeta(name="monday", start=1, end=2, root=b"")
        refs = RefsId(bytes(32))
        archive, blob = archives.encode(meta, refs, repository.session_writer())
        repository.put_if_new(archives.name(archive), blob)
        tag = hashing.name_tag(repository.require_key().id_key, "tuesday")
        repository.commit("archive", lambda _: ArchiveBody(archive, tag, b"", b"", 0, 0, 0))
        with pytest.raises(Damaged, match="another name"):
            repository.archive_meta(archive)


def test_text_that_is_no_utf8_gets_into_an_archive_and_out(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("init", "-e", "repokey")
    odd = tmp_path / "f\udcff"
    odd.mkdir()
    monkeypatch.chdir(odd)
    Path("a\udcfe").write_text("x")
    monkeypatch.setattr("sys.argv", ["strongroom", "create", "a\udcfe"])
    program("create", "--comment", "c\udcfd", "::n\udcfc", "a\udcfe")
    with open_at(tmp_path / "repo", tmp_path / "own") as repository:
        meta = repository.archive_meta(repository.archive_by_name("n\udcfc").id)
    assert (meta.name, meta.comment, meta.cwd) == ("n\udcfc", "c\udcfd", str(odd))
    assert meta.command_line[-1] == "a\udcfe"
