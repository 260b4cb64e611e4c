"""docs/server.md, word for word: its blocks are run on two "machines", with a real sshd between them."""

import filecmp
import os
import re
import subprocess
import sys
from pathlib import Path

from sshd import Sshd, needs_sshd, running

GUIDE = Path(__file__).parents[2] / "docs/server.md"
BLOCK = re.compile(r"^```sh (server|client)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Machines:
    """A home folder each. Names of the page that belong to the real world are led to the test's own."""

    def __init__(self, root: Path, sshd: Sshd) -> None:
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir()
        for role in ("server", "client"):
            (root / role / ".ssh").mkdir(parents=True)
        self._script("strongroom", f'exec {sys.executable} -m strongroom "$@"')
        # The client's ssh knows the server under the page's name.
        self._script(
            "ssh",
            'for word; do shift; [ "$word" = backup@server ] && '
            f'set -- "$@" -p {sshd.port} {sshd.user}@127.0.0.1 || set -- "$@" "$word"; done\n'
            f'exec /usr/bin/env ssh-real -F none -o UserKnownHostsFile={sshd.folder}/known_hosts "$@"',
        )
        (self.bin / "ssh-real").symlink_to("/usr/bin/ssh")
        self._script("scp", f'cp "$1" "{root}/server/${{2#*:}}"')
        (root / "server/.ssh/authorized_keys").symlink_to(sshd.authorized_keys)
        documents = root / "client/documents"
        documents.mkdir()
        (documents / "letter.txt").write_text("Dear reader\n" * 1000)
        (documents / "photo").write_bytes(os.urandom(2_000_000))
        (documents / "cache").mkdir()
        (documents / "cache/CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
        (documents / "cache/junk").write_text("junk")
        self._exports: dict[str, dict[str, str]] = {"server": {}, "client": {}}

    def _script(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def run(self, role: str, text: str) -> str:
        """A block, in a shell that stops at the first failure; what is exported stays for the next one."""
        text = text.replace("/srv/", f"{self.root}/srv/")
        if role == "server":
            # sshd's own search path has no strongroom of this test's.
            text = text.replace("; strongroom serve", f"; {self.bin}/strongroom serve")
        else:
            text = re.sub(r"^export (STRONGROOM|BORG)_RSH", r"unset ${!STRONGROOM_*}; export \1_RSH", text)
        done = subprocess.run(
            ["/bin/bash", "-euc", f"cd ~\n{text}\nenv -0 > {self.root}/env"],
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.root / role), **self._exports[role]},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        pairs = (pair.partition("=") for pair in (self.root / "env").read_text().split("\0") if pair)
        self._exports[role] = {k: v for k, _, v in pairs if k.startswith(("STRONGROOM_", "BORG_"))}
        return done.stdout + done.stderr


@needs_sshd
def test_the_server_guide_works_word_for_word(tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    (tmp_path / "sshd").mkdir()
    with running(tmp_path / "sshd") as sshd:
        machines = Machines(tmp_path, sshd)
        blocks = BLOCK.findall(GUIDE.read_text())
        assert len(blocks) >= 8
        said = [machines.run(role, text) for role, text in blocks]
    everything = "\n".join(said)
    assert "rc 0" in everything
    assert re.search(r"^laptop .*append-only.*SHA256:", everything, re.MULTILINE)
    assert re.search(r"^laptop .* of 500\.00 GB \(0\.0%\), 1 repository$", everything, re.MULTILINE)
    home = tmp_path / "client"
    restored = home / "restored" / str(home).lstrip("/") / "documents"
    assert filecmp.cmpfiles(home / "documents", restored, ["letter.txt", "photo"], shallow=False)[0] == [
        "letter.txt",
        "photo",
    ]
    assert not (restored / "cache/junk").exists()
    assert (tmp_path / "srv/strongroom/laptop/config").exists()
    assert (tmp_path / "srv/borg/client1/repo/config").exists()
    assert "PRIVATE" not in everything
