"""What killed runs of `init` and `delete` left in a folder: what may be taken away, and what may not."""

from pathlib import Path

import pytest

from strongroom.errors import NotARepository, PathOccupied, RepositoryExists
from strongroom.store.local import LocalStore


def founded_halfway(path: Path) -> LocalStore:
    store = LocalStore.create(str(path), reserve=4096)
    store.put("keys/" + "ab" * 32, [b"a key"])
    store.put("config", [b"a config"])
    return store


def test_what_a_killed_init_left_makes_room(tmp_path: Path) -> None:
    founded_halfway(tmp_path / "repo").close()
    again = LocalStore.create(str(tmp_path / "repo"))
    assert not again.has_config() and not list(again.list("keys/"))


def test_an_init_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    going_on = founded_halfway(tmp_path / "repo")
    with pytest.raises(RepositoryExists, match="Another `init`"):
        LocalStore.create(going_on.path)
    assert going_on.has_config() and list(going_on.list("keys/"))


@pytest.mark.parametrize("area", ["log", "packs", "archives"])
def test_what_holds_anything_more_is_a_repository(tmp_path: Path, area: str) -> None:
    founded_halfway(tmp_path / "repo").close()
    (tmp_path / "repo" / area).mkdir()
    (tmp_path / "repo" / area / "one").write_bytes(b"data")
    with pytest.raises(RepositoryExists, match="already exists"):
        LocalStore.create(str(tmp_path / "repo"))
    assert (tmp_path / "repo" / "config").exists()


def test_the_rest_of_a_deletion_is_told_and_removed(tmp_path: Path) -> None:
    store = founded_halfway(tmp_path / "repo")
    store.append_record("log/0000000000000001", b"a record")
    assert not store.deleted_remains()
    store.delete("config")
    store.close()
    with pytest.raises(NotARepository, match="interrupted `init` or `delete`"):
        LocalStore.open(store.path)
    with pytest.raises(PathOccupied, match="interrupted `delete`"):
        LocalStore.create(store.path)
    (tmp_path / "repo" / "packs").mkdir()
    (tmp_path / "repo" / "packs" / "one").write_bytes(b"data")
    assert not LocalStore(store.path).deleted_remains()
    (tmp_path / "repo" / "packs" / "one").unlink()
    LocalStore(store.path).remove_remains()
    LocalStore.create(store.path)


def test_a_lease_of_a_killed_run_is_no_repository(tmp_path: Path) -> None:
    """`replicate` announces itself before it brings the config."""
    store = LocalStore.create(str(tmp_path / "repo"))
    store.put("leases/" + "0" * 32, [b"a lease"])
    store.close()
    LocalStore.create(store.path).close()
    (tmp_path / "repo" / "leases" / "contract.pdf").write_bytes(b"somebody's own")
    with pytest.raises(PathOccupied):
        LocalStore.create(store.path)
