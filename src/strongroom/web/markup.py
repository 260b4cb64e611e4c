"""HTML whose text is escaped by construction: what is not `Html` is text, and text is made harmless.

Names and contents come from whoever wrote an archive. Besides `<` and `&` that means characters that
nobody sees or that reorder what is around them: they are shown as escapes.
"""

import html
import os
import re
from collections.abc import Iterable
from urllib.parse import quote_from_bytes

# C0 and C1 controls, soft hyphen, fillers, zero-width characters and marks that reorder text, separators of
# lines and paragraphs, variation tags, noncharacters, lone surrogates (bytes that are no UTF-8)
_HOSTILE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff0-\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
_HOSTILE_BUT_LINES = re.compile(_HOSTILE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_EMPTY = frozenset({"br", "img", "input", "link", "meta"})


class Html(str):
    """Markup; only `element`, `joined` and constants make it."""

    __slots__ = ()


Inner = Html | str | bytes | int | None


def shown(text: str | bytes, *, lines: bool = False) -> str:
    """Harmless to read, not yet to put into HTML; `lines` keeps line feeds and tabs."""
    words = os.fsdecode(text) if isinstance(text, bytes) else text
    return (_HOSTILE_BUT_LINES if lines else _HOSTILE).sub(_escaped, words)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as os.fsdecode keeps it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def joined(inner: Iterable[Inner], between: str = "") -> Html:
    return Html(html.escape(between).join(_markup(one) for one in inner))


def preformatted(text: str) -> Html:
    """Of several lines, for <pre>."""
    return Html(html.escape(shown(text, lines=True)))


def _markup(inner: Inner) -> str:
    if inner is None:
        return ""
    if isinstance(inner, Html):
        return inner
    return html.escape(shown(str(inner) if isinstance(inner, int) else inner))


def element(tag: str, *inner: Inner, **attributes: Inner | bool) -> Html:
    """`element("a", "text", href="/x", class_="y")`; False and None leave an attribute out."""
    words = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        plain = name.rstrip("_").replace("_", "-")
        words.append(plain if value is True else f'{plain}="{_markup(value)}"')
    opened = f"<{' '.join(words)}>"
    return Html(opened if tag in _EMPTY else f"{opened}{joined(inner)}</{tag}>")


def url(route: str, *segments: bytes, **query: str) -> str:
    """Of this server, from its root; a segment may itself be a path."""
    place = "/" + "/".join([route, *(quote_from_bytes(segment, safe="/") for segment in segments if segment)])
    words = "&".join(f"{key}={quote_from_bytes(os.fsencode(value))}" for key, value in query.items() if value)
    return f"{place}?{words}" if words else place
