import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import Damaged, VersionUnknown
from strongroom.store.stamp import MAX_RECORD, MAX_STAMP, stamp, unstamp


@given(st.binary(min_size=1, max_size=300), st.integers(0, MAX_STAMP))
def test_a_stamped_record_comes_back_with_its_time(record: bytes, now: int) -> None:
    assert unstamp(stamp(record, now)) == (record, now)


def test_the_largest_record_fits_and_one_byte_more_does_not() -> None:
    assert unstamp(stamp(bytes(MAX_RECORD), 0))[0] == bytes(MAX_RECORD)
    with pytest.raises(ValueError, match="bytes"):
        stamp(bytes(MAX_RECORD + 1), 0)
    with pytest.raises(ValueError, match="0 bytes"):
        stamp(b"", 0)
    with pytest.raises(ValueError, match="range"):
        stamp(b"x", MAX_STAMP + 1)


def test_the_bytes_are_those_of_the_format_page() -> None:
    body = b"\x01" + b"\xc4\x03abc" + b"\x05"
    assert stamp(b"abc", 5)[: 1 + len(body)] == b"\x94" + body
    assert len(stamp(b"abc", 5)) == 1 + len(body) + 10


def test_any_flipped_byte_is_noticed() -> None:
    obj = stamp(b"some record", 1_700_000_000_000_000_000)
    for position in range(len(obj)):
        for bit in range(8):
            bad = bytearray(obj)
            bad[position] ^= 1 << bit
            with pytest.raises((Damaged, VersionUnknown)):
                unstamp(bytes(bad))


@given(st.binary(max_size=200))
def test_hostile_bytes_raise_only_our_errors(data: bytes) -> None:
    with pytest.raises((Damaged, VersionUnknown)):
        unstamp(data)


def test_a_future_version_is_named() -> None:
    with pytest.raises(VersionUnknown, match="version 2"):
        unstamp(msgspec.msgpack.encode([2, {"anything": 1}]))


def test_a_truncated_and_an_extended_object_are_damaged() -> None:
    obj = stamp(b"record", 1)
    for bad in (obj[:-1], obj + b"\0", obj[1:], b""):
        with pytest.raises(Damaged):
            unstamp(bad)
