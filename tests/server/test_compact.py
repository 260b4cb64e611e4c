"""`server compact`: space comes back by the owner's hand, exactly counted, and nothing else goes."""

import os
import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from program import Program, patterned
from server.hosted import DAY, Hosted, at_noon, backups, founded_over_ssh, hosted, over_ssh
from strongroom.server import ownstore
from strongroom.server.quota import Quota, count

FREE = ("compact", "laptop", "--quarantine", "0")


@pytest.fixture
def server(program: Program) -> Hosted:
    return hosted(program)


@pytest.fixture
def laptop(server: Hosted) -> Program:
    """With three archives."""
    laptop = founded_over_ssh(server, "laptop")
    backups(laptop, -3, -2, -1)
    return laptop


def packs(server: Hosted) -> int:
    return sum(path.stat().st_size for path in server.folder.glob("laptop/packs/*/*"))


def whole(server: Hosted) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for path in (server.folder / "laptop").rglob("*")
        if path.is_file() and not {".quota", "leases", "tmp"} & set(path.parts)
    }


def test_what_was_pruned_is_freed_after_the_quarantine_and_the_client_goes_on(
    server: Hosted, laptop: Program
) -> None:
    before = packs(server)
    server("prune", "laptop", "--keep-last", "1").ok()
    full = whole(server)
    told = server("compact", "laptop", "--list").ok()
    assert "freed 0 B" in told.out and told.err.count("quarantine to end") == 2
    assert full.items() <= whole(server).items()
    dry = server(*FREE, "--dry-run").ok()
    assert "Would free 6" in dry.err and packs(server) == before
    told = server(*FREE, "--stats").ok()
    assert "of 2 archives" in told.out and "Archives freed: 2" in told.err
    assert packs(server) < before / 2
    assert laptop.names() == ["day-1"]
    place = laptop.extract("day-1")
    assert len((place / "data/file").read_bytes()) == 300_000
    backups(laptop, 0)
    laptop("check").ok()
    server("verify").ok()
    audit = laptop("audit").out
    assert "delete of" in audit and "compact: 2 archives" in audit and audit.count("by the key 'server'") == 2


def test_what_a_backup_key_asks_for_waits_for_the_owners_word(
    server: Hosted, laptop: Program, program: Program
) -> None:
    key = program.cwd / "key"
    laptop("key", "add", "--role", "backup", "--no-passphrase", "--output", str(key), "::", "web").ok()
    web = laptop.another("web", STRONGROOM_PASSPHRASE="unknown")
    web("key", "import", "::", str(key)).ok()
    web("delete", "::day-3").ok()
    before = packs(server)
    assert "Not accepted" in server(*FREE, "--list").ok().err and packs(server) == before
    assert server(*FREE, "--accept", "nobody").code == 2
    server(*FREE, "--accept", "web").ok()
    assert laptop.names() == ["day-2", "day-1"] and packs(server) < before
    server(*FREE, "--accept", "web").ok()  # as each night, or after it was interrupted


def test_usage_tells_what_could_come_back(server: Hosted, laptop: Program) -> None:
    def told() -> dict[str, Any]:
        (client,) = server("usage", "laptop", "--json").ok().json["clients"]
        (details,) = client["details"]
        return cast("dict[str, Any]", details)

    (server.folder / "laptop/.reserve/size").write_text("70000\n")
    (server.folder / "laptop/.reserve/space").write_bytes(bytes(60_000))
    kept = {"kept": 60_000, "wanted": 70_000}
    none = {"archives": 0, "bytes": 0, "until": None}
    fresh = {"repository": "laptop", "free_now": 0, "quarantine": none, "requests": {}, "reserve": kept}
    assert told() == fresh
    server("prune", "laptop", "--keep-last", "2").ok()
    waiting = told()["quarantine"]
    assert waiting["archives"] == 1 and 300_000 <= waiting["bytes"] < 400_000
    until = datetime.fromisoformat(waiting["until"]).astimezone() - datetime.now().astimezone()
    assert 29 * DAY < until.total_seconds() <= 30 * DAY
    line = server("usage").ok().out.splitlines()[1]
    assert "in quarantine 30" in line and "of 1 archive, until" in line and "full disk 70.00 kB" in line
    key = server.owner.root / "web.key"
    laptop("key", "add", "--role", "backup", "--no-passphrase", "--output", str(key), "::", "web").ok()
    asking = laptop.another("asking", STRONGROOM_PASSPHRASE="unknown")
    asking("key", "import", "::", str(key)).ok()
    asking("delete", "::day-1").ok()
    assert told()["requests"] == {"web": 1}
    assert "web asks to delete 1" in server("usage").ok().out
    assert "details" not in server("usage", "--json", "--quick").ok().json["clients"][0]
    later = server("usage", "--json", before=at_noon(40)).ok().json["clients"][0]["details"][0]
    assert later["free_now"] == waiting["bytes"] and later["quarantine"] == none
    (server.folder / "laptop/config").write_bytes(b"strongroom repository, format 1")
    damaged = server("usage")
    assert damaged.code == 1 and "config" in damaged.err and damaged.out.startswith("laptop ")


def test_a_repository_that_does_not_name_the_key_is_left_alone(server: Hosted) -> None:
    desk = server.client("desk")
    desk("delete", "::first").ok()
    refused = server("compact", "desk", "--quarantine", "0")
    assert refused.code == 2 and "strongroom key add --role server" in refused.sentence()
    desk("undelete", "::first").ok()
    desk("check", "--verify-data").ok()


def test_a_repository_that_was_founded_append_only_is_left_alone(server: Hosted) -> None:
    laptop = founded_over_ssh(server, "laptop", "--append-only")
    backups(laptop, -2, -1)
    server("prune", "laptop", "--keep-last", "1").ok()
    before = whole(server)
    refused = server(*FREE)
    assert refused.code == 2 and "append-only" in refused.sentence()
    assert whole(server) == before


def test_a_running_session_has_the_freed_room_at_once(server: Hosted, laptop: Program) -> None:
    server("set", "laptop", "--quota", "1G").ok()
    home = str(server.folder / "laptop")
    server("prune", "laptop", "--keep-last", "1").ok()
    session = Quota(home, 1 << 30)
    session.reserve(0)  # it has counted
    server(*FREE).ok()
    assert int((server.folder / "laptop/.quota/used").read_text()) == count(home)
    session.reserve((1 << 30) - count(home) - 8192)
    session.close()


def test_clients_back_up_while_the_owner_compacts(server: Hosted) -> None:
    laptop = over_ssh(server, "laptop")
    backups(laptop, -2, -1)
    home = str(server.folder / "laptop")
    for number in range(3, 6):
        (laptop.cwd / f"more-{number}").write_bytes(patterned(200_000, number))
        server("prune", "laptop", "--keep-last", "1").ok()
        running = laptop.start("create", f"::beside{number}", "data", f"more-{number}")
        server(*FREE).ok()
        assert running.wait().code == 0
        assert int((server.folder / "laptop/.quota/used").read_text()) == count(home)
    assert "beside5" in laptop.names()
    laptop("check", "--verify-data").ok()


def killed_at(number: int) -> Callable[[], None]:
    """For `before`: the run is killed when it stores or removes its n-th object."""

    def arm() -> None:
        left = [number]

        def counted(real: Callable[..., None]) -> Callable[..., None]:
            def act(*words: object) -> None:
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                real(*words)

            return act

        for name in ("put", "delete"):
            setattr(ownstore.OwnStore, name, counted(getattr(ownstore.OwnStore, name)))

    return arm


def test_killed_at_any_point_the_next_run_finishes_and_the_count_is_right(
    server: Hosted, laptop: Program
) -> None:
    home = str(server.folder / "laptop")
    server("prune", "laptop", "--keep-last", "1").ok()
    killed = 0
    for number in range(2, 40, 5):
        done = server(*FREE, before=killed_at(number))
        session = Quota(home, 1 << 30)
        session.reserve(0)
        assert session.used() == count(home)
        session.close()
        if done.code == 0:
            break
        assert done.code == -signal.SIGKILL
        killed += 1
    else:
        pytest.fail("it never finished")
    assert killed
    server(*FREE).ok()
    laptop.lose_cache()
    assert laptop.names() == ["day-1"]
    assert len((laptop.extract("day-1") / "data/file").read_bytes()) == 300_000
    laptop("check", "--verify-data").ok()
    assert len(list(server.folder.glob("laptop/archives/*"))) == 1


def test_links_lead_nowhere(server: Hosted, laptop: Program, program: Program) -> None:
    server("prune", "laptop", "--keep-last", "1").ok()
    moved = program.root / "moved"
    (server.folder / "laptop/packs").rename(moved)
    (server.folder / "laptop/packs").symlink_to(moved)
    before = sorted(moved.rglob("*"))
    for words in (FREE, ("prune", "laptop", "--keep-yearly", "1")):
        assert "symbolic link" in server(*words).sentence()
    assert sorted(moved.rglob("*")) == before
