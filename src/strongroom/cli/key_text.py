"""A key file as text: to copy and paste, to print and type, and as a QR code.

The paper form has lines of 30 bytes in base32 (RFC 4648: no 0, 1 or 8), in groups of six letters, each
line with its number and three letters of checksum, so that a typing error is found on its line.
"""

import base64
import binascii
import hashlib
import html
import io
import re
import textwrap

from strongroom.errors import NotAKeyBackup

ARMOR = "STRONGROOM_KEY"
PAPER = "STRONGROOM PAPER KEY v1"
LINE_BYTES = 30
_MAX_LINES = 2200  # 64 KiB, the most that a key file takes
_CHECK = 3  # letters
_TOTAL = 12  # letters of the checksum of the whole


def armor(blob: bytes, repository: bytes) -> str:
    """The form of `key export`: a line that says what it is, then base64."""
    lines = textwrap.wrap(base64.b64encode(blob).decode(), 76)
    return "\n".join([f"{ARMOR} {repository.hex()}", *lines, ""])


def unarmor(data: bytes) -> bytes:
    """The key file in what the user gives: armored, or as it is. Raises `NotAKeyBackup`."""
    if not data.lstrip().startswith(ARMOR.encode() + b" "):
        return data
    try:
        body = data.decode("ascii").split(None, 2)[2]
        return base64.b64decode("".join(body.split()), validate=True)
    except (UnicodeDecodeError, IndexError, binascii.Error):
        raise NotAKeyBackup("This copy of the key is incomplete or changed. Use another copy.") from None


def paper(blob: bytes, repository: bytes) -> str:
    """The form of `key export --paper`."""
    pieces = [blob[at : at + LINE_BYTES] for at in range(0, len(blob), LINE_BYTES)]
    lines = [
        PAPER,
        f"Repository: {repository.hex()}",
        "To use it:  strongroom key import --paper REPOSITORY",
        "",
        f"id: {_head(len(pieces), blob)}",
    ]
    width = len(str(len(pieces)))
    for number, piece in enumerate(pieces, 1):
        letters = _base32(piece)
        lines.append(f"{number:{width}}: {' '.join(textwrap.wrap(letters, 6))} - {_check(number, piece)}")
    return "\n".join([*lines, ""])


class PaperReader:
    """Takes the lines of a paper key as they are typed: first that of `id:`, then line after line."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._total = ""
        self.lines = 0  # as the id line says

    @property
    def next_line(self) -> int:
        return len(self._pieces) + 1

    @property
    def complete(self) -> bool:
        return self.lines > 0 and len(self._pieces) == self.lines

    def head(self, typed: str) -> None:
        """What stands after `id:`. Raises `ValueError`: the reason."""
        match = re.fullmatch(r"(\d{1,4})/([A-Z2-7]{12})-([A-Z2-7]{3})", _squeezed(typed))
        if not match or not 0 < int(match[1]) <= _MAX_LINES:
            raise ValueError("this is not the id line of a paper key")
        if _letters(f"{match[1]}/{match[2]}".encode(), _CHECK) != match[3]:
            raise ValueError("the checksum does not match: there is a typing error in this line")
        self.lines, self._total = int(match[1]), match[2]

    def line(self, typed: str) -> None:
        """What stands after the number of the next line. Raises `ValueError`: the reason."""
        text = _squeezed(re.sub(r"^\s*\d+\s*:", "", typed))
        body, _, check = text.rpartition("-")
        try:
            piece = base64.b32decode(body + "=" * (-len(body) % 8))
        except binascii.Error:
            raise ValueError(
                "a line consists of letters, the digits 2 to 7, and a checksum after -"
            ) from None
        last = self.next_line == self.lines
        if not body or len(piece) > LINE_BYTES or (len(piece) < LINE_BYTES and not last):
            raise ValueError("there are too few or too many letters in this line")
        if _check(self.next_line, piece) != check:
            raise ValueError("the checksum does not match: there is a typing error, or it is another line")
        self._pieces.append(piece)

    def result(self) -> bytes:
        """The key file. Raises `NotAKeyBackup` if the lines do not belong together."""
        blob = b"".join(self._pieces)
        if not self.complete or _letters(blob, _TOTAL) != self._total:
            raise NotAKeyBackup("The lines do not belong to one paper key. Start again.")
        return blob


def read_paper(text: str) -> bytes:
    """A paper key from its whole text. Raises `NotAKeyBackup`, naming the line."""
    reader = PaperReader()
    for line in text.splitlines():
        try:
            if line.startswith("id:"):
                reader.head(line[3:])
            elif re.match(r"\s*\d+:", line):
                reader.line(line)
        except ValueError as error:
            where = f"Line {reader.next_line}" if reader.lines else "The id line"
            raise NotAKeyBackup(f"{where} of the paper key: {error}.") from None
    return reader.result()


def qr_page(blob: bytes, repository: bytes) -> str:
    """The form of `key export --qr-html`: a page to print, with a QR code of the armored key."""
    import segno

    image = io.BytesIO()
    code = segno.make("".join(armor(blob, repository).split("\n", 1)[1].split()), error="l", micro=False)
    code.save(image, kind="svg", scale=3, xmldecl=False, svgns=True)
    name = html.escape(repository.hex())
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>strongroom key {name[:12]}</title>
<style>body {{ font: 12px monospace; }} svg {{ width: 14cm; height: 14cm; }} pre {{ font-size: 9px; }}</style>
</head>
<body>
<h1>strongroom key</h1>
<p>Repository {name}</p>
<p>To use it, scan the code into a file and run: strongroom key import REPOSITORY FILE<br>
or type the lines below: strongroom key import --paper REPOSITORY</p>
{image.getvalue().decode()}
<pre>
{html.escape(paper(blob, repository))}</pre>
</body>
</html>
"""


def from_any(data: bytes) -> bytes:
    """The key file in a file that `key export` wrote in any of its forms, or that a QR code held."""
    text = data.lstrip()
    if text.startswith(PAPER.encode()):
        return read_paper(data.decode("ascii", "replace"))
    if re.fullmatch(rb"[A-Za-z0-9+/\s]+=*\s*", data):
        try:
            return base64.b64decode(b"".join(data.split()), validate=True)
        except binascii.Error:
            raise NotAKeyBackup("This copy of the key is incomplete or changed. Use another copy.") from None
    return unarmor(data)


def _head(lines: int, blob: bytes) -> str:
    body = f"{lines}/{_letters(blob, _TOTAL)}"
    return f"{body} - {_letters(body.encode(), _CHECK)}"


def _check(number: int, piece: bytes) -> str:
    return _letters(number.to_bytes(2, "big") + piece, _CHECK)


def _letters(data: bytes, count: int) -> str:
    return _base32(hashlib.sha256(data).digest())[:count]


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=")


def _squeezed(typed: str) -> str:
    return re.sub(r"\s", "", typed).upper()
