"""The config: one spelling, signed, refused as a whole when a byte differs."""

from collections.abc import Callable

import msgspec
import pytest

from founded import Founded
from strongroom.crypto import hashing, keys
from strongroom.errors import Damaged, NotARepository, VersionUnknown
from strongroom.repository import founding

SIGNING = bytes(range(32))


def signed(line: bytes) -> bytes:
    signature = keys.sign(SIGNING, b"strongroom 1 config\0" + line)
    return b"strongroom repository, format 1\n" + line + b"\n" + signature.hex().encode() + b"\n"


def document(**changes: object) -> bytes:
    fields = {
        "nonce": "00" * 32, "created": 1, "protection": "none", "key_location": "repokey",
        "admin_key": keys.public_of(SIGNING).hex(), "sealing_key": "", "append_only": True,
        "pack_target": 1 << 25, "quarantine_days": 30, "storage_quota": None,
    }  # fmt: skip
    return msgspec.json.encode(fields | changes)


def test_the_id_is_the_hash_of_the_founding_line() -> None:
    identity, found = founding.decode(signed(document()), "here")
    assert identity == hashing.plain_hash(document()) and found.pack_target == 1 << 25
    assert founding.encode(found, SIGNING) == (identity, signed(document()))


def test_every_changed_byte_is_noticed() -> None:
    blob = Founded().config
    founding.decode(blob, "here")
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises((Damaged, NotARepository, VersionUnknown)):
            founding.decode(bytes(changed), "here")


@pytest.mark.parametrize(
    "respell",
    [
        lambda line: line.replace(b":", b": ", 1),
        lambda line: line.replace(b'"none"', b'"non\\u0065"'),
        lambda line: line[:-1] + b',"created":1}',
        lambda line: line.replace(b',"quarantine_days":30', b""),
        lambda line: b" " + line,
    ],
)
def test_another_spelling_is_refused_though_signed(respell: Callable[[bytes], bytes]) -> None:
    """Two parsers could read it differently."""
    line = document()
    assert respell(line) != line
    with pytest.raises(Damaged):
        founding.decode(signed(respell(line)), "here")


@pytest.mark.parametrize(
    "changes",
    [
        {"pack_target": 0},
        {"pack_target": 1 << 62},
        {"pack_target": -1},
        {"created": -1},
        {"created": 1 << 63},
        {"created": 10**30},
        {"quarantine_days": 10**9},
        {"storage_quota": -5},
        {"protection": "sealed"},
        {"protection": "other"},
        {"sealing_key": "zz"},
        {"future": 1},
    ],
)
def test_impossible_values_are_refused_though_signed(changes: dict[str, object]) -> None:
    with pytest.raises(Damaged):
        founding.decode(signed(document(**changes)), "here")


def test_a_future_format_is_told() -> None:
    with pytest.raises(VersionUnknown, match="format 2"):
        founding.decode(b"strongroom repository, format 2\nwhatever", "here")
    for other in (b"", b"[repository]\nversion = 1\n", b"strongroom repository, format x\n"):
        with pytest.raises(NotARepository, match="here"):
            founding.decode(other, "here")
