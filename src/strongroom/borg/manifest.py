"""The manifest of a Borg repository, and the metadata of its archives.

Borg 1.4 documentation, internals, "The manifest" and "Archives".
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from strongroom.borg import packing
from strongroom.borg.keys import Opener
from strongroom.borg.objects import MANIFEST, Objects
from strongroom.borg.segments import ADVICE
from strongroom.errors import Damaged, VersionUnknown
from strongroom.ids import ArchiveId, ChunkId

MAX_ARCHIVES = 400_000  # Borg's own bound
_CHECKPOINT = re.compile(r"\.checkpoint(\.\d+)?")
_FROM_THE_FUTURE = b"\xc1" * 4  # Borg 2 puts it in front, so that Borg 1 refuses
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Named(msgspec.Struct, frozen=True):
    """An archive as the manifest names it."""

    name: str
    id: ArchiveId
    time: int  # ns since the epoch

    @property
    def is_checkpoint(self) -> bool:
        """Left by a `borg create` that is under way, or was interrupted."""
        return bool(_CHECKPOINT.search(self.name))


class Metadata(msgspec.Struct, frozen=True):
    """Of one archive. Times are ns since the epoch; None: an older Borg did not say."""

    items: list[ChunkId]
    start: int
    end: int
    hostname: str
    username: str
    comment: str
    command_line: list[str]
    cwd: str
    files: int | None
    size: int | None
    chunker: list[int]  # smallest, average and largest chunk in bytes


class Manifest(msgspec.Struct, frozen=True):
    archives: list[Named]  # oldest first
    written: int  # ns since the epoch
    key_type: int  # the first byte of it as it is stored


def read_manifest(objects: Objects, opener: Opener, where: str, warn: Callable[[str], None]) -> Manifest:
    """Raises `Damaged`, `VersionUnknown`, and what `objects` raises."""
    stored = objects.get(MANIFEST)
    plain = opener.open(MANIFEST, stored, is_manifest=True)
    what = f"The manifest of {where}"
    if plain.startswith(_FROM_THE_FUTURE):
        raise VersionUnknown(
            f"{what} is of a newer Borg than 1.4. Bring its archives over with that Borg: `borg extract`, "
            "then `strongroom create`."
        )
    fields = _fields(plain, what)
    if fields.get(b"version") not in (1, 2):
        raise VersionUnknown(f"{what} has a version that Borg 1.0 to 1.4 do not have.")
    if b"tam" in fields:
        if not opener.authenticate(plain, fields[b"tam"], b"manifest"):
            raise Damaged(f"{what} does not authenticate: somebody without the key made it. {ADVICE}")
    elif opener.secrets.tam_required:
        raise Damaged(f"{what} is not authenticated, though its key asks for that. {ADVICE}")
    elif opener.mode.storage != "none":
        warn(
            f"{what} is not authenticated, its Borg was older than 1.0.9: who can write there can hide "
            "archives."
        )
    _refuse_features(fields, what)
    archives = fields.get(b"archives")
    if not isinstance(archives, dict) or len(archives) > MAX_ARCHIVES:
        raise Damaged(f"{what} has no list of archives. {ADVICE}")
    found = [_named(name, about, what) for name, about in archives.items()]
    found.sort(key=lambda one: (one.time, one.name))
    when = fields.get(b"timestamp")
    return Manifest(found, parse_time(when, what) if when is not None else 0, stored[0])


def _refuse_features(fields: dict[bytes, Any], what: str) -> None:
    config = fields.get(b"config") or {}
    flags = config.get(b"feature_flags") or {} if isinstance(config, dict) else {}
    reading = flags.get(b"read") or {} if isinstance(flags, dict) else {}
    if isinstance(reading, dict) and reading.get(b"mandatory"):
        raise VersionUnknown(f"{what} asks for features that Borg 1.0 to 1.4 do not have.")


def _named(name: bytes, about: object, what: str) -> Named:
    identity = about.get(b"id") if isinstance(about, dict) else None
    if not isinstance(identity, bytes) or len(identity) != 32 or not 0 < len(name) <= 4096 or b"\0" in name:
        raise Damaged(f"{what} has an impossible entry. {ADVICE}")
    assert isinstance(about, dict)
    return Named(_text(name), ArchiveId(identity), parse_time(about.get(b"time"), what))


def read_metadata(objects: Objects, opener: Opener, archive: Named) -> Metadata:
    """Raises `Damaged`, `VersionUnknown`, and what `objects` raises."""
    what = f"Archive {archive.name}"
    chunk = ChunkId(archive.id)
    plain = opener.open(chunk, objects.get(chunk))
    fields = _fields(plain, what)
    if fields.get(b"version") != 1:
        raise VersionUnknown(f"{what} has a version that Borg 1.0 to 1.4 do not have.")
    if b"tam" in fields and not opener.authenticate(plain, fields[b"tam"], b"archive"):
        raise Damaged(f"{what} does not authenticate: somebody without the key made it. {ADVICE}")
    items = fields.get(b"items")
    if not isinstance(items, list) or not all(isinstance(one, bytes) and len(one) == 32 for one in items):
        raise Damaged(f"{what} has no list of items. {ADVICE}")
    start = parse_time(fields.get(b"time"), what)
    words = fields.get(b"cmdline")
    return Metadata(
        items=items,
        start=start,
        end=parse_time(fields[b"time_end"], what) if fields.get(b"time_end") else start,
        hostname=_text(fields.get(b"hostname")),
        username=_text(fields.get(b"username")),
        comment=_text(fields.get(b"comment")),
        command_line=[_text(word) for word in words] if isinstance(words, list) else [],
        cwd=_text(fields.get(b"cwd")),
        files=_count(fields.get(b"nfiles")),
        size=_count(fields.get(b"size")),
        chunker=_chunker(fields.get(b"chunker_params")),
    )


def _fields(plain: bytes, what: str) -> dict[bytes, Any]:
    value = packing.unpack(plain, what)
    if not isinstance(value, dict):
        raise Damaged(f"{what} is no list of fields. {ADVICE}")
    return value


def _text(value: object) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 1 << 63 else None


def parse_time(value: object, what: str) -> int:
    """Borg writes UTC without saying so."""
    try:
        moment = datetime.fromisoformat(_text(value))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        since = moment - _EPOCH
    except (ValueError, OverflowError):
        raise Damaged(f"{what} has an impossible time. {ADVICE}") from None
    return ((since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def _chunker(value: object) -> list[int]:
    """Sizes; empty where they are not known. Before Borg 1.2 there was one algorithm, and no name for it."""
    if not isinstance(value, list):
        return []
    if value and value[0] == b"fixed":
        blocks = [one for one in value[1:2] if isinstance(one, int) and 0 < one < 1 << 32]
        return blocks * 3
    exponents = value[1:4] if value and value[0] == b"buzhash" else value[:3]
    if len(exponents) < 3 or not all(isinstance(one, int) and 0 <= one < 32 for one in exponents):
        return []
    smallest, largest, average = exponents
    return [1 << smallest, 1 << average, 1 << largest]
