"""Healing a repository from its copy: all that rotted or went comes back, and nothing but that."""

import shutil
from pathlib import Path

import pytest

from attacks.test_replicas import contents, copied, damage, filled, objects, packs_and_more, records
from program import Program
from sshd import direct_rsh
from strongroom.errors import Damaged, ObjectExists, StoreRefused
from strongroom.store import wire
from strongroom.store.local import LocalStore
from strongroom.store.location import parse_location
from strongroom.store.protocol import Store
from strongroom.store.ssh import SshOptions, SshStore

__all__ = ["copied", "filled"]


def files(repo: Path) -> list[Path]:
    return [path for path in packs_and_more(repo) if path.is_file()]


@pytest.mark.parametrize("how", ["rotten", "gone"])
def test_everything_that_the_copy_has_comes_back(copied: tuple[Program, Path], src: Path, how: str) -> None:
    sr, copy = copied
    whole = objects(sr.repo)
    for path in files(sr.repo):
        damage(path) if how == "rotten" else path.unlink()
    stranger = sr.another("stranger", STRONGROOM_PASSPHRASE="unknown")
    told = stranger("repair", "-v", "--from", copy, sr.repo).ok()
    assert f"{len(files(copy))} healed, 0 are lost" in told.err
    assert objects(sr.repo) == whole
    assert " 0 healed" in sr("repair", "-v", "--from", copy).ok().err


def test_an_append_only_server_lets_its_client_heal(copied: tuple[Program, Path]) -> None:
    sr, copy = copied
    whole = objects(sr.repo)
    for path in files(sr.repo):
        damage(path)
    rsh = direct_rsh(sr.root, "--append-only", "--restrict-to-path", str(sr.root), "--storage-quota", "1G")
    client = sr.another("client", STRONGROOM_RSH=rsh)
    client("repair", "--from", copy, f"ssh://server{sr.repo}").ok()
    assert {name: blob for name, blob in objects(sr.repo).items() if name in whole} == whole


def test_the_log_comes_back_too(copied: tuple[Program, Path]) -> None:
    sr, copy = copied
    first, second, *_ = sorted((sr.repo / "log").iterdir())
    damage(first)
    second.unlink()
    reader = sr.another("reader")
    assert reader("list").code == 1  # of what is left
    assert "2 healed" in sr("repair", "-v", "--from", copy).ok().err
    assert reader("list", "--short").ok().out.split() == ["0", "1", "2"]


def test_what_nobody_has_is_told_and_nothing_is_made_worse(copied: tuple[Program, Path]) -> None:
    sr, copy = copied
    for path in files(sr.repo):
        damage(path)
    for path in files(copy):
        damage(path)
    before = objects(sr.repo)
    told = sr("repair", "--from", copy)
    assert told.code == 1 and "Traceback" not in told.err
    assert objects(sr.repo) == before


def test_a_copy_of_another_history_or_repository_is_refused(copied: tuple[Program, Path], src: Path) -> None:
    sr, _ = copied
    shutil.copytree(sr.repo, sr.root / "branch")
    max((sr.root / "branch" / "log").iterdir()).unlink()
    attacker = sr.another("attacker")
    attacker("create", f"{sr.root / 'branch'}::other", "src").ok()
    stranger = sr.another("stranger")
    held = objects(sr.repo), records(sr.repo)
    told = stranger("repair", "--from", sr.root / "branch", sr.repo)
    assert told.code == 2 and "another one" in told.sentence()
    sr("init", "--encryption=repokey", sr.root / "foreign").ok()
    assert "another repository" in stranger("repair", "--from", sr.root / "foreign", sr.repo).sentence()
    assert (objects(sr.repo), records(sr.repo)) == held


def test_parity_heals_without_a_copy(copied: tuple[Program, Path], src: Path) -> None:
    sr, _ = copied
    sr("protect").ok()
    whole = objects(sr.repo)
    for path in (sr.repo / "packs").glob("*/*"):
        damage(path)
    sr("repair").ok()
    assert objects(sr.repo) == whole and contents(src)


@pytest.fixture(params=["local", "served"])
def store(request: pytest.FixtureRequest, copied: tuple[Program, Path]) -> Store:
    sr, copy = copied
    if request.param == "local":
        return LocalStore.open(str(copy))
    rsh = direct_rsh(sr.root, "--append-only")
    opened = SshStore.open(parse_location(f"ssh://server{copy}"), SshOptions(rsh=rsh))
    request.addfinalizer(opened.close)
    return opened


def test_mending_replaces_nothing_that_is_sound_and_takes_nothing_false(
    store: Store, copied: tuple[Program, Path]
) -> None:
    copy = copied[1]
    pack = next(copy.glob("packs/*/*"))
    name = str(pack.relative_to(copy))
    whole = pack.read_bytes()
    with pytest.raises(ObjectExists):
        store.mend(name, [whole])
    with pytest.raises(Damaged):
        store.mend(name, [b"something else"])
    for other in ("config", "log/00000000000000000001", "parity/" + "0" * 64, "leases/" + "0" * 32):
        with pytest.raises(StoreRefused):
            store.mend(other, [b"x"])
    assert pack.read_bytes() == whole
    damage(pack)
    with pytest.raises(Damaged):
        store.mend(name, [b"something else"])
    store.mend(name, [whole])
    assert pack.read_bytes() == whole
    pack.unlink()
    store.mend(name, [whole[:1], whole[1:]])
    assert pack.read_bytes() == whole


def test_a_hostile_client_cannot_mend_what_is_not_named_by_its_hash(copied: tuple[Program, Path]) -> None:
    """Past the client's own check: the server asks again."""
    sr, copy = copied
    rsh = direct_rsh(sr.root, "--append-only")
    opened = SshStore.open(parse_location(f"ssh://server{copy}"), SshOptions(rsh=rsh))
    before = (copy / "config").read_bytes()
    try:
        call = opened._connection.submit(wire.Mend("config", 5), body=[b"false"])
        with pytest.raises(StoreRefused):
            opened._connection.reply(call)
    finally:
        opened.close()
    assert (copy / "config").read_bytes() == before
