"""The attacker has the network: ssh keeps confidence and integrity, and strongroom leaves it to."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshd import SSHD, Sshd, keygen, running, serve_command
from strongroom.archive.streams import start
from strongroom.cli.passphrase import _from_command
from strongroom.errors import ConnectionLost
from strongroom.store.location import parse_location
from strongroom.store.ssh import SshOptions, SshStore, ssh_command


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    if SSHD is None and "CI" not in os.environ:  # there its absence is a failure
        pytest.skip("sshd is not installed")
    with running(tmp_path) as server:
        server.allow("laptop", serve_command("--append-only", "--restrict-to-path", str(tmp_path)))
        yield server


@pytest.mark.parametrize("known", ["another key", "no key"])
def test_a_man_in_the_middle_is_not_spoken_to(sshd: Sshd, tmp_path: Path, known: str) -> None:
    """He answers at the server's address with a key of his own."""
    keygen(tmp_path / "true-host")
    line = f"[127.0.0.1]:{sshd.port} {(tmp_path / 'true-host.pub').read_text()}"
    (tmp_path / "known_hosts").write_text(line if known == "another key" else "")
    with pytest.raises(ConnectionLost, match="Host key verification failed"):
        SshStore.create(parse_location(sshd.url(str(tmp_path / "repo"))), SshOptions(rsh=sshd.rsh("laptop")))
    assert not (tmp_path / "repo").exists()


def test_no_option_of_ssh_weakens_it() -> None:
    words = ssh_command(parse_location("ssh://me@host/./repo"), SshOptions())
    given = [after for word, after in itertools.pairwise(words) if word == "-o"]
    assert {option.split("=")[0] for option in given} <= {
        "ServerAliveInterval",
        "ServerAliveCountMax",
        "BatchMode",
        "Compression",
    }
    assert not {"-A", "-Y", "-X", "-4", "-6"} & set(words)


def test_the_passphrase_is_given_to_no_program_that_we_start(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SendEnv`, a proxy command, whoever lists the processes: none of them finds it."""
    for name in ("STRONGROOM_PASSPHRASE", "STRONGROOM_NEW_PASSPHRASE", "BORG_PASSPHRASE"):
        monkeypatch.setenv(name, "seen by nobody")
    store = SshStore.create(
        parse_location(sshd.url(str(tmp_path / "repo"))), SshOptions(rsh=sshd.rsh("laptop"))
    )
    try:
        seen = 0
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes()
                around = (process / "environ").read_bytes()
            except OSError:
                continue
            assert b"seen by nobody" not in words
            if b"serve" in words and os.fsencode(tmp_path) in words:
                seen += 1
                assert b"seen by nobody" not in around
        assert seen >= 2  # ssh here, serve there
    finally:
        store.close()
    for told in (start(["env"]).communicate(timeout=60)[0], _from_command("env").encode()):
        assert b"PATH=" in told and b"seen by nobody" not in told
