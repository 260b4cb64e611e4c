"""Names on a terminal: a file name must never move the cursor, change colours or fake a line."""

import os
import re

# C0 and C1 controls, line and paragraph separators, marks that reorder text, lone surrogates
_HOSTILE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code >= 0xD800:  # a byte that is no UTF-8, as Borg prints it
        return "?"
    if code >= 0x100:
        return f"\\u{code:04x}"
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code, f"\\x{code:02x}")


def printable(text: str) -> str:
    """The text with every character that could act on a terminal written as an escape."""
    return text if text.isprintable() else _HOSTILE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """The same for text of several lines: line feeds stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


def without_surrogates(text: str) -> str:
    """Undecodable bytes as `?`, everything else as it is: Borg's rendering of `{path}`."""
    return text.encode("utf-8", "replace").decode("utf-8")


def path_text(path: bytes) -> str:
    """A path for a message: decoded, and printable."""
    return printable(os.fsdecode(path))
