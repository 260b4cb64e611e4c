"""Compression of bundles: Borg's words, one stored byte for the algorithm, strict bounds on the way back.

`auto,X` decides on a sample whether X is worth its time. Whatever does not shrink is stored as it is.
"""

import threading
import zlib

import msgspec
import zstandard

from strongroom.errors import CommandError, Damaged, VersionUnknown

Buffer = bytes | bytearray | memoryview

NONE, LZ4, ZSTD, ZLIB, LZMA = range(5)
"""The stored algorithm ids; docs/format.md."""

MAX_RAW = 64 << 20
"""Bytes of plaintext that one body may stand for."""

_NAMES = ("none", "lz4", "zstd", "zlib", "lzma")
_LEVELS = {ZSTD: (1, 22, 3), ZLIB: (0, 9, 6), LZMA: (0, 9, 6)}  # least, most, default
_PADME_ONLY = 250

_local = threading.local()


class Compression(msgspec.Struct, frozen=True):
    """What `--compression` asks for; `str()` gives Borg's words back."""

    algorithm: int
    level: int = 0  # 0 where the algorithm has none
    auto: bool = False
    obfuscation: int | None = None  # Borg's SPEC: 1..6, 110..123 or 250

    def __str__(self) -> str:
        words = [] if self.obfuscation is None else ["obfuscate", str(self.obfuscation)]
        words += ["auto"] if self.auto else []
        words.append(_NAMES[self.algorithm])
        words += [str(self.level)] if self.algorithm in _LEVELS else []
        return ",".join(words)


def parse_compression(text: str) -> Compression:
    """Read Borg's words.

    `none`, `lz4`, `zstd[,1..22]`, `zlib[,0..9]`, `lzma[,0..9]`, `auto,C[,L]`, `obfuscate,SPEC,C[,L]`.

    Raises `CommandError`.
    """
    words = text.split(",")
    obfuscation = None
    if words[0] == "obfuscate":
        if len(words) < 3:
            raise CommandError(f"Compression {text!r} is incomplete: write obfuscate,SPEC,ALGORITHM[,LEVEL].")
        obfuscation = _number(text, words[1])
        if not (1 <= obfuscation <= 6 or 110 <= obfuscation <= 123 or obfuscation == _PADME_ONLY):
            raise CommandError(f"Compression {text!r}: the SPEC of obfuscate is 1 to 6, 110 to 123 or 250.")
        words = words[2:]
    auto = words[0] == "auto"
    if auto:
        words = words[1:]
        if not words:
            raise CommandError(f"Compression {text!r} is incomplete: write auto,ALGORITHM[,LEVEL].")
    name, *levels = words
    if name not in _NAMES:
        known = ", ".join(_NAMES)
        raise CommandError(
            f"Compression {text!r} is unknown: use one of {known}, after auto or obfuscate,SPEC if you like."
        )
    if len(levels) > 1:
        raise CommandError(f"Compression {text!r} has too many words after {name}: only a level follows it.")
    algorithm = _NAMES.index(name)
    level = _number(text, levels[0]) if levels else None
    if algorithm not in _LEVELS:
        return Compression(algorithm, 0, auto, obfuscation)  # Borg, too, ignores a level here
    least, most, default = _LEVELS[algorithm]
    if level is None:
        level = default
    if not least <= level <= most:
        raise CommandError(f"Compression {text!r}: the level of {name} is {least} to {most}.")
    return Compression(algorithm, level, auto, obfuscation)


def _number(text: str, word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise CommandError(f"Compression {text!r}: {word!r} is not a whole number.") from None


# --- compressing ---

# Measured on libraries, texts, images and archives: eight places catch a bundle of mixed small files, and
# zstd, unlike lz4, sees the entropy of text without repetitions (base64, hex, DNA).
_PIECES = 8
_PIECE = 4096
_WORTHWHILE = 0.97


class Compressor:
    """Applies one `Compression`. Keeps its contexts, so give each thread its own."""

    def __init__(self, compression: Compression) -> None:
        self._algorithm = compression.algorithm
        self._level = compression.level
        self._zstd = _zstd_compressor(compression.level) if compression.algorithm == ZSTD else None
        samples = compression.auto and compression.algorithm != NONE
        self._sampler = _zstd_compressor(1) if samples else None

    def compress(self, plain: Buffer) -> tuple[int, int, Buffer]:
        """Compress up to `MAX_RAW` contiguous bytes. Returns (algorithm id, level, body).

        The body is `plain` itself, with algorithm and level 0, unless 2 percent are saved.
        """
        size = len(plain)
        if size > MAX_RAW:
            raise ValueError(f"{size} bytes are too many for one body")
        if self._algorithm == NONE or not size or not self._promising(plain):
            return NONE, 0, plain
        body = self._encode(plain, size)
        if len(body) > size - size // 50 - 1:
            return NONE, 0, plain
        return self._algorithm, self._level, body

    def _encode(self, plain: Buffer, size: int) -> bytes:
        if self._zstd is not None:
            return self._zstd.compress(plain)
        if self._algorithm == LZ4:
            import lz4.block

            return bytes(lz4.block.compress(plain, store_size=False))
        if self._algorithm == ZLIB:
            return zlib.compress(plain, self._level)
        import lzma

        # A dictionary beyond the plaintext buys nothing and costs both sides its memory.
        chain = [{"id": lzma.FILTER_LZMA2, "preset": self._level, "dict_size": max(size, 4096)}]
        return lzma.compress(plain, format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE, filters=chain)

    def _promising(self, plain: Buffer) -> bool:
        if self._sampler is None:
            return True
        sample = _sample(plain)
        return len(self._sampler.compress(sample)) < len(sample) * _WORTHWHILE


def _zstd_compressor(level: int) -> zstandard.ZstdCompressor:
    if level != 2:
        return zstandard.ZstdCompressor(
            level=level, write_checksum=False, write_content_size=True, write_dict_id=False
        )
    # The search of zstd's level 3 with tables of 192 KiB instead of 768, which stay in a core's own cache:
    # faster than zstd's level 2, and smaller. Figures: docs/performance.md.
    own = zstandard.ZstdCompressionParameters(
        window_log=21,
        hash_log=15,
        chain_log=14,
        search_log=1,
        min_match=5,
        target_length=0,
        strategy=zstandard.STRATEGY_DFAST,
        write_checksum=False,
        write_content_size=True,
        write_dict_id=False,
    )
    return zstandard.ZstdCompressor(compression_params=own)


def _sample(plain: Buffer) -> Buffer:
    size = len(plain)
    if size <= _PIECES * _PIECE:
        return plain
    view = memoryview(plain)
    step = (size - _PIECE) // (_PIECES - 1)
    return b"".join(view[at : at + _PIECE] for at in range(0, step * _PIECES, step))


# --- decompressing ---


def decompress(
    algorithm: int, body: Buffer, raw_length: int, into: memoryview | None = None
) -> bytes | memoryview:
    """The plaintext of exactly `raw_length` bytes; in `into`, of that size, where the library can do so.

    Any thread may call this, each with an `into` of its own.
    Memory stays within a small multiple of `raw_length`, whatever the body claims.
    Raises `Damaged`, and `VersionUnknown` for an algorithm id of the future.
    """
    if not 0 <= algorithm < len(_NAMES):
        raise VersionUnknown(
            f"Data is compressed by an algorithm unknown to this version (id {algorithm}): update strongroom."
        )
    if not 0 <= raw_length <= MAX_RAW:
        raise _damaged(algorithm, f"it claims {raw_length} bytes of content, where {MAX_RAW} are allowed")
    plain: bytes | memoryview | None
    if algorithm == NONE:
        # A claim that does not hold is not worth a copy of the body.
        plain = bytes(body) if len(body) == raw_length else None
    elif raw_length == 0:
        raise _damaged(algorithm, "nothing is never stored compressed")
    elif algorithm == ZSTD:
        plain = _from_zstd(body, raw_length, into)
    elif algorithm == LZ4:
        plain = _from_lz4(body, raw_length)
    elif algorithm == ZLIB:
        plain = _from_zlib(body, raw_length)
    else:
        plain = _from_lzma(body, raw_length)
    if plain is None or len(plain) != raw_length:
        raise _damaged(algorithm, f"its content is not the {raw_length} bytes that it should be")
    return plain


def _from_zstd(body: Buffer, raw_length: int, into: memoryview | None) -> bytes | memoryview:
    context = getattr(_local, "zstd", None)
    if context is None:
        context = _local.zstd = zstandard.ZstdDecompressor()
    try:
        # The library allocates what the frame claims, so the claims come first (RFC 8878, 3.1.1.1).
        frame = zstandard.get_frame_parameters(body)
        if frame.content_size != raw_length or frame.window_size > max(2 * raw_length, 1024):
            raise _damaged(ZSTD, f"its header does not tell {raw_length} bytes of content")
        if into is not None:
            return _zstd_into(context, body, into)
        plain: bytes = context.decompress(body, max_output_size=raw_length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _damaged(ZSTD, str(error)) from error
    return plain


def _zstd_into(context: zstandard.ZstdDecompressor, body: Buffer, into: memoryview) -> memoryview:
    """One pass, as the target holds the whole frame. Raises `ZstdError`, `Damaged`."""
    with context.stream_reader(body) as stream:
        filled = stream.readinto(into)
        if stream.read(1):
            raise _damaged(ZSTD, "more follows its content")
        return into[:filled]


def _from_lz4(body: Buffer, raw_length: int) -> bytes:
    import lz4.block

    try:
        return bytes(lz4.block.decompress(body, uncompressed_size=raw_length))
    except lz4.block.LZ4BlockError as error:
        raise _damaged(LZ4, str(error)) from error


def _from_zlib(body: Buffer, raw_length: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(body, raw_length + 1)
    except zlib.error as error:
        raise _damaged(ZLIB, str(error)) from error
    if not stream.eof or stream.unused_data:
        raise _damaged(ZLIB, "it does not end where it should")
    return plain


def _from_lzma(body: Buffer, raw_length: int) -> bytes:
    import lzma

    memory = 2 * raw_length + (1 << 20)  # a dictionary of the plaintext's size, and the decoder's own tables
    stream = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=memory)
    try:
        plain = stream.decompress(body, raw_length + 1)
    except lzma.LZMAError as error:
        raise _damaged(LZMA, str(error)) from error
    if not stream.eof or stream.unused_data:
        raise _damaged(LZMA, "it does not end where it should")
    return plain


def _damaged(algorithm: int, why: str) -> Damaged:
    return Damaged(
        f"A stored body ({_NAMES[algorithm]}) does not decompress: {why}. "
        "Run `strongroom check --verify-data` to learn which archives are touched."
    )


# --- padding ---


def padme(length: int) -> int:
    """The padded length: at most 12 percent more, and few distinct values.

    Padmé, Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication
    with PURBs", PoPETs 2019(4), algorithm 1.
    """
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    low_bits = exponent - exponent.bit_length()
    mask = (1 << low_bits) - 1
    return (length + mask) & ~mask


def padding(compression: Compression, length: int) -> int:
    """How many bytes to add to `length` stored bytes: Padmé, after the random part that `obfuscate` wants.

    The random part never carries the sum beyond `MAX_RAW`.
    """
    extra = 0
    spec = compression.obfuscation
    if spec is not None and spec != _PADME_ONLY:
        from secrets import SystemRandom

        chance = SystemRandom().random()
        if spec <= 6:
            # Borg's "relative random reciprocal size variation": small factors often, large ones rarely.
            extra = int(length * 0.001 * 10**spec / max(0.0001, chance))
        else:
            extra = int(chance * 2 ** (spec - 100))
        extra = max(0, min(extra, MAX_RAW - length))
    return padme(length + extra) - length
