"""A file's content on its page: a picture, the beginning of a text, or of the bytes."""

from strongroom.archive.entries import Entry
from strongroom.web.asking import Ask
from strongroom.web.downloads import kind_of_picture
from strongroom.web.layout import size_words
from strongroom.web.markup import Html, element, joined, preformatted, url

_TEXT = 128 * 1024  # bytes of a text
_DUMP = 512  # bytes of what is no text


def preview(ask: Ask, entry: Entry) -> Html:
    """Of a regular file that is not empty. Raises what reading does."""
    head = ask.library.content(entry).read(0, _TEXT)
    if kind_of_picture(head, entry.size) is not None:
        name = ask.parts[-1]
        return element("figure", element("img", src=url("picture", *ask.parts), alt=name), class_="picture")
    text = _as_text(head, whole=len(head) == entry.size)
    if text is None:
        return joined([
            element("h2", "First bytes"), element("pre", preformatted(_dump(head[:_DUMP])), tabindex="0")
        ])  # fmt: skip
    cut = None
    if len(head) < entry.size:
        cut = element("p", f"These are the first {size_words(len(head))}.", class_="note")
    return joined([element("h2", "Content"), cut, element("pre", preformatted(text), tabindex="0")])


def _as_text(head: bytes, *, whole: bool) -> str | None:
    if b"\0" in head:
        return None
    try:
        return head.decode("utf-8")
    except UnicodeDecodeError as error:
        if not whole and error.start >= len(head) - 3 and error.reason == "unexpected end of data":
            return head[: error.start].decode("utf-8")
        # another encoding is likely text, if it has hardly a control character
        odd = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)
        return head.decode("utf-8", "surrogateescape") if odd * 100 < len(head) else None


def _dump(data: bytes) -> str:
    lines = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        plain = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {row.hex(' ', 1):<47}  {plain}")
    return "\n".join(lines)
