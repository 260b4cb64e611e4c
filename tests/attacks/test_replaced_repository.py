"""A server that hands out a repository of its own making, in place of the client's."""

import shutil
from pathlib import Path

import pytest

from strongroom.commands.init import InitOptions, init_repository
from strongroom.commands.opening import Directories, Need, open_repository
from strongroom.crypto import keys
from strongroom.errors import AccessAborted, KeyMissing, PassphraseWrong
from strongroom.repository import keyring
from strongroom.store.local import LocalStore


class Passphrase:
    def __init__(self, text: str) -> None:
        self._text = text

    def existing(self, subject: str, attempt: int) -> str:
        if attempt > 1:
            raise PassphraseWrong(subject)
        return self._text

    def new(self, subject: str) -> str:
        return self._text

    def at_hand(self) -> str:
        return self._text


def _directories(home: Path) -> Directories:
    return Directories(home / "config", home / "cache", home / "keys", home / "security")


def _yes(question: str, variable: str) -> bool:
    return True


def _no(question: str, variable: str) -> bool:
    return False


def _found(path: Path, home: Path, passphrase: str) -> None:
    init_repository(str(path), InitOptions("repokey"), _directories(home), Passphrase(passphrase))


def _plant_open_key(path: Path, home: Path, passphrase: str) -> None:
    """What a hostile server does: leave the admin key of its own repository unwrapped in it."""
    with open_repository(
        str(path), _directories(home), Passphrase(passphrase), confirm=_yes, need=Need.ADMIN
    ) as opened:
        secrets = opened.require_key()
    keyring.store_in_repository(LocalStore.open(str(path)), keys.wrap(secrets, None))


def test_key_without_passphrase_inside_an_encrypted_repository_is_not_believed(tmp_path: Path) -> None:
    _found(tmp_path / "repository", tmp_path / "attacker", "known to the attacker")
    _plant_open_key(tmp_path / "repository", tmp_path / "attacker", "known to the attacker")
    with pytest.raises((KeyMissing, PassphraseWrong)):
        open_repository(
            str(tmp_path / "repository"),
            _directories(tmp_path / "victim"),
            Passphrase("the victim's"),
            confirm=_yes,
            need=Need.WRITE,
        )


def test_other_repository_at_a_known_location_is_asked_about(tmp_path: Path) -> None:
    _found(tmp_path / "repository", tmp_path / "victim", "same")
    shutil.rmtree(tmp_path / "repository")
    _found(tmp_path / "repository", tmp_path / "attacker", "same")
    with pytest.raises(AccessAborted, match="replaced"):
        open_repository(
            str(tmp_path / "repository"), _directories(tmp_path / "victim"), Passphrase("same"), confirm=_no
        )
