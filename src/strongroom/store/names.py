"""Which names objects may have, checked before a name comes near a path or a message."""

import re

from strongroom.errors import StoreRefused

MAX_NAME = 200  # characters
SCRATCH = "tmp"  # the folder of unfinished uploads: its files are no objects
QUOTA = ".quota"  # the folder in which a server keeps its count
RESERVE = ".reserve"  # the folder of the space that is kept for deletions
HASHED = ("keys/", "packs/", "index/", "refs/", "archives/")  # names that end in the BLAKE3 of the bytes
_COMPONENT = r"[a-z0-9-]{1,100}"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT}){{0,7}}")
_PREFIX = re.compile(rf"(?:{_COMPONENT}/){{0,7}}")


def is_component(text: str) -> bool:
    return re.fullmatch(_COMPONENT, text) is not None


def is_name(name: str) -> bool:
    return len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None and name.split("/", 1)[0] != SCRATCH


def check_name(name: str) -> str:
    """`name`, if it may name an object. Raises `StoreRefused`."""
    if not is_name(name):
        raise StoreRefused(
            f"{name[:MAX_NAME]!r} cannot name an object: lower-case letters, digits, - and / only"
        )
    return name


def following(name: str, count: int) -> list[str]:
    """`name`, which ends in a number, and the names after it. Raises `StoreRefused` if it does not."""
    folder, _, digits = check_name(name).rpartition("/")
    if not digits.isdecimal():
        raise StoreRefused(f"{name!r} has no number")
    return [f"{folder}/{int(digits) + more:0{len(digits)}d}" for more in range(count)]


def check_hashed(name: str) -> str:
    """`name`, if it ends in the hash of what it names. Raises `StoreRefused`."""
    if not check_name(name).startswith(HASHED):
        raise StoreRefused(f"{name!r} does not tell what its bytes should be: it cannot be mended")
    return name


def check_prefix(prefix: str) -> str:
    """`prefix`, if it is empty or a folder's name ending in `/`. Raises `StoreRefused`."""
    if len(prefix) > MAX_NAME or not _PREFIX.fullmatch(prefix) or prefix.split("/", 1)[0] == SCRATCH:
        raise StoreRefused(f"{prefix[:MAX_NAME]!r} cannot be listed: a folder's name ending in / is expected")
    return prefix
