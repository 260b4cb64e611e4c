"""Backup of a key file as a page of QR codes, with the paper form below them.

The codes together hold the head and the key (see keybackup); each is text in QR's alphanumeric mode:
`SRKEY:<number>/<count>:<letters>:<check>`. Specified in docs/format.md, "Key backups".
"""

import html
import re

import segno

from strongroom.crypto import checked_text, keybackup
from strongroom.crypto.checked_text import CheckFailed
from strongroom.crypto.keyformat import MAX_KEY_FILE
from strongroom.errors import KeyInvalid, NotAKeyBackup
from strongroom.ids import RepositoryId

CODE_BYTES = 450
"""A code: with error correction M it has 89 modules a side, which a telephone reads off a print of 6 cm."""

_MOST_CODES = -(-(keybackup.HEAD_BYTES + MAX_KEY_FILE) // CODE_BYTES)
_QR = 1  # the first five bits of the context; see keybackup
_PAYLOAD = re.compile(r"SRKEY:([0-9]{1,3})/([0-9]{1,3}):([0-9A-Z]+):([0-9A-Z]{6})")
_MAX_TEXT = 8 * MAX_KEY_FILE  # characters


def payloads(key: bytes, repository: RepositoryId) -> list[str]:
    """The texts of the codes, in order."""
    data = keybackup.head_of(key, repository).encode() + key
    parts = [data[at : at + CODE_BYTES] for at in range(0, len(data), CODE_BYTES)]
    texts = []
    for number, part in enumerate(parts, 1):
        letters = checked_text.encode(part)
        checked = checked_text.check(_context(number, len(parts)), letters)
        texts.append(f"SRKEY:{number}/{len(parts)}:{letters}:{checked}")
    return texts


def parse_payloads(text: str, repository: RepositoryId | None = None) -> bytes:
    """The key from the texts of all codes, in any order, repeated or not, whatever stands between them.

    Raises `NotAKeyBackup`, `VersionUnknown`, `KeyForeign`, `KeyInvalid`.
    """
    found = _PAYLOAD.findall("".join(text[:_MAX_TEXT].upper().split()))
    if not found:
        raise NotAKeyBackup(
            "This is no key backup: neither a file or a page that `strongroom key export` wrote, "
            "nor the text of its QR codes."
        )
    counts = {int(count) for _, count, _, _ in found}
    count = max(counts)
    if len(counts) > 1 or not 1 <= count <= _MOST_CODES:
        raise KeyInvalid("The QR codes are of different key backups. Scan the codes of one page.")
    parts: dict[int, bytes] = {}
    for written, _, letters, checked in found:
        number = int(written)
        try:
            part = checked_text.open_checked(_context(number, count), letters, checked)
        except CheckFailed as error:
            raise KeyInvalid(
                f"QR code {number} of {count} was not read well: {error}. Scan it again."
            ) from error
        if parts.setdefault(number, part) != part:
            raise KeyInvalid("The QR codes are of different key backups. Scan the codes of one page.")
    missing = [str(number) for number in range(1, count + 1) if number not in parts]
    if missing:
        raise KeyInvalid(f"Of {count} QR codes, number {', '.join(missing)} is missing. Scan it, too.")
    data = b"".join(parts[number] for number in range(1, count + 1))
    head = keybackup.parse_head(data[: keybackup.HEAD_BYTES], repository)
    return head.verified(data[keybackup.HEAD_BYTES :])


def parse_any(text: str, repository: RepositoryId | None = None) -> bytes:
    """The key from a backup of any of the three forms, told apart by their beginnings.

    Raises `NotAKeyBackup`, `VersionUnknown`, `KeyForeign`, `KeyInvalid`.
    """
    start = text.lstrip()
    if start.startswith(keybackup.PAPER_MAGIC):
        return keybackup.parse_paper(text, repository)
    if start.startswith(keybackup.FILE_MAGIC):
        return keybackup.parse_file(start, repository)[1]
    return parse_payloads(text, repository)


def _context(number: int, count: int) -> list[int]:
    return [_QR, *checked_text.five_bits(number, 2), *checked_text.five_bits(count, 2)]


def export_html(key: bytes, repository: RepositoryId, title: str = "strongroom key") -> str:
    """A page for the printer that needs nothing but itself: the codes, numbered, and the paper form."""
    texts = payloads(key, repository)
    figures = "\n".join(
        f"<figure>{_svg(text)}<figcaption>{number} of {len(texts)}</figcaption></figure>"
        for number, text in enumerate(texts, 1)
    )
    paper = html.escape(keybackup.export_paper(key, repository))
    return _PAGE.format(title=html.escape(title), repository=repository.hex(), figures=figures, paper=paper)


def _svg(text: str) -> str:
    code = segno.make(text, mode="alphanumeric", error="m", boost_error=False, micro=False)
    return str(code.svg_inline(border=4, omitsize=True))


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 1cm; color: black; background: white }}
figure {{ display: inline-block; width: 7.5cm; margin: 0 0.5cm 0.5cm 0; text-align: center;
  break-inside: avoid }}
figure svg {{ width: 100%; height: auto }}
pre {{ font-size: 9pt; line-height: 1.25; break-before: page }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>Repository {repository}</p>
<p>To restore the key: scan all codes, in any order, into one text file, then
<code>strongroom key import REPOSITORY FILE</code>; or type the lines below the codes after
<code>strongroom key import --paper REPOSITORY</code>. The passphrase is not on this page.</p>
{figures}
<pre>{paper}</pre>
</body>
</html>
"""
