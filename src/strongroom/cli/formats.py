"""`--format` texts, sizes, times: how values become words, exactly as Borg prints them."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from string import Formatter

from strongroom.errors import InvalidPlaceholder, PlaceholderError

CONSTANTS: dict[str, str] = {
    "NEWLINE": "\n",
    "NL": "\n",
    "LF": "\n",
    "CR": "\r",
    "TAB": "\t",
    "SPACE": " ",
    "NUL": "\0",
}

_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "\\": "\\",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "e": "\x1b",
}


def unescape(text: str) -> str:
    r"""Backslash sequences to what they mean: `\n \t \0 \x41 é`; unknown ones stay as they are."""

    def meaning(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "xu" and len(code) > 1:
            return chr(int(code[1:], 16))
        if code[0] in "01234567":
            return chr(int(code, 8) & 0xFF)
        return _ESCAPED.get(code, match[0])

    return _ESCAPE.sub(meaning, text)


def template_for_json(text: str, keys: Collection[str]) -> "Template":
    """For JSON, whose keys the format names: as in Borg, those that do not exist are not missed."""
    try:
        named = {key for _, key, _, _ in Formatter().parse(unescape(text)) if key is not None}
    except ValueError:
        named = set()  # the template tells
    return Template(text, {*keys, *named})


class Template:
    """A `--format` text, checked once, filled for every line.

    `{key}`, `{key:spec}`, `{key!r}`; `used` are the keys that occur. Raises `InvalidPlaceholder`
    for a key that is neither in `keys` nor a constant, `PlaceholderError` for bad syntax.
    """

    def __init__(self, text: str, keys: Collection[str]) -> None:
        self.text = unescape(text)
        self._parts: list[tuple[str, str | None, str, str | None]] = []
        used = set()
        try:
            parsed = list(Formatter().parse(self.text))
        except ValueError as error:
            raise PlaceholderError(f"The format {text!r} is not valid: {error}.") from error
        for literal, key, spec, conversion in parsed:
            if key is not None and key not in CONSTANTS and key not in keys:
                raise InvalidPlaceholder(
                    f'Invalid key "{key}" in the format {text!r}. There are: {", ".join(sorted(keys))}, '
                    f"and {', '.join(CONSTANTS)}."
                )
            if key in CONSTANTS and not spec and not conversion:
                self._parts.append((literal + CONSTANTS[key], None, "", None))
                continue
            if key is not None:
                used.add(key)
            self._parts.append((literal, key, spec or "", conversion))
        self.used = frozenset(used)

    def fill(self, values: Mapping[str, object]) -> str:
        done = []
        for literal, key, spec, conversion in self._parts:
            done.append(literal)
            if key is None:
                continue
            value = CONSTANTS[key] if key in CONSTANTS else values[key]
            if conversion:
                value = {"r": repr, "a": ascii}.get(conversion, str)(value)
            try:
                done.append(format(value, spec))
            except (ValueError, TypeError) as error:
                raise PlaceholderError(
                    f'The format "{{{key}:{spec}}}" does not fit this key: {error}.'
                ) from error
        return "".join(done)


class Moment:
    """A time in a `--format` text: local, `Mon, 2026-11-23 15:00:00`, or as its strftime spec says."""

    def __init__(self, moment: datetime) -> None:
        self.local = moment.astimezone().replace(tzinfo=None) if moment.tzinfo else moment

    @classmethod
    def of_nanoseconds(cls, stamp: int) -> "Moment":
        """A file time in ns since the epoch; what no calendar holds is shown as its nearest date.

        Rounded to microseconds as in Borg (1.4, helpers/time.py, `safe_timestamp`): listings are compared.
        """
        try:
            return cls(datetime.fromtimestamp(stamp / 1e9, UTC))
        except (ValueError, OverflowError, OSError):
            return cls(datetime.max if stamp > 0 else datetime.min.replace(year=1000))

    def __format__(self, spec: str) -> str:
        return self.local.strftime(spec or "%a, %Y-%m-%d %H:%M:%S")

    def __str__(self) -> str:
        return format(self, "")

    def iso(self) -> str:
        return self.local.strftime("%Y-%m-%dT%H:%M:%S.%f")


def archive_moment(moment: datetime | None) -> Moment:
    """An archive's time: whole seconds, as Borg shows them."""
    return Moment((moment or datetime.fromtimestamp(0, UTC)).replace(microsecond=0))


_DECIMAL = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")


def format_size(size: int, *, iec: bool = False, precision: int = 2, sign: bool = False) -> str:
    """Bytes in words: `1.23 GB`, or `1.15 GiB`; with `sign`, `+1.23 GB`."""
    units, power = (_BINARY, 1024) if iec else (_DECIMAL, 1000)
    number = float(size)
    digits = 0
    unit = 0
    while unit < len(units) - 1 and abs(round(number, precision)) >= power:
        number /= power
        digits = precision
        unit += 1
    return f"{'+' if sign and size > 0 else ''}{number:.{digits}f} {units[unit]}B"


def format_duration(span: timedelta) -> str:
    """`1 hours 2 minutes 3.45 seconds`, as Borg says it."""
    total = span.total_seconds()
    text = f"{total % 60:.2f} seconds"
    if minutes := int(total / 60) % 60:
        text = f"{minutes} minutes {text}"
    if hours := int(total / 3600) % 24:
        text = f"{hours} hours {text}"
    if span.days:
        text = f"{span.days} days {text}"
    return text
