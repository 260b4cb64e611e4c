"""Backups of a key file: as a text file, and on paper in lines that can be checked one by one.

The key file is opaque here: bytes that only its owner's passphrase opens. No message tells any of them.
Specified in docs/format.md, "Key backups".
"""

import base64
import binascii

import msgspec

from strongroom.crypto import checked_text
from strongroom.crypto.checked_text import CheckFailed
from strongroom.crypto.hashing import plain_hash
from strongroom.crypto.keyformat import MAX_KEY_FILE
from strongroom.errors import KeyForeign, KeyInvalid, NotAKeyBackup, VersionUnknown
from strongroom.ids import ID_SIZE, RepositoryId

# --- a text file ---

FILE_MAGIC = "STRONGROOM_KEY"
_LINE_LETTERS = 64
_MAX_TEXT = 4 * MAX_KEY_FILE  # characters; either form takes less than twice the key


def export_file(key: bytes, repository: RepositoryId) -> str:
    """`STRONGROOM_KEY <repository id in hex>`, then the key in base64, 64 characters a line."""
    text = base64.b64encode(_bounded(key)).decode()
    lines = [text[at : at + _LINE_LETTERS] for at in range(0, len(text), _LINE_LETTERS)]
    return "\n".join([f"{FILE_MAGIC} {repository.hex()}", *lines]) + "\n"


def parse_file(text: str, repository: RepositoryId | None = None) -> tuple[RepositoryId, bytes]:
    """The repository's id and the key. With `repository`, the backup must be of a key to it.

    Raises `NotAKeyBackup`, `KeyForeign`, `KeyInvalid`.
    """
    first, *rest = text[:_MAX_TEXT].splitlines() or [""]
    magic, _, written_id = first.rstrip().partition(" ")
    if magic != FILE_MAGIC:
        raise NotAKeyBackup(
            f"This is no key backup: it does not begin with {FILE_MAGIC}. Give the file that "
            "`strongroom key export` wrote, or --paper for one on paper."
        )
    if len(written_id) != 2 * ID_SIZE or not set(written_id) <= set("0123456789abcdef"):
        raise KeyInvalid("The key backup is damaged: line 1 holds no repository id. Use another copy.")
    found = RepositoryId(bytes.fromhex(written_id))
    _require_same(found, repository)
    body = "".join(line.rstrip() for line in rest)
    try:
        key = base64.b64decode(body.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        key = b""
    if not 0 < len(key) <= MAX_KEY_FILE or base64.b64encode(key).decode() != body or len(text) > _MAX_TEXT:
        raise KeyInvalid("The key backup is damaged: its base64 is not as written. Use another copy.")
    return found, key


def _require_same(found: bytes, repository: RepositoryId | None) -> None:
    if repository is not None and repository[: len(found)] != found:
        raise KeyForeign(
            f"The key backup is for repository {found.hex()}, this one is {repository.hex()}: "
            "name the repository that it belongs to."
        )


def _bounded(key: bytes) -> bytes:
    if not 0 < len(key) <= MAX_KEY_FILE:
        raise KeyInvalid(f"A key file of {len(key)} bytes cannot be right: {MAX_KEY_FILE} is the most.")
    return key


# --- what paper and QR codes begin with ---

VERSION = 1
_ID_BYTES = 10
_SUM_BYTES = 16
HEAD_BYTES = 1 + 3 + _ID_BYTES + _SUM_BYTES


class Head(msgspec.Struct, frozen=True):
    """30 bytes: version, length (3, big endian), the id's first 10, the first 16 of the key's BLAKE3."""

    length: int
    repository: bytes
    digest: bytes

    def encode(self) -> bytes:
        return bytes([VERSION]) + self.length.to_bytes(3, "big") + self.repository + self.digest

    def verified(self, key: bytes) -> bytes:
        """`key`, if it is the one that was written. Raises `KeyInvalid`."""
        if len(key) != self.length or plain_hash(key)[:_SUM_BYTES] != self.digest:
            raise KeyInvalid("The parts of the key backup do not belong together. Enter all of one backup.")
        return key


def head_of(key: bytes, repository: RepositoryId) -> Head:
    return Head(len(_bounded(key)), repository[:_ID_BYTES], plain_hash(key)[:_SUM_BYTES])


def parse_head(data: bytes, repository: RepositoryId | None) -> Head:
    """Raises `VersionUnknown`, `KeyForeign`, `KeyInvalid`."""
    if len(data) != HEAD_BYTES:
        raise KeyInvalid("The key backup does not begin with its head. Enter it from line 0 on.")
    if data[0] != VERSION:
        raise VersionUnknown(f"The key backup has version {data[0]}, unknown here: update strongroom.")
    head = Head(int.from_bytes(data[1:4], "big"), data[4 : 4 + _ID_BYTES], data[4 + _ID_BYTES :])
    if not 0 < head.length <= MAX_KEY_FILE:
        raise KeyInvalid(f"The key backup claims {head.length} bytes, {MAX_KEY_FILE} is the most.")
    _require_same(head.repository, repository)
    return head


# --- paper ---

PAPER_MAGIC = "STRONGROOM PAPER KEY"
LINE_BYTES = 30
_GROUP = 4
_PAPER = 0  # the first five bits of the context: a paper line is no QR code


def export_paper(key: bytes, repository: RepositoryId) -> str:
    """A page of text: a title, then lines `<number>: <groups of four letters> - <check>`.

    Line 0 is the head, each other one has 30 bytes of the key. The check covers the number, too.
    """
    head = head_of(key, repository)
    parts = [head.encode(), *(key[at : at + LINE_BYTES] for at in range(0, len(key), LINE_BYTES))]
    lines = [_paper_line(number, part) for number, part in enumerate(parts)]
    title = [
        f"{PAPER_MAGIC} {VERSION}",
        f"Repository {repository.hex()}",
        "To restore: strongroom key import --paper REPOSITORY",
        "",
    ]
    return "\n".join([*title, *lines]) + "\n"


def _paper_line(number: int, part: bytes) -> str:
    letters = checked_text.encode(part)
    groups = " ".join(letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))
    return f"{number:3d}: {groups} - {checked_text.check(_context(number), letters)}"


def _context(number: int) -> list[int]:
    return [_PAPER, *checked_text.five_bits(number, 3)]


def parse_paper_line(text: str, number: int) -> bytes:
    """The bytes of line `number` as typed: with or without its number, in any case, spaces anywhere.

    Raises `KeyInvalid`, which names the line: ask for it again.
    """
    before, colon, after = text.partition(":")
    typed = after if colon else before
    try:
        if colon and before.strip() != str(number):
            raise CheckFailed("it does not begin with its number")
        if len(text) > 1000:
            raise CheckFailed("it is too long")
        letters, dash, checked = "".join(typed.upper().split()).partition("-")
        if not dash:
            raise CheckFailed("the '-' before the last six characters is missing")
        return checked_text.open_checked(_context(number), letters, checked)
    except CheckFailed as error:
        raise KeyInvalid(f"Line {number} is not as printed: {error}. Compare and enter it again.") from error


class PaperReader:
    """Takes the lines in order; a line that is refused changes nothing and is asked for again.

    `wanted` is the number of the next line, `last` that of the last one, None before line 0.
    """

    def __init__(self, repository: RepositoryId | None = None) -> None:
        self.wanted = 0
        self.last: int | None = None
        self._repository = repository
        self._head: Head | None = None
        self._key = b""

    @property
    def complete(self) -> bool:
        return self.last is not None and self.wanted > self.last

    def feed(self, text: str) -> None:
        """Take line `wanted`. Raises `KeyInvalid`, and `KeyForeign` or `VersionUnknown` for line 0."""
        part = parse_paper_line(text, self.wanted)
        if self._head is None:
            self._head = parse_head(part, self._repository)
            self.last = -(-self._head.length // LINE_BYTES)
        else:
            if len(part) != min(LINE_BYTES, self._head.length - len(self._key)):
                raise KeyInvalid(f"Line {self.wanted} has not the length that line 0 tells. Enter it again.")
            self._key += part
        self.wanted += 1

    def key(self) -> bytes:
        """The whole key. Raises `KeyInvalid` if a line is missing, or is of another backup."""
        if self._head is None or not self.complete:
            raise KeyInvalid(f"The key backup ends before line {self.wanted}. Enter the rest of it.")
        return self._head.verified(self._key)


def parse_paper(text: str, repository: RepositoryId | None = None) -> bytes:
    """The key from the whole text of `export_paper`.

    Raises `NotAKeyBackup`, `VersionUnknown`, `KeyForeign`, `KeyInvalid`.
    """
    title, *rest = text[:_MAX_TEXT].strip().splitlines() or [""]
    magic, _, version = title.strip().rpartition(" ")
    if magic != PAPER_MAGIC:
        raise NotAKeyBackup(f"This is no key backup on paper: it does not begin with {PAPER_MAGIC}.")
    if version != str(VERSION):
        raise VersionUnknown(f"The paper key has version {version!r}, unknown here: update strongroom.")
    blank = next((at for at, line in enumerate(rest) if not line.strip()), len(rest))
    reader = PaperReader(repository)
    for line in filter(str.strip, rest[blank:]):
        if reader.complete:
            raise KeyInvalid(f"The key backup goes on behind its last line, {reader.last}. Remove the rest.")
        reader.feed(line)
    return reader.key()
