import base64
import contextlib
import hashlib
import lzma
import os
import random
import struct
import threading
import tracemalloc
import zlib

import lz4.block
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import CommandError, Damaged, VersionUnknown
from strongroom.repository.compression import (
    LZ4,
    LZMA,
    MAX_RAW,
    NONE,
    ZLIB,
    ZSTD,
    Compression,
    Compressor,
    decompress,
    padding,
    padme,
    parse_compression,
)

TEXT = b"".join(b"line %d of a log that compresses well\n" % n for n in range(3000))
COMPRESSING = [LZ4, ZSTD, ZLIB, LZMA]
WORDS = [
    "lz4",
    "zstd",
    "zstd,1",
    "zstd,2",
    "zstd,19",
    "zlib,1",
    "zlib",
    "lzma,0",
    "lzma",
    "auto,zstd,3",
    "auto,lzma,1",
]


def body_of(algorithm: int, plain: bytes = TEXT) -> bytes:
    name = {LZ4: "lz4", ZSTD: "zstd", ZLIB: "zlib", LZMA: "lzma,1"}[algorithm]
    stored, _, body = Compressor(parse_compression(name)).compress(plain)
    assert stored == algorithm
    return bytes(body)


# --- words ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", Compression(NONE)),
        ("lz4", Compression(LZ4)),
        ("lz4,1", Compression(LZ4)),
        ("zstd", Compression(ZSTD, 3)),
        ("zstd,22", Compression(ZSTD, 22)),
        ("zlib", Compression(ZLIB, 6)),
        ("zlib,0", Compression(ZLIB, 0)),
        ("lzma", Compression(LZMA, 6)),
        ("lzma,9", Compression(LZMA, 9)),
        ("auto,lzma,6", Compression(LZMA, 6, auto=True)),
        ("auto,lz4", Compression(LZ4, auto=True)),
        ("obfuscate,110,none", Compression(NONE, obfuscation=110)),
        ("obfuscate,3,auto,zstd,10", Compression(ZSTD, 10, auto=True, obfuscation=3)),
        ("obfuscate,250,zstd,3", Compression(ZSTD, 3, obfuscation=250)),
    ],
)
def test_borgs_words_are_understood(text, expected):
    assert parse_compression(text) == expected
    assert parse_compression(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "zip", "LZ4", " lz4", "zstd,0", "zstd,23", "zstd,x", "zstd,", "zstd,3,4", "zlib,10", "zlib,-1"),
        *("lzma,10", "auto", "auto,", "auto,zip", "obfuscate", "obfuscate,1", "obfuscate,7,lz4"),
        *("obfuscate,0,lz4", "obfuscate,109,lz4", "obfuscate,124,lz4", "obfuscate,x,lz4"),
        *("auto,obfuscate,1,lz4", "obfuscate,1,obfuscate,2,lz4"),
    ],
)
def test_a_wrong_word_is_refused_with_a_sentence(text):
    with pytest.raises(CommandError, match="Compression "):
        parse_compression(text)


# --- round trips ---

plains = st.one_of(
    st.binary(max_size=5000),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=50), st.integers(1, 3000)),
)


@pytest.mark.parametrize("words", ["none", *WORDS])
@given(plain=plains)
def test_what_was_compressed_comes_back(words, plain):
    algorithm, level, body = Compressor(parse_compression(words)).compress(plain)
    assert decompress(algorithm, body, len(plain)) == plain
    assert len(body) <= len(plain)
    if algorithm == NONE:
        assert level == 0 and body is plain


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_buffer_is_taken_and_shrinks(words, kind):
    algorithm, level, body = Compressor(parse_compression(words)).compress(kind(TEXT))
    assert algorithm == parse_compression(words).algorithm
    assert level == parse_compression(words).level
    assert len(body) < len(TEXT) // 4
    assert decompress(algorithm, memoryview(body), len(TEXT)) == TEXT


@pytest.mark.parametrize("words", WORDS)
def test_what_does_not_shrink_is_stored_as_it_is(words):
    noise = random.Random(1).randbytes(100_000)
    assert Compressor(parse_compression(words)).compress(noise) == (NONE, 0, noise)
    assert Compressor(parse_compression(words)).compress(b"") == (NONE, 0, b"")


def test_one_compressor_serves_many_buffers():
    compressor = Compressor(parse_compression("zstd,3"))
    for size in (10, 100_000, 1, 5000):
        algorithm, _, body = compressor.compress(TEXT[:size])
        assert decompress(algorithm, body, size) == TEXT[:size]


def test_auto_sees_text_behind_an_incompressible_beginning():
    mixed = random.Random(1).randbytes(300_000) + TEXT * 3
    assert Compressor(parse_compression("auto,zstd")).compress(mixed)[0] == ZSTD


def test_auto_sees_entropy_without_repetition():
    plain = base64.b64encode(random.Random(1).randbytes(200_000))
    algorithm, _, body = Compressor(parse_compression("auto,zstd,3")).compress(plain)
    assert algorithm == ZSTD and len(body) < 0.8 * len(plain)


def test_auto_stores_what_a_sample_shows_to_be_compressed_already():
    noise = random.Random(1).randbytes(1_000_000)
    # A compressible stretch that lies between two samples: only a full run would find it.
    hidden = noise[:10_000] + bytes(50_000) + noise[60_000:]
    assert Compressor(parse_compression("zstd")).compress(hidden)[0] == ZSTD
    assert Compressor(parse_compression("auto,zstd")).compress(hidden)[0] == NONE


def test_level_2_lies_between_1_and_3_in_size():
    words = [b"%d: %s\n" % (n, hashlib.sha256(b"%d" % (n % 977)).hexdigest().encode()) for n in range(12_000)]
    plain = b"".join(random.Random(1).choices(words, k=12_000))
    sizes = [len(Compressor(parse_compression(f"zstd,{level}")).compress(plain)[2]) for level in (1, 2, 3)]
    assert sizes[0] > sizes[1] >= sizes[2] * 0.98


def test_more_than_the_limit_is_not_taken():
    with pytest.raises(ValueError, match="too many"):
        Compressor(parse_compression("lz4")).compress(bytes(MAX_RAW + 1))


def test_threads_decompress_side_by_side():
    bodies = [body_of(algorithm, TEXT * 4) for algorithm in COMPRESSING]
    wrong: list[object] = []

    def work() -> None:
        for _ in range(10):
            for algorithm, body in zip(COMPRESSING, bodies, strict=True):
                if decompress(algorithm, body, len(TEXT) * 4) != TEXT * 4:
                    wrong.append(algorithm)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- hostile bodies ---


@pytest.mark.parametrize("algorithm", [NONE, *COMPRESSING])
@pytest.mark.parametrize("change", [-1, 1, -len(TEXT), -100, 100, MAX_RAW])
def test_a_length_that_is_not_the_contents_is_damage(algorithm, change):
    body = TEXT if algorithm == NONE else body_of(algorithm)
    with pytest.raises(Damaged):
        decompress(algorithm, body, len(TEXT) + change)


@pytest.mark.parametrize("algorithm", COMPRESSING)
def test_a_negative_length_is_damage(algorithm):
    with pytest.raises(Damaged):
        decompress(algorithm, body_of(algorithm), -1)


@pytest.mark.parametrize("algorithm", COMPRESSING)
@given(keep=st.floats(0, 1, exclude_max=True))
def test_a_truncated_body_is_damage(algorithm, keep):
    body = body_of(algorithm, TEXT[:5000])
    with pytest.raises(Damaged):
        decompress(algorithm, body[: int(len(body) * keep)], 5000)


@pytest.mark.parametrize("algorithm", COMPRESSING)
@given(garbage=st.binary(min_size=1, max_size=40))
def test_anything_behind_a_body_is_damage(algorithm, garbage):
    with pytest.raises(Damaged):
        decompress(algorithm, body_of(algorithm, TEXT[:5000]) + garbage, 5000)


@pytest.mark.parametrize("algorithm", COMPRESSING)
def test_two_bodies_are_not_one(algorithm):
    half = body_of(algorithm, TEXT[:5000])
    with pytest.raises(Damaged):
        decompress(algorithm, half + half, 10_000)
    with pytest.raises(Damaged):
        decompress(algorithm, half + half, 5000)


@pytest.mark.parametrize("algorithm", [NONE, *COMPRESSING])
@given(body=st.binary(max_size=200), raw_length=st.integers(0, 1000))
def test_garbage_is_damage_or_exactly_as_long_as_promised(algorithm, body, raw_length):
    with contextlib.suppress(Damaged):
        assert len(decompress(algorithm, body, raw_length)) == raw_length


@pytest.mark.parametrize("algorithm", COMPRESSING)
@given(at=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_ends_in_damage_or_in_the_right_length(algorithm, at, bit):
    body = bytearray(body_of(algorithm, TEXT[:5000]))
    body[at % len(body)] ^= 1 << bit
    with contextlib.suppress(Damaged):
        assert len(decompress(algorithm, body, 5000)) == 5000


@pytest.mark.parametrize("algorithm", [-1, 5, 255])
def test_an_algorithm_of_the_future_is_named_as_such(algorithm):
    with pytest.raises(VersionUnknown, match=str(algorithm)):
        decompress(algorithm, b"x", 1)


BOMB = bytes(8 << 20)


@pytest.mark.parametrize(
    ("algorithm", "body"),
    [
        (ZSTD, zstandard.ZstdCompressor().compress(BOMB)),
        (ZSTD, zstandard.ZstdCompressor(write_content_size=False).compress(BOMB)),
        # single segment, eight-byte content size: the frame claims a terabyte
        (ZSTD, b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 40) + b"\x01\x00\x00"),
        (ZSTD, b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"skip"),
        (LZ4, lz4.block.compress(BOMB, store_size=False)),
        (LZ4, lz4.block.compress(BOMB, store_size=True)),
        (ZLIB, zlib.compress(BOMB)),
        (LZMA, lzma.compress(BOMB, check=lzma.CHECK_NONE)),
        (LZMA, lzma.compress(b"a" * 1000, preset=9)),  # its dictionary alone would take 64 MiB
    ],
)
def test_a_bomb_costs_no_memory(algorithm, body):
    tracemalloc.start()
    try:
        with pytest.raises(Damaged):
            decompress(algorithm, body, 1000)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_frame_without_its_size_or_with_a_wide_window_is_refused():
    sizeless = zstandard.ZstdCompressor(write_content_size=False).compress(TEXT)
    with pytest.raises(Damaged):
        decompress(ZSTD, sizeless, len(TEXT))
    # content size 1000 in two bytes (256 less, as the format has it), window descriptor of 128 MiB
    wide = b"\x28\xb5\x2f\xfd\x40" + bytes([17 << 3]) + struct.pack("<H", 744) + b"\x03\x00\x00"
    assert zstandard.get_frame_parameters(wide).content_size == 1000
    assert zstandard.get_frame_parameters(wide).window_size == 128 << 20
    with pytest.raises(Damaged, match="header"):
        decompress(ZSTD, wide, 1000)


def test_a_zlib_body_that_wants_a_dictionary_is_damage():
    stream = zlib.compressobj(zdict=TEXT[:1000])
    with pytest.raises(Damaged):
        decompress(ZLIB, stream.compress(TEXT) + stream.flush(), len(TEXT))


# --- padding ---


def test_padme_gives_the_papers_values():
    # From the paper's text and its reference implementation.
    assert [padme(n) for n in (0, 1, 2, 3, 8, 9, 10, 17, 100, 1000, 10_000, 1_000_003)] == [
        0, 1, 2, 3, 8, 10, 10, 18, 104, 1024, 10_240, 1_015_808,
    ]  # fmt: skip


@given(st.integers(0, 1 << 40))
def test_padme_costs_at_most_12_percent_and_is_stable(length):
    padded = padme(length)
    assert length <= padded <= length * 1.12 + 1
    assert padme(padded) == padded


def test_padme_leaves_few_lengths():
    assert len({padme(n) for n in range(1 << 15, 1 << 16)}) <= 17


@pytest.mark.parametrize("words", ["none", "zstd", "auto,lz4", "obfuscate,250,zstd"])
def test_padding_is_padme_by_default(words):
    for length in (0, 1, 1000, 123_456):
        assert padding(parse_compression(words), length) == padme(length) - length


@pytest.mark.parametrize("spec", [*range(1, 7), *range(110, 124)])
def test_obfuscation_stays_in_the_range_of_its_spec(spec):
    length = 1000
    compression = parse_compression(f"obfuscate,{spec},lz4")
    least = length * 0.001 * 10**spec if spec <= 6 else 0
    most = length * 10.0 * 10**spec if spec <= 6 else 1 << (spec - 100)
    seen = {padding(compression, length) for _ in range(60)}
    assert len(seen) > 3
    for extra in seen:
        assert padme(length + extra) == length + extra
        assert extra >= min(int(least), MAX_RAW - length)
        assert length + extra <= min(padme(length + int(most)), MAX_RAW)


def test_obfuscation_of_a_full_body_stays_within_the_limit():
    assert padding(parse_compression("obfuscate,6,lz4"), MAX_RAW) == 0


def test_relative_obfuscation_is_mostly_small():
    compression = parse_compression("obfuscate,3,lz4")
    length = 1 << 10
    small = sum(padding(compression, length) < 11 * length for _ in range(300))
    assert small > 220  # about 90 percent are below ten times the length


def test_an_unpromising_buffer_is_handed_back_untouched():
    plain = bytearray(os.urandom(200_000))
    before = bytes(plain)
    assert Compressor(parse_compression("auto,lzma")).compress(plain)[2] is plain
    assert plain == before
