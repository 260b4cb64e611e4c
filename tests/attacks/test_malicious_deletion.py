"""A fallen client asks for the deletion of everything. Nobody's command frees a byte for it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mounting import FUSE, mountpoint
from program import Done, Program
from server.hosted import Hosted, forced_words, founded_over_ssh, hosted
from sshd import direct_rsh
from strongroom.cli.commands import COMMANDS

Run = Callable[[Program], Done]
OTHERS = ("log", "leases", "keys", ".quota", ".reserve", "tmp")


def bodies(repo: Path) -> dict[str, bytes]:
    """All that archives consist of: everything but the log, passing leases, counts, and keys, whose
    passphrases may change."""
    return {
        str(path.relative_to(repo)): path.read_bytes()
        for path in repo.rglob("*")
        if path.is_file() and path.relative_to(repo).parts[0] not in OTHERS
    }


@pytest.fixture
def fallen(program: Program, src: Path) -> tuple[Program, Program]:
    """The administrator's machine, and one that held a backup key, which asks for the end of all archives."""
    program("init", "--encryption=keyfile").ok()
    return fall(program, src)


def fall(program: Program, src: Path) -> tuple[Program, Program]:
    for number in range(3):
        (src / "file").write_text(f"version {number}")
        (src / f"only in {number}").write_bytes(os.urandom(50_000))
        program("create", f"::day-{number}", "src").ok()
    program(
        "key", "add", "--role", "backup", "--no-passphrase", "--output", "laptop.key", "::", "laptop"
    ).ok()
    key = program.cwd / "laptop.key"
    attacker = program.another("attacker", STRONGROOM_PASSPHRASE="unknown")
    attacker("key", "import", "::", str(key)).ok()
    attacker("delete", "::day-1").ok()
    attacker("prune", "--keep-last", "1").ok()
    attacker("delete", "--last", "1").ok()
    return program, attacker


@pytest.fixture
def kept(program: Program, src: Path) -> tuple[Program, Program]:
    """The same in a client's folder of a server, whose owner prunes and compacts by the server's own key."""
    server = hosted(program)
    machine = founded_over_ssh(server, "laptop")
    program.env |= {name: value for name, value in machine.env.items() if name.startswith("STRONGROOM_")}
    return fall(program, src)


def every_command(program: Program, attacker: Program) -> dict[str, list[tuple[int, Run]]]:
    """Of each command one or more runs, and how they end."""
    copy = str(program.root / "copy of the key")
    server = str(program.root / "srv")
    public = program.root / "client"
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(public)]
    subprocess.run(words, check=True)

    def of(*words: str, who: Program = program, small: bool = False) -> Run:
        env = {"HOME": str(program.root), "STRONGROOM_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES"}
        env |= {"_STRONGROOM_BENCHMARK_CRUD_TEST": "1"} if small else {}
        return lambda _: who(*words, env=env)

    return {
        # nothing that is only asked for is freed, without quarantine either
        "compact": [
            (0, of("compact", "--quarantine", "0", "--threshold", "0", "--list")),
            (0, of("compact", "--quarantine", "0", "--dry-run", "--accept", "laptop")),
            (2, of("compact", "--quarantine", "0", "--accept", "laptop", who=attacker)),
        ],
        "init": [(2, of("init", "--encryption=keyfile"))],
        "create": [(0, of("create", "::fresh", "src")), (0, of("create", "::theirs", "src", who=attacker))],
        "list": [(0, of("list")), (0, of("list", "--deleted")), (0, of("list", "::fresh"))],
        "info": [(0, of("info")), (0, of("info", "::fresh"))],
        "extract": [(0, of("extract", "::fresh", "--dry-run")), (0, of("extract", "::day-1", "--dry-run"))],
        "export-tar": [(0, of("export-tar", "::fresh", "fresh.tar"))],
        "import-tar": [(0, of("import-tar", "::from-tar", "fresh.tar"))],
        "drill": [(0, of("drill"))],
        "cat": [(0, of("cat", "::fresh", "src/file"))],
        "analyze": [(0, of("analyze"))],
        "du": [(0, of("du", "::fresh"))],
        "compare": [(0, of("compare", "::fresh"))],
        "find": [(0, of("find", "file"))],
        "diff": [(0, of("diff", "::fresh", "theirs"))],
        "mount": [(0 if FUSE else 2, of("mount", "::fresh", str(mountpoint(program))))],
        "umount": [(0 if FUSE else 2, of("umount", str(mountpoint(program))))],
        # what it does to a repository when it works is in test_browsed_archive.py
        "browse": [(2, of("browse", "--listen", "192.0.2.1"))],
        "check": [
            (0, of("check", "--verify-data")),
            (0, of("check", "--repository-only")),
            (0, of("check", "--repair")),
        ],
        "audit": [(0, of("audit", "--hash"))],
        "rename": [(0, of("rename", "::fresh", "renamed"))],
        "debug dump-archive": [(0, of("debug", "dump-archive", "::renamed", "-"))],
        "debug dump-archive-items": [(0, of("debug", "dump-archive-items", "::renamed"))],
        "recreate": [
            (0, of("recreate", "-e", "*only*", "::theirs")),
            (0, of("recreate", "--comment", "x", "--target", "twice", "::theirs")),
            (0, of("recreate", "--recompress", "always", "--target", "thrice", "::theirs")),
            (2, of("recreate", "-e", "*", "::theirs", who=attacker)),
        ],
        "delete": [
            (0, of("delete", "--stats", "::renamed")),
            (0, of("delete", "--force", "--first", "1")),
            (0, of("delete", "--save-space", "--older", "1y")),
            (0, of("delete", "--cache-only")),
            (0, of("delete", "--cache-only", who=attacker)),
        ],
        "prune": [
            (0, of("prune", "--keep-last", "1", "--save-space", "--stats")),
            (0, of("prune", "--force", "--keep-within", "1d", who=attacker)),
        ],
        "undelete": [(0, of("undelete", "--dry-run", "-a", "day-*")), (2, of("undelete", "::nowhere"))],
        "protect": [(0, of("protect"))],
        "repair": [(0, of("repair")), (0, of("repair", who=attacker))],
        "transfer": [(2, of("transfer", "--from", str(program.repo)))],
        "replicate": [
            (0, of("replicate", "::", str(program.root / "copy"))),
            (0, of("repair", "--from", str(program.root / "copy"))),
        ],
        "with-lock": [(0, of("with-lock", "::", "true"))],
        "break-lock": [(0, of("break-lock"))],
        "key export": [(0, of("key", "export", "::", copy))],
        "key import": [(0, of("key", "import", "::", copy))],
        "key list": [(0, of("key", "list"))],
        "key add": [(0, of("key", "add", "--no-passphrase", "--output", "x.key", "::", "x"))],
        "key change-passphrase": [(0, of("key", "change-passphrase"))],
        "key revoke": [(0, of("key", "revoke", "::", "x")), (0, of("key", "revoke", "::", "laptop"))],
        "server init": [(0, of("server", "init", "--authorized-keys", f"{server}.keys", server))],
        "server add-client": [(0, of("server", "add-client", "web", "--key", f"{public}.pub"))],
        "server list": [(0, of("server", "list"))],
        "server set": [(0, of("server", "set", "web", "--quota", "5G"))],
        "server usage": [(0, of("server", "usage"))],
        "server prune": [(0, of("server", "prune", "--all", "--keep-secondly", "2"))],
        # after it, that is: what the owner deleted himself is in quarantine
        "server compact": [(0, of("server", "compact", "--all", "--threshold", "0"))],
        "server verify": [(0, of("server", "verify"))],
        "server rotate-key": [],  # these three never look into a repository
        "server remove-client": [],
        "serve": [],
        "config": [(0, of("config", "--list")), (2, of("config", "::", "append_only", "1"))],
        "upgrade": [(0, of("upgrade", "--disable-tam", "--force"))],
        "benchmark crud": [(0, of("benchmark", "crud", "::", str(program.root), small=True))],
        "key migrate-to-repokey": [(0, of("key", "migrate-to-repokey"))],
        "key export-related-secrets": [(2, of("key", "export-related-secrets", "::", copy))],
        "install-borg-alias": [(0, of("install-borg-alias", "--to", str(program.root)))],
        "debug info": [(0, of("debug", "info"))],
        "debug dump-manifest": [(0, of("debug", "dump-manifest", "::", "-"))],
        "debug id-hash": [(0, of("debug", "id-hash", "::", "src/file"))],
        "debug get-obj": [(2, of("debug", "get-obj", "::", "00" * 32, "-"))],
        "debug convert-profile": [(2, of("debug", "convert-profile", "nowhere", "-"))],
        "debug refcount-obj": [(2, of("debug", "refcount-obj", "::", "00" * 32))],
        "debug search-repo-objs": [(2, of("debug", "search-repo-objs", "::", "str:x"))],
        "debug dump-repo-objs": [(2, of("debug", "dump-repo-objs", "::"))],
        "debug dump-hints": [(2, of("debug", "dump-hints", "::", "-"))],
        "debug put-obj": [(2, of("debug", "put-obj", "::", "00" * 32, "src/file"))],
        "debug delete-obj": [(2, of("debug", "delete-obj", "::", "00" * 32))],
        "version": [(0, of("version"))],
        "help": [(0, of("help"))],
        "completion": [(0, of("completion", "bash"))],
    }


WAYS = ["folder", "server", "append-only server"]


@pytest.mark.parametrize("way", WAYS)
def test_after_a_malicious_deletion_no_command_frees_anything(
    kept: tuple[Program, Program], way: str
) -> None:
    """Whichever key runs it, and whatever the server lets its machine do."""
    program, attacker = kept
    assert program.names() == ["day-0", "day-1", "day-2"]
    repo = program.repo
    before = bodies(repo)
    runs = every_command(program, attacker)
    assert runs.keys() == {command.name for command in COMMANDS}, "a command is missing"
    if way != "folder":
        words = forced_words(Hosted(program, program.root / "srv"), "laptop")
        assert "--append-only" in words
        words = [word for word in words if way == "append-only server" or word != "--append-only"]
        for machine in (program, attacker):
            machine.env["STRONGROOM_RSH"] = direct_rsh(program.root, *words)
            machine.env["STRONGROOM_REPO"] = f"ssh://backup@server{repo}"
    for name, ways in runs.items():
        for code, run in ways:
            done = run(program)
            assert "Traceback" not in done.err and "Internal error" not in done.err, (name, done)
            # an append-only server refuses some of it
            assert done.code == code or way == WAYS[2], (name, done)
            assert bodies(repo).items() >= before.items(), f"{name} freed something"
    # what the administrator's own runs deleted is in quarantine
    assert program("compact", "--threshold", "0").code == (0 if way != WAYS[2] else 2)
    assert bodies(repo).items() >= before.items()
    program("undelete", "-a", "day-*").ok()
    for number in range(3):
        place = program.extract(f"day-{number}")
        assert (place / "src/file").read_text() == f"version {number}"
        assert len((place / f"src/only in {number}").read_bytes()) == 50_000
    program("check", "--verify-data").ok()


def test_what_was_undeleted_can_be_asked_for_again_and_comes_back_again(
    fallen: tuple[Program, Program],
) -> None:
    program, attacker = fallen
    before = bodies(program.repo)
    for _ in range(3):
        program("undelete", "-a", "day-*").ok()
        assert "asked for" not in program("list").ok().out
        attacker("delete", "--first", "3").ok()
    program("undelete", "-a", "day-*").ok()
    assert bodies(program.repo) == before


def test_a_planted_archive_does_not_take_the_name_of_one_that_it_asked_to_delete(
    fallen: tuple[Program, Program], src: Path
) -> None:
    program, attacker = fallen
    (src / "file").write_text("planted")
    assert "already exists" in attacker("create", "::day-1", "src").sentence()
    assert (program.extract("day-1") / "src/file").read_text() == "version 1"


def test_a_backup_key_cannot_rename_an_archive_out_of_the_way(fallen: tuple[Program, Program]) -> None:
    program, attacker = fallen
    program("undelete", "-a", "day-*").ok()
    before = bodies(program.repo)
    assert "key" in attacker("rename", "::day-1", "hidden").sentence()
    assert bodies(program.repo) == before and "day-1" in program.names()
