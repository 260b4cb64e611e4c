"""`server verify`: the owner of a server re-reads everything, with no key of anybody."""

import shutil
from pathlib import Path

import pytest

from program import Program
from server.hosted import Hosted, hosted


@pytest.fixture
def server(program: Program) -> Hosted:
    return hosted(program)


def rot(path: Path) -> None:
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(blob)


def some(repo: Path, area: str) -> Path:
    return min(path for path in (repo / area).rglob("*") if path.is_file())


def test_a_server_without_repositories_says_so(server: Hosted) -> None:
    server.add("laptop")
    assert server("verify").ok().out == "There is no repository yet.\n"


def test_each_repository_of_each_client_is_verified(server: Hosted) -> None:
    server.client("laptop", below="one")
    server.client("laptop", below="deep/two")
    server.client("desk")
    lines = server("verify").ok().out.splitlines()
    assert [line.split()[0] for line in lines] == ["desk", "laptop/deep/two", "laptop/one"]
    assert all(line.endswith("1 pack, 1 archive: sound") for line in lines)
    assert len(server("verify", "laptop").ok().out.splitlines()) == 2
    refused = server("verify", "nobody")
    assert refused.code == 2 and "desk, laptop" in refused.sentence()


@pytest.mark.parametrize("area", ["packs", "index", "refs", "archives", "keys", "log", "config"])
def test_rot_is_found_and_costs_the_others_nothing(server: Hosted, area: str) -> None:
    repo = server.client("laptop").repo
    server.client("phone")
    path = some(repo, area) if area != "config" else repo / area
    rot(path)
    told = server("verify")
    assert told.code == 1 and "Traceback" not in told.err
    assert "laptop" in told.err and (path.name in told.err or area == "log")
    laptop, phone = told.out.splitlines()
    assert "problem" in laptop and phone.endswith("sound")


def test_a_pack_that_no_archive_uses_yet_is_read_too(server: Hosted) -> None:
    repo = server.client("laptop").repo
    pack = repo / "packs/00" / ("00" + 62 * "1")
    pack.parent.mkdir(exist_ok=True)
    pack.write_bytes(b"left by a run that was interrupted, and rotten")
    told = server("verify")
    assert told.code == 1 and pack.name in told.err


def test_what_was_rolled_back_since_the_last_time_is_told(server: Hosted, program: Program) -> None:
    laptop = server.client("laptop")
    (program.root / "old").mkdir()
    shutil.copytree(laptop.repo, program.root / "old/repo")
    laptop("create", "::second", "src-laptop").ok()
    server("verify").ok()
    laptop.repo.rename(program.root / "newer")
    (program.root / "old/repo").rename(laptop.repo)
    told = server("verify")
    assert told.code == 1 and "rolled back" in told.err


def test_a_short_time_is_shared_among_all(server: Hosted) -> None:
    rotten = set()
    for name in ("laptop", "phone"):
        repo = server.client(name).repo
        rotten.add(some(repo, "packs").name)
        rot(some(repo, "packs"))
    told = server("verify", "--max-duration", "1")
    assert told.code == 1 and all(name in told.err for name in rotten)


def test_a_huge_object_of_a_client_is_read_in_pieces(server: Hosted) -> None:
    import resource

    repo = server.client("laptop").repo
    pack = repo / "packs/00" / ("00" + 62 * "1")
    pack.parent.mkdir(exist_ok=True)
    with pack.open("wb") as stream:
        stream.truncate(1 << 30)  # sparse
    limit = 1 << 29

    def frugal() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    told = server("verify", before=frugal)
    assert told.code == 1 and pack.name in told.err and "Internal error" not in told.err


def test_links_in_a_clients_folder_lead_nowhere(server: Hosted, program: Program) -> None:
    laptop = server.client("laptop")
    outside = server.client("phone").repo
    (laptop.repo.parent / "laptop/more").symlink_to(outside)
    moved = program.root / "moved"
    (laptop.repo / "packs").rename(moved)
    (laptop.repo / "packs").symlink_to(moved)
    told = server("verify", "laptop")
    assert told.code == 1 and "symbolic link" in told.err
    # beside a repository they are passed over
    outer = server.add("desk")
    (outer / "elsewhere").symlink_to(outside)
    assert server("verify", "desk").ok().out == "There is no repository yet.\n"
