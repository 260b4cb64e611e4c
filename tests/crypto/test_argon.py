"""Argon2id: what another library derives, whichever of ours does it."""

import subprocess
import sys
import threading

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from strongroom.crypto import argon
from strongroom.crypto.keyformat import Kdf

OURS = Kdf("argon2id", b"saltsaltsaltsalt", 3, 1, 256)


def by_openssl(kdf: Kdf, passphrase: bytes) -> bytes:
    another = Argon2id(
        salt=kdf.salt, length=32, iterations=kdf.passes, lanes=kdf.lanes, memory_cost=kdf.memory
    )
    return another.derive(passphrase)


@pytest.mark.parametrize(
    "kdf",
    [
        OURS,
        Kdf("argon2id", bytes(16), 1, 1, 8),
        Kdf("argon2id", bytes(16), 16, 1, 1000),
        Kdf("argon2id", bytes(8), 1, 1, 8),
        Kdf("argon2id", b"saltsaltsaltsalt", 3, 4, 256),
        Kdf("argon2id", b"x" * 64, 2, 16, 9000),
    ],
)
@pytest.mark.parametrize("passphrase", ["", "correct horse", "pässwörd", "\udcff\udc80", "x" * 10_000])
def test_another_library_derives_the_same(kdf: Kdf, passphrase: str) -> None:
    assert argon.derive(kdf, passphrase) == by_openssl(kdf, passphrase.encode("utf-8", "surrogateescape"))


def test_our_own_keys_need_no_other_cryptography() -> None:
    """It takes 24 ms to load, and would not begin before."""
    script = (
        "import sys\n"
        "from strongroom.crypto import argon, keyformat\n"
        "argon.derive(keyformat.new_kdf(), 'x')\n"
        "print([name for name in sys.modules if name.startswith('cryptography')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_several_at_once_keep_apart() -> None:
    found: dict[str, bytes] = {}

    def derive(passphrase: str) -> None:
        found[passphrase] = argon.derive(OURS, passphrase)

    threads = [threading.Thread(target=derive, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {str(number): by_openssl(OURS, b"%d" % number) for number in range(8)}


@pytest.mark.parametrize("lanes", [1, 2])
def test_memory_that_is_not_there_is_told(lanes: int) -> None:
    script = (
        "import resource, sys\n"
        "from strongroom.crypto import argon\n"
        "from strongroom.crypto.keyformat import Kdf\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))\n"
        "try: argon.derive(Kdf('argon2id', bytes(16), 1, int(sys.argv[1]), 2 << 20), 'x')\n"
        "except MemoryError: print('told')\n"
    )
    words = [sys.executable, "-c", script, str(lanes)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("told\n", "")
