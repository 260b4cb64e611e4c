"""Bundles: chunks come back as they went in, and a header that lies is refused."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from economy import times
from strongroom.errors import Damaged, VersionUnknown
from strongroom.repository import bundles
from strongroom.repository.compression import MAX_RAW, padme, parse_compression
from strongroom.repository.packs import MAX_CHUNKS

WORDS = ["none", "lz4", "zstd,1", "zlib,1", "lzma,0", "auto,zstd,1", "obfuscate,3,zstd,1"]


@pytest.mark.parametrize("words", WORDS)
@settings(max_examples=times(25), deadline=None)
@given(chunks=st.lists(st.binary(max_size=3000) | st.just(b"a" * 5000), min_size=1, max_size=40))
def test_chunks_come_back(words: str, chunks: list[bytes]) -> None:
    encoder = bundles.BundleEncoder(parse_compression(words))
    plain = bytes(encoder.encode(chunks))
    assert [bytes(chunk) for chunk in bundles.decode(plain, len(chunks))] == chunks
    assert len(plain) == padme(len(plain)), "the length tells more than Padmé allows"


def test_the_reused_buffer_leaks_nothing_of_the_bundle_before() -> None:
    encoder = bundles.BundleEncoder(parse_compression("none"))
    encoder.encode([b"\xff" * 100_000])
    after = bytes(encoder.encode([b"small"]))
    assert b"\xff" not in after


def test_a_bundle_larger_than_the_buffer() -> None:
    chunk = random.Random(0).randbytes(4 << 20)
    encoder = bundles.BundleEncoder(parse_compression("none"))
    assert bytes(bundles.decode(encoder.encode([chunk]), 1)[0]) == chunk


def header(**changes: int) -> bytes:
    fields = {"version": 1, "algorithm": 0, "level": 0, "zero": 0, "chunks": 1, "raw": 7, "body": 7} | changes
    return struct.pack("<BBBBIII", *fields.values()) + struct.pack("<I", 3) + b"abc"


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        header()[:15],
        header()[:-1],
        header(zero=1),
        header(chunks=0),
        header(chunks=2),
        header(raw=8),
        header(raw=MAX_RAW + 1),
        header(body=8),
        header(body=6, raw=6),
        header(algorithm=1),
        header(algorithm=2),
        header(algorithm=3),
        header(algorithm=4),
        header()[:16] + struct.pack("<I", 4) + b"abc",
        header()[:16] + struct.pack("<I", 2) + b"abc",
        header(raw=3, body=3),
    ],
)
def test_a_header_that_lies_is_refused(blob: bytes) -> None:
    assert [bytes(chunk) for chunk in bundles.decode(header(), 1)] == [b"abc"]
    with pytest.raises(Damaged):
        bundles.decode(blob, 1)


def test_no_more_chunks_than_allowed() -> None:
    count = MAX_CHUNKS + 1
    blob = struct.pack("<BBBBIII", 1, 0, 0, 0, count, 4 * count, 4 * count) + bytes(4 * count)
    with pytest.raises(Damaged):
        bundles.decode(blob, count)


def test_future_versions_are_told() -> None:
    for blob in (header(version=2), header(algorithm=5)):
        with pytest.raises(VersionUnknown):
            bundles.decode(blob, 1)
