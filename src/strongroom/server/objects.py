"""What a repository is made of, as a server sees it: which names, how large, and which name themselves."""

import re

import msgspec

from strongroom.errors import StoreRefused
from strongroom.store.stamp import MAX_RECORD
from strongroom.store.wire import MAX_OBJECT


class Area(msgspec.Struct, frozen=True):
    """One kind of object. `hashed`: the last part of the name is the BLAKE3 of the bytes, in hex."""

    name: str
    pattern: re.Pattern[str]
    max_size: int  # bytes
    hashed: bool


def _area(name: str, pattern: str, max_size: int, *, hashed: bool) -> Area:
    return Area(name, re.compile(pattern), max_size, hashed)


_HASH = r"[0-9a-f]{64}"
_SHARDED = r"(?P<shard>[0-9a-f]{2})/(?P=shard)[0-9a-f]{62}"

AREAS = {
    area.name: area
    for area in (
        _area("config", "config", 64 << 10, hashed=False),
        _area("keys", f"keys/{_HASH}", 1 << 20, hashed=True),
        _area("packs", f"packs/{_SHARDED}", MAX_OBJECT, hashed=True),
        _area("index", f"index/{_HASH}", 256 << 20, hashed=True),
        _area("refs", f"refs/{_SHARDED}", 64 << 20, hashed=True),
        _area("archives", f"archives/{_HASH}", 16 << 20, hashed=True),
        _area("log", r"log/[0-9]{20}", MAX_RECORD, hashed=False),
        _area("leases", r"leases/[0-9a-f]{32}", 4 << 10, hashed=False),
        _area("parity", f"parity/{_HASH}", MAX_OBJECT, hashed=False),
    )
}


def area_of(name: str) -> Area:
    """The area that an object's name lies in. Raises `StoreRefused` for a name that no object can have."""
    area = AREAS.get(name.split("/", 1)[0])
    if area is None or not area.pattern.fullmatch(name):
        raise StoreRefused(f"{name!r} is not the name of anything in a repository")
    return area


def areas_below(prefix: str) -> list[Area]:
    """The areas that a listing of `prefix` shows. Raises `StoreRefused` for a folder that cannot be."""
    if not prefix:
        return list(AREAS.values())
    area = AREAS.get(prefix.split("/", 1)[0])
    if area is None or prefix == "config/" or not re.fullmatch(r"[a-z]+/(?:[0-9a-f]{2}/)?", prefix):
        raise StoreRefused(f"{prefix!r} is not a folder of a repository")
    return [area]
