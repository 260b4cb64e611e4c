"""Where passphrases come from: environment, command, file descriptor, or a prompt. Borg's order."""

import os
import sys
from collections.abc import Callable

from strongroom.cli.environment import Environment
from strongroom.cli.questions import Questions
from strongroom.errors import NoPassphrase, PasscommandFailed, PassphraseTriesExceeded, PassphraseWrong
from strongroom.secretless import secretless_environment

_MAX_BYTES = 1 << 20  # of what a command or descriptor gives
_GUESSES = 3  # at the passphrase of a key, as Borg
_TRIES = 10  # at typing a new passphrase twice


def prompt_on_terminal(question: str) -> str:
    """Ask on the controlling terminal without echo. Raises `NoPassphrase` if there is none.

    Standard input is never read: it may carry the data of a backup.
    """
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        raise NoPassphrase(
            "A passphrase is needed, but there is no terminal to ask on. "
            "Set STRONGROOM_PASSPHRASE, STRONGROOM_PASSCOMMAND or STRONGROOM_PASSPHRASE_FD."
        ) from None
    os.close(descriptor)
    import getpass

    try:
        return getpass.getpass(question)
    except EOFError:
        raise NoPassphrase("The passphrase prompt was ended without an answer.") from None


class EnvironmentPassphrases:
    """The `PassphraseSource` of the command line."""

    def __init__(
        self,
        environment: Environment,
        questions: Questions,
        prompt: Callable[[str], str] = prompt_on_terminal,
    ) -> None:
        self._environment = environment
        self._questions = questions
        self._prompt = prompt
        self._unattended: tuple[str, str] | None = None  # a descriptor can be read only once

    def existing(self, subject: str, attempt: int) -> str:
        """The passphrase of an existing key; `attempt` counts from 1.

        Raises `NoPassphrase`, `PasscommandFailed`, `PassphraseWrong` where asking again is useless, and
        `PassphraseTriesExceeded` when it was asked often enough.
        """
        found = self._from_environment()
        if found is None:
            if attempt > _GUESSES:
                raise PassphraseTriesExceeded(f"No passphrase that was typed opens {subject}.")
            retry = "Wrong passphrase, try again. " if attempt > 1 else ""
            return self._prompt(f"{retry}Enter passphrase for {subject}: ")
        passphrase, origin = found
        if attempt > 1:
            raise PassphraseWrong(f"The passphrase from {origin} does not open {subject}.")
        return passphrase

    def at_hand(self) -> str | None:
        """What need not be typed. Raises `NoPassphrase`, `PasscommandFailed`."""
        found = self._from_environment()
        return None if found is None else found[0]

    def new(self, subject: str) -> str:
        """A passphrase for a new key, or in place of an old one; typed twice at a prompt."""
        fresh = self._environment.get("NEW_PASSPHRASE")
        if fresh is not None:
            return fresh
        found = self._from_environment()
        if found is not None:
            return found[0]
        for _ in range(_TRIES):
            passphrase = self._prompt(f"Enter new passphrase for {subject}: ")
            if not passphrase:
                print("The passphrase must not be blank.", file=sys.stderr)
                continue
            if passphrase != self._prompt("Enter same passphrase again: "):
                print("The passphrases do not match.", file=sys.stderr)
                continue
            self._offer_display(passphrase)
            return passphrase
        raise NoPassphrase(f"No passphrase was typed the same twice in {_TRIES} tries.")

    def _offer_display(self, passphrase: str) -> None:
        question = "Do you want your passphrase to be displayed for verification? [yN]: "
        if not self._questions.ask(question, "DISPLAY_PASSPHRASE"):
            return
        print(f'Your passphrase (between double-quotes): "{passphrase}"', file=sys.stderr)
        if not passphrase.isascii():
            print(f"Its UTF-8 bytes in hex: {passphrase.encode().hex()}", file=sys.stderr)
        print("Make sure that this is exactly what you meant, and keep it safe.", file=sys.stderr)

    def _from_environment(self) -> tuple[str, str] | None:
        """(passphrase, the variable's name), or None to ask."""
        if self._unattended is None:
            for name, read in (
                ("PASSPHRASE", lambda value: value),
                ("PASSCOMMAND", _from_command),
                ("PASSPHRASE_FD", _from_descriptor),
            ):
                value = self._environment.get(name)
                if value is not None:
                    self._unattended = read(value), str(self._environment.name_of(name))
                    break
        return self._unattended


def _from_command(command: str) -> str:
    import shlex
    import subprocess

    try:
        words = shlex.split(command)
        if not words:
            raise PasscommandFailed("The passphrase command is empty.")
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True, env=secretless_environment())
    except subprocess.CalledProcessError as error:
        raise PasscommandFailed(
            f"The passphrase command {command!r} failed: {str(error).rstrip('.')}."
        ) from error
    except (OSError, ValueError) as error:
        raise PasscommandFailed(f"The passphrase command {command!r} cannot be run: {error}.") from error
    return _text(done.stdout, "the passphrase command")


def _from_descriptor(number: str) -> str:
    try:
        with os.fdopen(int(number), "rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise NoPassphrase(f"The passphrase descriptor {number!r} cannot be read: {error}.") from error
    return _text(data, "the passphrase descriptor")


def _text(data: bytes, origin: str) -> str:
    if len(data) > _MAX_BYTES:
        raise NoPassphrase(f"What {origin} gave is too long for a passphrase.")
    try:
        return data.decode().rstrip("\n")
    except UnicodeDecodeError:
        raise NoPassphrase(f"What {origin} gave is no UTF-8 text.") from None
