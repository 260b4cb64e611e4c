"""Argon2id begun early: it takes longer than all else at the start of a command, on a core of its own."""

from threading import Thread

from strongroom.crypto import argon
from strongroom.crypto.keyformat import Kdf


class EarlyDerivation:
    """An `argon.Derive` that may have begun before it is asked. One thread at a time; nothing is kept."""

    def __init__(self) -> None:
        self._begun: _Derivation | None = None

    def give_up(self) -> None:
        """Wait for what nobody asked for, and forget it."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.join()

    def begin(self, kdf: Kdf, passphrase: str) -> None:
        """Once; a guess that turns out wrong costs its time, and nothing else."""
        if self._begun is None:
            self._begun = _Derivation(kdf, passphrase)

    def __call__(self, kdf: Kdf, passphrase: str) -> bytes:
        """Raises `MemoryError`."""
        begun, self._begun = self._begun, None
        if begun is None:
            return argon.derive(kdf, passphrase)
        if (begun.kdf, begun.passphrase) != (kdf, passphrase):
            derived = argon.derive(kdf, passphrase)
            begun.join()  # after, so that both took their time at once; no thread outlives its question
            return derived
        begun.join()
        if isinstance(begun.outcome, BaseException):
            raise begun.outcome
        return begun.outcome


class _Derivation(Thread):
    # no daemon: the interpreter would tear it down inside of the library
    def __init__(self, kdf: Kdf, passphrase: str) -> None:
        super().__init__(name="argon2id")
        self.kdf = kdf
        self.passphrase = passphrase
        self.outcome: bytes | BaseException = b""
        self.start()

    def run(self) -> None:
        try:
            self.outcome = argon.derive(self.kdf, self.passphrase)
        except BaseException as error:  # noqa: BLE001  # it is raised where the key is asked for
            self.outcome = error
