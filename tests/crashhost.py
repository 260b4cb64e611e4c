"""What the owner of a server calls, as lines of the table of `crashtable`: on one with a client, laptop.

The client's repository is the one that the stage founded; its log knows the server's key.
"""

import shutil
from pathlib import Path
from typing import Any

from crashcases import BASE, Case, asked_for
from program import Program
from sshd import keygen
from strongroom.server.authorized import key_of

OTHERS = "# not ours\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHN0cm9uZ3Jvb20gdGVzdHMgbm90IGEga2V5 mine"


def _authorized(program: Program) -> Path:
    return program.root / "home" / ".ssh" / "authorized_keys"


def _machine(program: Program) -> None:
    """Somebody logs in there already; two machines have keys."""
    for name in ("laptop", "desk"):
        if not (program.cwd / name).exists():
            keygen(program.cwd / name)
    (program.root / "home").mkdir()


def _server(program: Program) -> None:
    _machine(program)
    keys = _authorized(program)
    keys.parent.mkdir()
    keys.write_text(f"{OTHERS}\n")
    told = program("server", "init", "../srv").ok().out
    program("server", "add-client", "laptop", "--key", "laptop.pub").ok()
    repository = program.root / "srv" / "laptop"
    shutil.copytree(program.repo, repository, dirs_exist_ok=True)
    shutil.rmtree(program.repo)
    program.env["STRONGROOM_REPO"] = str(repository)
    program.env["STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK"] = "yes"
    (key,) = (word for word in told.split() if len(word) == 64)
    program("key", "add", "--role", "server", "--public-key", key, "::", "server").ok()


def _with_two_deleted(program: Program) -> None:
    _server(program)
    program("delete", "::b", "c").ok()


def _with_a_asked_for(program: Program) -> None:
    _server(program)
    asked_for(program)


def _clients(program: Program) -> dict[str, Any]:
    listed = program("server", "list", "--json", "--dir", "../srv").ok().json["clients"]
    return {client["name"]: client for client in listed}


def _line(program: Program, name: str) -> str:
    """The one that lets the client in."""
    lines = _authorized(program).read_text().splitlines()
    (line,) = (line for line in lines if line.endswith(f" strongroom-{name}"))
    return line


def _holds_others(program: Program) -> None:
    """Whatever happens to the server's lines, its owner can still log in."""
    assert OTHERS in _authorized(program).read_text()


def _holds_all(program: Program) -> None:
    _holds_others(program)
    assert "--client laptop" in _line(program, "laptop")


def _is_server(program: Program) -> None:
    assert not _clients(program)
    again = program("server", "init", "../srv").ok().out
    assert (program.root / "srv" / ".server.key").exists() and len(again.split()[-1]) > 1


def _is_renewed(program: Program) -> None:
    assert "exec /opt/strongroom serve" in _line(program, "laptop") and "laptop" in _clients(program)


def _has_desk(program: Program) -> None:
    assert {"laptop", "desk"} == set(_clients(program))
    assert "--client desk" in _line(program, "desk")
    assert (program.root / "srv" / "desk").is_dir()


def _has_quota(program: Program) -> None:
    assert _clients(program)["laptop"]["quota"] == 5 * 10**9
    assert "--storage-quota 5000000000" in _line(program, "laptop")


def _has_new_key(program: Program) -> None:
    wanted = (program.cwd / "desk.pub").read_bytes()
    assert key_of(_line(program, "laptop").encode()) == key_of(wanted)
    assert _clients(program)["laptop"]["key"].split()[:2] == wanted.decode().split()[:2]


def _is_locked_out(program: Program) -> None:
    assert not _clients(program) and "strongroom-laptop" not in _authorized(program).read_text()


HOSTED = (
    Case("server init", "server init ../srv", prepare=_machine, proof=_is_server),
    Case(
        "server init again",
        "server init --program /opt/strongroom ../srv",
        prepare=_server,
        proof=_is_renewed,
        unharmed=_holds_all,
    ),
    Case(
        "server add-client",
        "server add-client desk --key desk.pub",
        prepare=_server,
        proof=_has_desk,
        unharmed=_holds_all,
    ),
    Case(
        "server set", "server set laptop --quota 5G", prepare=_server, proof=_has_quota, unharmed=_holds_all
    ),
    Case(
        "server rotate-key",
        "server rotate-key laptop --key desk.pub",
        prepare=_server,
        proof=_has_new_key,
        unharmed=_holds_all,
    ),
    Case(
        "server remove-client",
        "server remove-client laptop",
        prepare=_server,
        refused=True,
        proof=_is_locked_out,
        unharmed=_holds_others,
    ),
    Case("server prune", "server prune laptop --keep-last 1", frozenset({"c"}), prepare=_server),
    Case(
        "server compact",
        "server compact laptop --quarantine 0 --threshold 0",
        frozenset({"a"}),
        frozenset({"a"}),
        _with_two_deleted,
    ),
    Case(
        "server compact --accept",
        "server compact laptop --accept x --quarantine 0 --threshold 0",
        BASE - {"a"},
        prepare=_with_a_asked_for,
    ),
)
