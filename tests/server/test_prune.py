"""`server prune`: retention where it is trusted, by a key of the server's own."""

import stat

import pytest

from program import Program
from server.hosted import Hosted, backups, founded_over_ssh, hosted, over_ssh


@pytest.fixture
def server(program: Program) -> Hosted:
    return hosted(program)


# --- the key ---


def test_init_over_ssh_admits_the_servers_key(server: Hosted) -> None:
    laptop = over_ssh(server, "laptop")
    keys = laptop("key", "list").ok().out.splitlines()
    assert [line.split()[:2] for line in keys if "server" in line]
    assert stat.S_IMODE((server.folder / ".server.key").stat().st_mode) == 0o600
    secret = (server.folder / ".server.key").read_text().split()[-1]
    everything = [path for path in server.owner.root.rglob("*") if path.is_file()]
    assert [path.name for path in everything if secret.encode() in path.read_bytes()] == [".server.key"]


def test_no_server_key_refuses_it_and_key_add_takes_it(server: Hosted) -> None:
    laptop = over_ssh(server, "laptop", "--no-server-key")
    assert "server" not in laptop("key", "list").ok().out
    refused = server("prune", "laptop", "--keep-daily", "1")
    assert refused.code == 2 and "strongroom key add --role server" in refused.sentence()
    laptop("key", "add", "--role", "server", "::", "hosting").ok()
    server("prune", "laptop", "--keep-daily", "1").ok()
    again = laptop("key", "add", "--role", "server", "::", "other")
    assert again.code == 2 and "called hosting" in again.sentence()
    laptop("key", "revoke", "::", "hosting").ok()
    assert "revoked" in server("prune", "laptop", "--keep-daily", "1").sentence()


def test_the_key_is_admitted_by_hand_where_no_server_offers_it(server: Hosted) -> None:
    desk = server.client("desk")
    refused = desk("key", "add", "--role", "server", "::", "server")
    assert refused.code == 2 and "--public-key" in refused.sentence()
    told = server("init", str(server.folder)).ok().out
    (key,) = (word for word in told.split() if len(word) == 64)
    assert desk("key", "add", "--role", "server", "--public-key", "x", "::", "server").code == 2
    desk("key", "add", "--role", "server", "--public-key", key, "::", "server").ok()
    server("prune", "desk", "--keep-daily", "1").ok()


def test_init_again_keeps_the_key_and_a_damaged_one_is_told(server: Hosted) -> None:
    path = server.folder / ".server.key"
    before = path.read_text()
    server("init", str(server.folder)).ok()
    assert path.read_text() == before
    for text in ("", before[:-10], before.replace("key 1", "key 2"), "x" * 100):
        path.write_text(text)
        assert "server.key" in server("prune", "--all", "--keep-daily", "1").sentence()
    path.unlink()
    assert "server init" in server("prune", "--all", "--keep-daily", "1").sentence()


# --- the rules ---


def test_rules_go_by_the_servers_clock_and_clients_see_what_went(server: Hosted) -> None:
    laptop = founded_over_ssh(server, "laptop")
    place = server.folder / "laptop"
    backups(laptop, -10, -4, -3.9, -3, -2)
    before = {path: path.read_bytes() for path in place.rglob("packs/*/*")}
    words = ("prune", "laptop", "--keep-daily", "2", "--list")
    dry = server(*words, "--dry-run").ok()
    assert "would delete 3 of 5 archives" in dry.out and len(laptop.names()) == 5
    told = server(*words).ok()
    assert "deleted 3 of 5 archives" in told.out and told.out.count("rule: daily") == 2
    assert laptop.names() == ["day-3", "day-2"]
    gone = laptop("list", "--deleted", "--format", "{name} {deleted_by}{NL}").ok().out.splitlines()
    assert gone == [f"day{day} server" for day in (-10, -4, -3.9)]
    assert {path: path.read_bytes() for path in before} == before
    laptop("undelete", "::day-3.9").ok()
    assert "day-3.9" in laptop.names()
    laptop("check", "--verify-data").ok()


def test_a_fallen_client_cannot_date_archives_to_push_others_out(server: Hosted) -> None:
    """Its clock says what it likes; the server's stamp counts."""
    laptop = over_ssh(server, "laptop")
    backups(laptop, 0)
    # serve runs with the true clock, however the client's is set
    backups(laptop, 400, 401)
    backups(laptop, -400)
    told = server("prune", "laptop", "--keep-daily", "4", "--list", "--dry-run").ok()
    # all of one day: one of them, the newest, and the oldest of all, which the rule lets age
    assert "would delete 2 of 4 archives" in told.out
    kept = [line for line in told.out.splitlines() if "kept" in line]
    assert "daily[oldest]" in kept[-1]


def test_whose_repositories_must_be_said_and_what_to_keep(server: Hosted) -> None:
    over_ssh(server, "laptop")
    assert "--all" in server("prune", "--keep-daily", "1").sentence()
    assert "--keep" in server("prune", "--all").sentence()
    assert server("prune", "--all", "laptop", "--keep-daily", "1").code == 2


def test_one_that_refuses_keeps_nobody_from_the_others(server: Hosted) -> None:
    over_ssh(server, "laptop")
    server.client("desk")
    told = server("prune", "--all", "--keep-daily", "1")
    assert told.code == 1 and "desk" in told.err and told.out.startswith("laptop")


def test_the_servers_records_count_for_the_quota(server: Hosted) -> None:
    laptop = over_ssh(server, "laptop")
    backups(laptop, 0, 1, 2)
    server("prune", "laptop", "--keep-last", "1").ok()
    used = int((server.folder / "laptop/.quota/used").read_text())
    assert used == server("usage", "--json").ok().json["clients"][0]["used"]
