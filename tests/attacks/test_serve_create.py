"""The whole program over a real sshd: what breaks is told and made good, and nobody learns more."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshd import PROGRAM, Sshd, kill_children, needs_sshd, running, serve_command
from strongroom.server.quota import count

pytestmark = needs_sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running(tmp_path_factory.mktemp("sshd")) as server:
        yield server


class Client:
    """A machine with its own home and ssh key; the server gives it the folder of its name."""

    def __init__(self, sshd: Sshd, root: Path, name: str, *words: str, folder: str | None = None) -> None:
        self.sshd = sshd
        self.home = root / f"home-{name}"
        self.data = self.home / "data"
        self.data.mkdir(parents=True)
        self.place = root / (folder or name)
        self.place.mkdir(exist_ok=True)
        sshd.allow(name, serve_command(*words, "--client", name, "--restrict-to-path", str(self.place)))
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "STRONGROOM_BASE_DIR": str(self.home),
            "STRONGROOM_RSH": sshd.rsh(name),
            "STRONGROOM_REPO": sshd.url(str(self.place / "repo")),
            "STRONGROOM_PASSPHRASE": "secret",
            "STRONGROOM_EXIT_CODES": "modern",
        }

    def fill(self, name: str, size: int) -> None:
        (self.data / name).write_bytes(os.urandom(size))

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM, *words],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, code: int = 0) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, f"{words}: {process.returncode}\n{out}\n{err}"
        return out + err

    def packs(self) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in (self.place / "repo/packs").glob("*/*")}


def await_packs(client: Client, running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not client.packs():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("victim", ["server", "ssh"])
def test_a_create_that_broke_is_continued_by_the_next(sshd: Sshd, tmp_path: Path, victim: str) -> None:
    client = Client(sshd, tmp_path, victim, "--append-only", "--storage-quota", "300M")
    client.run("init", "--encryption=repokey")
    for number in range(6):
        client.fill(f"file{number}", 12_000_000)
    broken = client.start("create", "--upload-ratelimit", "30000", "::first", "data")
    await_packs(client, broken)
    if victim == "server":
        assert sshd.process is not None
        assert kill_children(sshd.process, ["serve", str(client.place)])
    else:
        assert kill_children(broken, ["-i"])  # it alone has such an option
    _, said = broken.communicate(timeout=60)
    assert broken.returncode == 81, said
    sentence = said.strip().splitlines()[-1]
    assert ("killed by signal 9" in sentence) or ("lost" in sentence)
    assert ("ssh, which carried" in sentence) == (victim == "ssh")

    arrived = client.packs()
    assert arrived
    client.run("create", "::second", "data")
    assert arrived.items() <= client.packs().items()
    # What had arrived was used: all of it together is hardly more than the data, once.
    assert sum(client.packs().values()) < 1.25 * 72_000_000
    assert "second" in client.run("list")
    client.run("check", "--verify-data")
    assert int((client.place / ".quota/used").read_text()) == count(str(client.place))


def test_a_write_only_client_goes_on_with_what_it_may_not_read(sshd: Sshd, tmp_path: Path) -> None:
    """What an interrupted run has stored is found by listing: packs are not to be read."""
    admin = Client(sshd, tmp_path, "owner", folder="mail")
    mail = Client(sshd, tmp_path, "mail", "--write-only", folder="mail")
    admin.run("init", "--encryption=keyfile")
    admin.run("key", "add", "--role", "backup", "--no-passphrase", "--output", "mail.key", "mail")
    (mail.home / "mail.key").write_bytes((admin.home / "mail.key").read_bytes())
    mail.run("key", "import", "::", "mail.key")
    for number in range(4):
        mail.fill(f"file{number}", 12_000_000)
    broken = mail.start("create", "--upload-ratelimit", "30000", "::first", "data")
    await_packs(mail, broken)
    broken.kill()
    broken.communicate(timeout=60)
    arrived = mail.packs()
    mail.run("create", "::second", "data")
    assert arrived and arrived.items() <= mail.packs().items()
    assert sum(mail.packs().values()) < 1.25 * 48_000_000
    admin.run("check", "--verify-data")


def test_two_machines_back_up_into_one_repository_at_once(sshd: Sshd, tmp_path: Path) -> None:
    one = Client(sshd, tmp_path, "one", "--append-only", folder="shared")
    two = Client(sshd, tmp_path, "two", "--append-only", folder="shared")
    one.run("init", "--encryption=repokey")
    for client in (one, two):
        client.fill("own", 3_000_000)
    for process in [client.start("create", f"::{client.home.name}", "data") for client in (one, two)]:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    listed = one.run("list", "--short").split()
    assert sorted(listed) == ["home-one", "home-two"]
    one.run("check", "--verify-data")


def test_a_full_quota_is_said_and_nothing_is_lost(sshd: Sshd, tmp_path: Path) -> None:
    client = Client(sshd, tmp_path, "full", "--append-only", "--storage-quota", "30M")
    client.run("init", "--encryption=repokey")
    client.fill("fits", 10_000_000)
    client.run("create", "::fits", "data")
    client.fill("does-not", 60_000_000)
    said = client.run("create", "::does-not", "data", code=20)
    assert "quota of 30000000 bytes" in said
    assert count(str(client.place)) <= 30_000_000
    (client.data / "does-not").unlink()
    client.fill("little", 100_000)
    client.run("create", "::little", "data")
    client.run("check", "--verify-data")


def test_a_backup_keys_machine_holds_nothing_that_opens_an_archive(sshd: Sshd, tmp_path: Path) -> None:
    """The attacker has the whole disk of the client, its ssh key and its environment."""
    admin = Client(sshd, tmp_path, "office", folder="web")
    web = Client(sshd, tmp_path, "web", "--write-only", folder="web")
    admin.run("init", "--encryption=keyfile")
    admin.run("key", "add", "--role", "backup", "--no-passphrase", "--output", "web.key", "web")
    del web.environment["STRONGROOM_PASSPHRASE"]
    (web.home / "web.key").write_bytes((admin.home / "web.key").read_bytes())
    web.run("key", "import", "::", "web.key")
    (web.data / "customers").write_text("the secret of all customers\n" * 50)
    web.run("create", "::monday", "data")
    web.run("create", "::tuesday", "data")
    (web.data / "customers").unlink()

    # With all that the machine has, through the server and with the server's own disk in hand.
    thief = Client(sshd, tmp_path, "thief", folder="web")
    thief.environment |= {"STRONGROOM_BASE_DIR": str(web.home), "HOME": str(web.home)}
    for words in (["extract", "::monday"], ["extract", "-r", str(web.place / "repo"), "monday"]):
        process = thief.start(*words)
        said = "".join(process.communicate(timeout=60))
        assert process.returncode not in (0, 1), said
        assert not (web.home / "data/customers").exists() and not (thief.home / "data/customers").exists()
    for place in (web.home, web.place):
        for path in place.rglob("*"):
            if path.is_file():
                assert b"secret of all customers" not in path.read_bytes()
    assert "sealed" in web.run("list") and "monday" not in web.run("list")

    admin.run("extract", "::tuesday")
    assert (admin.home / "data/customers").read_text().startswith("the secret of all customers")


def test_a_client_cannot_destroy_its_own_backups(sshd: Sshd, tmp_path: Path) -> None:
    client = Client(sshd, tmp_path, "fallen", "--append-only")
    client.run("init", "--encryption=repokey")
    client.fill("file", 100_000)
    client.run("create", "::precious", "data")
    before = {path: path.read_bytes() for path in (client.place / "repo").rglob("*") if path.is_file()}
    client.environment["STRONGROOM_DELETE_I_KNOW_WHAT_I_AM_DOING"] = "YES"
    for words in (["delete", "::precious"], ["delete"]):
        process = client.start(*words)
        process.communicate(timeout=60)
    after = {path: path.read_bytes() for path in (client.place / "repo").rglob("*") if path.is_file()}
    assert before.items() <= after.items()


def test_space_is_freed_over_ssh_by_who_may_delete_and_by_nobody_else(sshd: Sshd, tmp_path: Path) -> None:
    """The same repository through two ssh keys: one appends only, the other may delete."""
    owner = Client(sshd, tmp_path, "owner")
    machine = Client(sshd, tmp_path, "machine", "--append-only", folder="owner")
    machine.environment |= {"STRONGROOM_BASE_DIR": str(owner.home)}
    owner.run("init", "--encryption=repokey")
    owner.fill("stays", 300_000)
    machine.run("create", "::one", str(owner.data / "stays"))
    owner.fill("goes", 5_000_000)
    machine.run("create", "::two", str(owner.data))
    machine.run("delete", "::two")
    before = owner.packs()
    told = machine.run("compact", "--quarantine", "0", code=72)
    assert "server compact" in told and len(told.splitlines()) == 1
    assert owner.packs() == before
    assert "freed" in owner.run("compact", "--quarantine", "0", "--stats")
    assert sum(owner.packs().values()) < sum(before.values()) - 4_900_000
    owner.run("check", "--verify-data")
    machine.run("extract", "--verify", "--to", str(tmp_path / "out"), "::one")
