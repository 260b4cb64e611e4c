"""Argon2id begun before it is asked for: used for what it was begun for, and for nothing else."""

import threading

import pytest

from strongroom.crypto import argon
from strongroom.crypto.deriving import EarlyDerivation
from strongroom.crypto.keyformat import Kdf

KDF = Kdf("argon2id", bytes(16), 1, 1, 64)
OTHER = Kdf("argon2id", bytes(15) + b"1", 1, 1, 64)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each derivation, whether it was in the main thread."""
    seen: list[bool] = []
    true = argon.derive

    def derive(kdf: Kdf, passphrase: str) -> bytes:
        seen.append(threading.current_thread() is threading.main_thread())
        return true(kdf, passphrase)

    monkeypatch.setattr(argon, "derive", derive)
    return seen


def test_what_was_begun_is_used_once(runs: list[bool]) -> None:
    early = EarlyDerivation()
    early.begin(KDF, "x")
    early.begin(OTHER, "y")  # the first guess counts
    first, second = early(KDF, "x"), early(KDF, "x")
    assert first == second
    assert runs == [False, True]


@pytest.mark.parametrize(("kdf", "passphrase"), [(OTHER, "x"), (KDF, "y")])
def test_a_wrong_guess_counts_for_nothing(runs: list[bool], kdf: Kdf, passphrase: str) -> None:
    early = EarlyDerivation()
    early.begin(KDF, "x")
    assert early(kdf, passphrase) == EarlyDerivation()(kdf, passphrase) != EarlyDerivation()(KDF, "x")
    assert "argon2id" not in {one.name for one in threading.enumerate()}


def test_what_nobody_asked_for_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ended = threading.Event(), threading.Event()

    def derive(kdf: Kdf, passphrase: str) -> bytes:
        asked.set()
        ended.wait(10)
        return b""

    monkeypatch.setattr(argon, "derive", derive)
    early = EarlyDerivation()
    early.begin(KDF, "x")
    assert asked.wait(10)
    threading.Timer(0.01, ended.set).start()
    early.give_up()
    assert "argon2id" not in {one.name for one in threading.enumerate()}


def test_an_error_is_raised_where_the_key_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(kdf: Kdf, passphrase: str) -> bytes:
        raise MemoryError

    monkeypatch.setattr(argon, "derive", exhausted)
    early = EarlyDerivation()
    early.begin(KDF, "x")
    with pytest.raises(MemoryError):
        early(KDF, "x")
