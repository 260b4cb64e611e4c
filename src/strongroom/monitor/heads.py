"""Heads of the log that somebody saw: what `audit` compares the log with.

A head is written `SEQ:HASH`, the number of the newest record and its hash in hex. It is no secret, and
signs for everything before it: whoever keeps one elsewhere can tell later whether history was changed.
"""

import re
from pathlib import Path

import msgspec

from strongroom.errors import CommandError
from strongroom.ids import ID_SIZE
from strongroom.repository.log import Head

_TEXT = re.compile(rf"(\d{{1,18}}):([0-9a-f]{{{2 * ID_SIZE}}})", re.IGNORECASE)
_MAX_FILE = 64 << 20  # bytes; the report of another audit has its head in it


class _InFile(msgspec.Struct):
    seq: int
    hash: str


class _InReport(msgspec.Struct):
    head: _InFile


_in_report = msgspec.json.Decoder(_InReport)
_in_file = msgspec.json.Decoder(_InFile)


def head_text(head: Head) -> str:
    return f"{head.seq}:{head.hash.hex()}"


def expected_head(words: str) -> Head:
    """`SEQ:HASH`, or a file with that, a security folder's `head`, or the JSON report of an audit.

    Raises `CommandError`.
    """
    found = _TEXT.fullmatch(words)
    if found is None:
        found = _TEXT.fullmatch(_from_file(words))
    if found is None or int(found[1]) == 0:
        raise CommandError(
            f'"{words}" is no head: SEQ:HASH is expected, as audit prints it, or a file that holds one.'
        )
    return Head(int(found[1]), bytes.fromhex(found[2]))


def _from_file(path: str) -> str:
    try:
        with Path(path).open("rb") as stream:
            raw = stream.read(_MAX_FILE)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise CommandError(f'"{path}" is neither SEQ:HASH nor a file that can be read: {why}.') from error
    try:
        seen = _in_report.decode(raw).head
    except msgspec.MsgspecError:
        try:
            seen = _in_file.decode(raw)
        except msgspec.MsgspecError:
            return raw[:200].decode("ascii", "replace").strip()
    return f"{seen.seq}:{seen.hash}"
