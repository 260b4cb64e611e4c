"""Words of the command line to values. Each raises `ArgumentTypeError` with the reason."""

import contextlib
import os
from argparse import Action, ArgumentError, ArgumentParser, ArgumentTypeError, Namespace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.archive.options import FilesCacheMode

SORT_KEYS = ("timestamp", "archive", "name", "id")

_TIMESTAMPS = (
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S+00:00",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
    "%Y-%j",
)

_FACTORS = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}

_CACHE_MODES = (
    {"ctime", "size", "inode"},
    {"mtime", "size", "inode"},
    {"ctime", "size"},
    {"mtime", "size"},
    {"rechunk", "ctime"},
    {"rechunk", "mtime"},
    {"disabled"},
    {"size"},
)


class Once(Action):
    """An option that may be given only once."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        if getattr(namespace, f"_seen_{self.dest}", False):
            raise ArgumentError(self, "can be given only once")
        setattr(namespace, f"_seen_{self.dest}", True)
        setattr(namespace, self.dest, values)


def path(text: str) -> str:
    if not text:
        raise ArgumentTypeError("an empty path is not accepted")
    if "\0" in text:
        raise ArgumentTypeError("a path must not hold a NUL character")
    return text


def public_key(text: str) -> bytes:
    """A raw Ed25519 public key, as 64 hex digits."""
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise ArgumentTypeError(f'"{text}" is no public key of a server: 64 digits from 0 to f are expected')
    return bytes.fromhex(text)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f'"{text}" is no positive number')
    return int(text)


def natural(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f'"{text}" is no number')
    return int(text)


def parity(text: str) -> int:
    """A size in percent: `5%` or `5`."""
    digits = text.removesuffix("%")
    if not digits.isdecimal() or not 1 <= int(digits) <= 100:
        raise ArgumentTypeError(f'"{text}" is not between 1% and 100%')
    return int(digits)


_INTERVALS = {"H": 1, "d": 24, "w": 24 * 7, "m": 24 * 31, "y": 24 * 365}  # hours
_SPANS = {"S": 1, "M": 60} | {unit: hours * 3600 for unit, hours in _INTERVALS.items()}  # seconds


def interval(text: str) -> timedelta:
    """Borg's `2d`, `48H`, `3w`, `6m` (of 31 days), `1y` (of 365 days)."""
    return _time(text, {unit: hours * 3600 for unit, hours in _INTERVALS.items()})


def time_span(text: str) -> timedelta:
    """The same, and `M` for minutes, `S` for seconds, as in Borg 2."""
    return _time(text, _SPANS)


def _time(text: str, units: dict[str, int]) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if unit not in units:
        raise ArgumentTypeError(f'"{text}" is no length of time: it ends in none of {", ".join(units)}')
    if not (number.isascii() and number.isdecimal()) or not number.strip("0"):
        raise ArgumentTypeError(f'"{text}" is no length of time: it does not begin with a positive number')
    if len(number) > 10:
        raise ArgumentTypeError(f'"{text}" is longer than any time')
    return timedelta(seconds=min(int(number) * units[unit], 10**13))


def quarantine(text: str) -> timedelta:
    """A time span, or 0."""
    return timedelta(0) if text.strip() == "0" else time_span(text)


def quarantine_days(text: str) -> int:
    """The same as a number of whole days: that is what a repository's config has."""
    span = quarantine(text)
    if span % timedelta(days=1):
        raise ArgumentTypeError(f'"{text}" is no number of whole days, like 90d, 4w or 0')
    if span.days > 36_500:
        raise ArgumentTypeError(f'"{text}" is longer than 36500d')
    return span.days


def percent(text: str) -> int:
    """0 to 100."""
    number = natural(text)
    if number > 100:
        raise ArgumentTypeError(f"a percentage is expected, 0 to 100, not {text!r}")
    return number


def sort_keys(text: str) -> list[str]:
    """Comma-separated; "archive" is another word for "name"."""
    keys = text.split(",")
    for key in keys:
        if key not in SORT_KEYS:
            raise ArgumentTypeError(f'"{key}" is no sort key: use {", ".join(SORT_KEYS)}')
    return ["name" if key == "archive" else key for key in keys]


def size(text: str) -> int:
    """Bytes, from `1234`, `55G`, `1.7T`: powers of 1000."""
    unit = text[-1:].upper()
    number, factor = (text[:-1], _FACTORS[unit]) if unit in _FACTORS else (text, 1)
    try:
        value = float(number) * factor
        if not 0 <= value < 2**63:
            raise ValueError
    except ValueError:
        raise ArgumentTypeError(f'"{text}" is no size: write it like 500M, 5G or 1.5T') from None
    return int(value)


def storage_quota(text: str) -> int:
    quota = size(text)
    if 0 < quota < 10**7:
        raise ArgumentTypeError(f"a quota of {text} is too small: 10M is the least")
    return quota


_EARLIEST, _LATEST = datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)  # 64 bits of ns


def timestamp(text: str) -> datetime:
    """A UTC time, or the mtime of the file or folder of that name."""
    found = _mtime_of(text) or _time_in(text)
    if found is None:
        raise ArgumentTypeError(f'"{text}" is neither a time like 2026-11-23T15:00:00 (UTC) nor a file')
    if not _EARLIEST <= found < _LATEST:
        raise ArgumentTypeError(f'"{text}" is not between {_EARLIEST:%Y-%m-%d} and {_LATEST:%Y-%m-%d}')
    return found


def _mtime_of(path: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(os.stat(path).st_mtime, UTC)
    except (OSError, ValueError, OverflowError):
        return None


def _time_in(text: str) -> datetime | None:
    for form in _TIMESTAMPS:
        with contextlib.suppress(ValueError):
            return datetime.strptime(text, form).replace(tzinfo=UTC)
    return None


def files_cache_mode(text: str) -> "FilesCacheMode":
    """Borg's words: `ctime,size,inode`, `mtime,size`, `rechunk,ctime`, `disabled`, ..."""
    from strongroom.archive.options import FilesCacheMode

    words = set(text.strip().split(","))
    if words not in _CACHE_MODES:
        known = "; ".join(",".join(sorted(mode, key=_word_order)) for mode in _CACHE_MODES)
        raise ArgumentTypeError(f'"{text}" is no files cache mode: use one of {known}')
    if words == {"disabled"}:
        return FilesCacheMode(read=False, write=False)
    time = "mtime" if "mtime" in words else "ctime"
    if "rechunk" in words:
        return FilesCacheMode(time=time, read=False)  # type: ignore[arg-type]
    return FilesCacheMode(time=time, size="size" in words, inode="inode" in words)  # type: ignore[arg-type]


def _word_order(word: str) -> int:
    return ("rechunk", "ctime", "mtime", "size", "inode", "disabled").index(word)


def chunker_params(text: str) -> list[int | str]:
    """Borg's chunker parameters, checked as Borg does: `fixed,SIZE[,HEADER]`, `buzhash,19,23,21,4095`."""
    words = text.strip().split(",")
    name = words[0].lower()
    if words == ["default"]:
        return ["default"]
    numbers = words[1:] if name in {"fixed", "buzhash", "fastcdc"} else words
    try:
        values = [int(word) for word in numbers]
    except ValueError:
        raise ArgumentTypeError(f'"{text}" are no chunker parameters: numbers are expected') from None
    if name == "fixed" and 1 <= len(values) <= 2:
        if not 64 <= values[0] <= 1 << 24 or any(value < 0 for value in values):
            raise ArgumentTypeError("the block size must be between 64 bytes and 16 MiB")
        return ["fixed", *values]
    if name == "fastcdc" and len(values) == 3:
        least, average, most = values
        if not 8 <= least <= average <= most <= 26:
            raise ArgumentTypeError("fastcdc needs 8 <= MIN <= AVERAGE <= MAX <= 26, as powers of 2")
        return ["fastcdc", *values]
    if len(values) == 4 and name != "fixed":
        least, most, mask, window = values
        if not 6 <= least <= mask <= most <= 23 or window % 2 == 0:
            raise ArgumentTypeError(
                "6 <= CHUNK_MIN <= HASH_MASK <= CHUNK_MAX <= 23 and an odd window are needed"
            )
        return ["buzhash", *values]
    raise ArgumentTypeError(f'"{text}" are no chunker parameters: see "strongroom create --help"')
