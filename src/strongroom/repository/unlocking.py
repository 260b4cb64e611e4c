"""What opens a key: a passphrase, and its slow derivation, begun as soon as both are likely enough.

Guesses cost time on another core and nothing else: what is derived counts only for the very parameters
and the passphrase that are used in the end.
"""

from pathlib import Path
from typing import Protocol

from strongroom.crypto.deriving import EarlyDerivation
from strongroom.errors import StrongroomError
from strongroom.repository import keyfiles
from strongroom.repository.keyfiles import FoundKey, Need
from strongroom.repository.places import Directories, Places


class PassphraseSource(Protocol):
    def existing(self, subject: str, attempt: int) -> str:
        """A passphrase to open a key; `attempt` counts from 1. Raises `NoPassphrase`,
        `PasscommandFailed`, and `PassphraseWrong` when there is no other to try."""

    def new(self, subject: str) -> str:
        """A passphrase for a new key, or in place of an old one."""

    def at_hand(self) -> str | None:
        """What `existing` gives first, if it gives that without asking. Raises as that does."""


class Unlocking:
    """How the key of one run is opened."""

    def __init__(self, passphrases: PassphraseSource) -> None:
        self.passphrases = passphrases
        self.derive = EarlyDerivation()

    def foresee(self, location: str, directories: Directories, need: Need) -> None:
        """Begin before anything of the repository is read, if this machine knows it.

        Raises what the source of passphrases does; what is wrong with key files is told when they are used.
        """
        known = Places(directories.security).repository_at(location)
        if known is None:
            return
        try:
            if directories.key_file is not None:
                found = [keyfiles.named(known, directories.key_file)]
            else:
                found = keyfiles.in_folder(known, directories.keys)
                # a repository on this machine holds its own as files, too
                inside = keyfiles.in_folder(known, Path(location) / "keys")
                found += [FoundKey(one.file, one.where, None) for one in inside]
        except StrongroomError:
            return
        self.begin(found, need)

    def begin(self, found: list[FoundKey], need: Need) -> None:
        """Begin with the key of these that will be opened. Raises as `foresee` does."""
        likely = keyfiles.likely(found, need.value)
        if likely is None or likely.header.kdf is None:
            return
        passphrase = self.passphrases.at_hand()
        if passphrase is not None:
            self.derive.begin(likely.header.kdf, passphrase)
