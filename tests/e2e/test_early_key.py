"""A key is derived while the program loads: only where a guess is safe, and never twice."""

import pytest

from program import Program
from strongroom.crypto import argon, keyformat
from strongroom.repository import keyfiles
from strongroom.repository.keyfiles import FoundKey, Need


@pytest.fixture
def counted(sr: Program, monkeypatch: pytest.MonkeyPatch) -> Program:
    """It says on standard error in which thread it derives a key. The runs are forks of this process."""
    true = argon.derive

    def derive(kdf: keyformat.Kdf, passphrase: str) -> bytes:
        import sys
        import threading

        print(f"derived in {threading.current_thread().name}", file=sys.stderr)
        return true(kdf, passphrase)

    monkeypatch.setattr(argon, "derive", derive)
    return sr


def test_the_key_of_a_known_repository_is_derived_beside_once(counted: Program) -> None:
    assert counted("list").err == "derived in argon2id\n"


def test_a_typed_or_wrong_passphrase_ends_as_ever(counted: Program) -> None:
    wrong = counted("list", env={"STRONGROOM_PASSPHRASE": "wrong"})
    assert "does not open" in wrong.err and wrong.err.count("derived") == 1
    asked = counted("list", env={"STRONGROOM_PASSPHRASE": None})
    assert "no terminal" in asked.err and "derived" not in asked.err


def test_a_stranger_is_derived_as_soon_as_its_key_is_there(counted: Program) -> None:
    fresh = {"STRONGROOM_BASE_DIR": str(counted.root / "elsewhere")}
    done = counted("list", env=fresh)
    assert done.code == 0 and done.err.count("derived in argon2id") == 1


@pytest.mark.parametrize(
    ("memory", "passes", "role", "guessed"),
    [
        (keyformat.ARGON2_MEMORY, keyformat.ARGON2_PASSES, "admin", True),
        (keyformat.ARGON2_MEMORY * 2, keyformat.ARGON2_PASSES, "admin", False),
        (keyformat.ARGON2_MEMORY, keyformat.ARGON2_PASSES + 1, "admin", False),
        (keyformat.ARGON2_MEMORY, keyformat.ARGON2_PASSES, "backup", False),
    ],
)
def test_what_is_dearer_than_our_own_is_not_begun_on_a_guess(
    memory: int, passes: int, role: keyformat.Role, guessed: bool
) -> None:
    kdf = keyformat.Kdf("argon2id", bytes(16), passes, 4, memory)
    header = keyformat.Header(1, bytes(32), bytes(16), "name", role, kdf, bytes(12))
    found = [FoundKey(keyformat.KeyFile(header, b"", b""), "here", None)]
    assert (keyfiles.likely(found, Need.READ.value) is not None) == guessed


def test_no_guess_where_a_key_without_passphrase_will_do() -> None:
    kdf = keyformat.Kdf("argon2id", bytes(16), 1, 1, 64)
    headers = [
        keyformat.Header(1, bytes(32), bytes(16), "name", "admin", one, bytes(12)) for one in (kdf, None)
    ]
    found = [FoundKey(keyformat.KeyFile(header, b"", b""), "here", None) for header in headers]
    assert keyfiles.likely(found, Need.READ.value) is None
