"""What each key can do, and what a thief of a backup key's whole machine cannot."""

import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from program import Program
from strongroom.crypto import sealing
from strongroom.ids import PackId
from strongroom.repository import packs
from strongroom.store.local import LocalStore

SECRET_NAME, SECRET_TEXT, SECRET_ARCHIVE = (
    "merger-with-acme.txt",
    "we buy them in May" * 9,
    "before-the-merger",
)


def holder(admin: Program, role: str) -> Program:
    """A machine of its own that holds a key of that role."""
    made = admin.another(role)
    blob = admin("key", "add", "--role", role, "--no-passphrase", role).ok().raw
    made("key", "import", "-", stdin=blob).ok()
    # the admin's key in the repository is of no use without its passphrase
    made.env["STRONGROOM_PASSPHRASE"] = "guessed"
    return made


@pytest.fixture
def keyfile(program: Program, src: Path) -> Program:
    """A repository whose admin key is not in it."""
    program("init", "-e", "keyfile").ok()
    (src / SECRET_NAME).write_text(SECRET_TEXT)
    (src / "other").write_text("nothing special")
    return program


@pytest.fixture
def machine(keyfile: Program) -> Program:
    """A client with a backup key that has made two archives."""
    made = holder(keyfile, "backup")
    made("create", f"::{SECRET_ARCHIVE}", "src").ok()
    made("create", "::again", "src").ok()
    return made


def test_a_backup_key_writes_and_the_admin_reads(keyfile: Program, machine: Program) -> None:
    assert sorted(keyfile.names()) == sorted([SECRET_ARCHIVE, "again"])
    assert (keyfile.extract("again") / "src" / SECRET_NAME).read_text() == SECRET_TEXT
    keyfile("check", "--verify-data").ok()


def test_a_backup_key_opens_nothing_not_even_its_own_archives(machine: Program) -> None:
    attempts: list[list[str]] = [
        ["extract", f"::{SECRET_ARCHIVE}"],
        ["extract", "--stdout", "::again"],
        ["list", "::again"],
        ["rename", "::again", "other"],
        ["key", "add", "another"],
    ]
    for words in attempts:
        done = machine(*words)
        assert done.code == 2, (words, done)
        assert "key" in done.sentence()
        assert SECRET_NAME not in done.out + done.err
    for words in (["list"], ["info"], ["list", "--json"], ["info", "::again"], ["check"]):
        done = machine(*words)
        assert SECRET_NAME not in done.out and SECRET_ARCHIVE not in done.out + done.err, words
        assert "Internal error" not in done.err and "Traceback" not in done.err, done.err


def files_below(*tops: Path) -> Iterator[bytes]:
    for top in tops:
        for path in sorted(top.rglob("*")):
            if path.is_file():
                yield path.read_bytes()


def test_the_thief_of_the_whole_client_finds_no_plaintext(machine: Program) -> None:
    """The machine's cache, configuration and temporary files tell no name and no content."""
    base = Path(machine.env["STRONGROOM_BASE_DIR"])
    taken = list(files_below(base, machine.repo))
    assert len(taken) > 8
    for word in (SECRET_NAME, SECRET_TEXT[:18], SECRET_ARCHIVE):
        assert not any(word.encode() in content for content in taken), word


def attack(repo: Path, loot: Iterator[bytes]) -> list[bytes]:
    """Every 32 bytes that lie anywhere in the loot, tried as the key of every session; what opens."""
    store = LocalStore(str(repo))
    windows: set[bytes] = set()
    for content in loot:
        windows.update(content[at : at + 32] for at in range(len(content) - 31))
    windows = {window for window in windows if len(set(window)) > 8}
    opened = []
    (config,) = (repo / "config",)
    identity = _repository_id(config)
    for listed in store.list("packs/"):
        pack = PackId(bytes.fromhex(listed.name.rsplit("/", 1)[1]))
        trailer = packs.read_trailer(store, pack, listed.size)
        bundle = min(trailer.bundles, key=lambda one: one.length)
        session = trailer.sessions[bundle.session]
        stored = store.get(listed.name, bundle.offset, bundle.length)
        cipher = ChaCha20Poly1305 if session.algorithm == sealing.HPKE_CHACHA20POLY1305 else AESGCM
        nonce = struct.pack("<4xQ", struct.unpack_from("<Q", stored)[0])
        data = sealing.associated_data(identity, session.id, bundle.kind)
        for window in windows:
            try:
                opened.append(cipher(window).decrypt(nonce, stored[8:], data))
            except InvalidTag:
                continue
    return opened


def _repository_id(config: Path) -> Any:
    from strongroom.repository import founding

    return founding.decode(config.read_bytes(), "here")[0]


def leak_session_keys(to: Path) -> Callable[[], None]:
    def hook() -> None:
        real = os.urandom

        def leaking(size: int) -> bytes:
            drawn = real(size)
            with open(to, "ab") as stream:
                stream.write(drawn)
            return drawn

        os.urandom = leaking

    return hook


def test_no_bytes_on_the_client_are_a_session_key(keyfile: Program, src: Path) -> None:
    machine = holder(keyfile, "backup")
    machine("create", f"::{SECRET_ARCHIVE}", "src").ok()
    base = Path(machine.env["STRONGROOM_BASE_DIR"])
    assert attack(machine.repo, files_below(base)) == []
    # and a client that kept its session key would be found out
    (src / "new").write_text("more")
    leaked = machine.root / "leaked"
    machine("create", "::leaky", "src", before=leak_session_keys(leaked)).ok()
    assert attack(machine.repo, iter([leaked.read_bytes()])) != []


def test_a_restore_key_reads_and_writes_nothing(keyfile: Program, machine: Program) -> None:
    reader = holder(keyfile, "restore")
    assert sorted(reader.names()) == sorted([SECRET_ARCHIVE, "again"])
    assert (reader.extract("again") / "src" / SECRET_NAME).read_text() == SECRET_TEXT
    for words in (
        ["create", "::x", "src"],
        ["delete", "::again"],
        ["rename", "::again", "x"],
        ["key", "add", "y"],
    ):
        done = reader(*words)
        assert done.code == 2 and "key" in done.sentence(), words
    assert sorted(keyfile.names()) == sorted([SECRET_ARCHIVE, "again"])


def test_a_revoked_key_writes_no_more(keyfile: Program, machine: Program) -> None:
    keyfile("key", "revoke", "backup").ok()
    done = machine("create", "::late", "src")
    assert done.code == 2 and "revoked" in done.sentence()
    assert (keyfile.extract("again") / "src" / SECRET_NAME).exists()


def test_a_key_of_another_repository_is_not_taken(keyfile: Program) -> None:
    other = {"STRONGROOM_REPO": str(keyfile.root / "other")}
    keyfile("init", "-e", "repokey", env=other).ok()
    foreign = keyfile("key", "export", "-r", other["STRONGROOM_REPO"], env=other).ok().raw
    done = keyfile("key", "import", "-", stdin=foreign)
    assert done.code == 2 and "is for repository" in done.sentence()


# --- the way back ---


def test_key_export_and_import(sr: Program, src: Path) -> None:
    (src / "f").write_text("x")
    sr("create", "::a", "src").ok()
    sr("key", "export", "copy").ok()
    assert (sr.cwd / "copy").stat().st_mode & 0o777 == 0o600
    shutil.rmtree(sr.repo / "keys")
    sr.lose_cache()
    assert "key" in sr("list").sentence().lower()
    sr("key", "import", "copy").ok()
    assert (sr.extract("a") / "src/f").read_text() == "x"


def test_recovery_from_paper(sr: Program, src: Path) -> None:
    (src / "f").write_text("x")
    sr("create", "::a", "src").ok()
    paper = sr("key", "export", "--paper").ok().out
    shutil.rmtree(sr.repo / "keys")
    shutil.rmtree(sr.root / "base")
    lines = [
        line.split(":")[1].strip() for line in paper.splitlines() if line.split(":")[0].strip().isdigit()
    ]
    assert len(lines) > 20
    slip = ("W" if lines[1][0] != "W" else "X") + lines[1][1:]
    typed = [lines[0].lower(), slip, lines[2], *lines[1:]]  # two slips, each told at once
    done = sr("key", "import", "--paper", stdin="\n".join([*typed, ""]).encode()).ok()
    assert done.err.count("Line 1 is not as printed") == 2, done.err
    assert (sr.extract("a") / "src/f").read_text() == "x"


def test_a_changed_passphrase(sr: Program, src: Path) -> None:
    (src / "f").write_text("x")
    sr("create", "::a", "src").ok()
    sr("key", "change-passphrase", env={"STRONGROOM_NEW_PASSPHRASE": "another"}).ok()
    assert sr("list").code == 2
    sr.env["STRONGROOM_PASSPHRASE"] = "another"
    assert (sr.extract("a") / "src/f").read_text() == "x"
    sr("check", "--verify-data").ok()
