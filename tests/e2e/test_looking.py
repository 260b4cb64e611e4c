"""diff, find, compare, cat, du, analyze, export-tar and import-tar, on a server as on this machine."""

import os
from pathlib import Path

import pytest

from program import Program, patterned
from sshd import needs_sshd, running, serve_command

RUNS: list[list[str]] = [
    ["diff", "::one", "two"],
    ["diff", "--json-lines", "::two", "one"],
    ["find", "--json-lines", "large"],
    ["find", "--same-as", "src/small"],
    ["compare", "--content", "::one"],
    ["cat", "::two", "src/small", "src/large"],
    ["du", "--all", "::one"],
    ["analyze", "--json-lines"],
    ["export-tar", "::one", "-"],
    ["list", "--format", "{health} {dsize} {sha256} {path}{NL}", "::two"],
]


@pytest.fixture
def tree(src: Path) -> Path:
    (src / "folder").mkdir()
    (src / "folder/large").write_bytes(patterned(2_000_000))
    (src / "large").write_bytes(patterned(1_500_000))
    (src / "small").write_text("small")
    (src / "link").symlink_to("small")
    return src


@needs_sshd
def test_every_command_says_over_ssh_what_it_says_here(program: Program, tree: Path) -> None:
    with running(program.root) as server:
        server.allow("client", serve_command("--append-only"))
        remote = {
            "STRONGROOM_REPO": server.url(str(program.repo)),
            "STRONGROOM_RSH": server.rsh("client"),
            "STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK": "yes",
            "STRONGROOM_BASE_DIR": str(program.root / "elsewhere"),
        }
        local = {"STRONGROOM_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
        program("init", "--encryption=repokey", env=remote).ok()
        program("create", "::one", "src", env=remote).ok()
        (tree / "folder/large").write_bytes(patterned(2_100_000))
        (tree / "small").write_text("changed")
        os.unlink(tree / "link")
        program("create", "::two", "src", env=remote).ok()
        for words in RUNS:
            there, here = program(*words, env=remote).ok(), program(*words, env=local).ok()
            assert there.raw == here.raw != b"", words
        exported = program("export-tar", "::two", "-", env=remote).ok().raw
        program("import-tar", "::three", "-", stdin=exported, env=remote).ok()
        assert program("diff", "::two", "three", env=local).ok().out == ""
