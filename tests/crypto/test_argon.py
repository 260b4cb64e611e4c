"""Argon2id: the standard's own numbers, in whatever memory and threads the machine has."""

import subprocess
import sys
import threading
from typing import Any

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from strongroom.crypto import argon
from strongroom.crypto.keyformat import Kdf

KDF = Kdf("argon2id", b"saltsaltsaltsalt", 3, 4, 256)


def by_openssl(kdf: Kdf, passphrase: bytes) -> bytes:
    another = Argon2id(
        salt=kdf.salt, length=32, iterations=kdf.passes, lanes=kdf.lanes, memory_cost=kdf.memory
    )
    return another.derive(passphrase)


@pytest.mark.parametrize(
    "kdf", [KDF, Kdf("argon2id", bytes(8), 1, 1, 8), Kdf("argon2id", b"x" * 64, 2, 16, 9000)]
)
@pytest.mark.parametrize("passphrase", ["", "correct horse", "pässwörd", "\udcff\udc80", "x" * 10_000])
def test_another_library_derives_the_same(kdf: Kdf, passphrase: str) -> None:
    assert argon.derive(kdf, passphrase) == by_openssl(kdf, passphrase.encode("utf-8", "surrogateescape"))


def test_several_at_once_keep_apart() -> None:
    found: dict[str, bytes] = {}

    def derive(passphrase: str) -> None:
        found[passphrase] = argon.derive(KDF, passphrase)

    threads = [threading.Thread(target=derive, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {str(number): by_openssl(KDF, b"%d" % number) for number in range(8)}
    assert not argon._spaces


def test_where_no_code_may_be_made_at_run_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argon, "_ALLOCATE", argon.ffi.NULL)
    monkeypatch.setattr(argon, "_FREE", argon.ffi.NULL)
    assert argon.derive(KDF, "x") == by_openssl(KDF, b"x")


def test_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    true, tried = argon._derived, []

    def derived(kdf: Kdf, passphrase: str, threads: int) -> Any:
        tried.append(threads)
        return (argon.lib.ARGON2_THREAD_FAIL, b"") if len(tried) == 1 else true(kdf, passphrase, threads)

    monkeypatch.setattr(argon, "_derived", derived)
    assert argon.derive(KDF, "x") == by_openssl(KDF, b"x") and tried[1:] == [1]


@pytest.mark.parametrize("callbacks", [True, False])
def test_memory_that_is_not_there_is_told(callbacks: bool) -> None:
    script = (
        "import resource, sys\n"
        "from strongroom.crypto import argon\n"
        "from strongroom.crypto.keyformat import Kdf\n"
        "if not int(sys.argv[1]): argon._ALLOCATE = argon._FREE = argon.ffi.NULL\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))\n"
        "try: argon.derive(Kdf('argon2id', bytes(16), 1, 1, 2 << 20), 'x')\n"
        "except MemoryError: print('told')\n"
    )
    words = [sys.executable, "-c", script, str(int(callbacks))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("told\n", "")
