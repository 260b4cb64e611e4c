"""Which folder a client's path means, and whether it may have it."""

import os

import msgspec

from strongroom.errors import (
    Damaged,
    NotARepository,
    PathNotAllowed,
    PathOccupied,
    StoreError,
    VersionUnknown,
)
from strongroom.repository import founding
from strongroom.store.local import LocalStore
from strongroom.store.wire import printable


class Place(msgspec.Struct, frozen=True):
    path: str  # absolute, without symlinks
    scope: str  # the folder that a quota covers


def resolve(wanted: bytes, paths: list[str], repositories: list[str]) -> Place:
    """`wanted` as a client writes it: absolute, relative to the working folder, or below `~`.

    `paths` are `--restrict-to-path`, `repositories` `--restrict-to-repository`; of each list that is
    not empty, one must admit it. Raises `PathNotAllowed`.
    """
    text = os.fsdecode(wanted)
    shown = printable(text.encode("utf-8", "replace").decode())
    if "\0" in text:
        raise PathNotAllowed(f"{shown!r} is no path")
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise PathNotAllowed(f"{shown!r}: the server knows no such home folder")
    # Links and `..` are gone before anything is compared.
    path = os.path.realpath(expanded)
    scope = path
    if paths:
        folder = next((found for found in map(os.path.realpath, paths) if _within(path, found)), None)
        if folder is None:
            raise PathNotAllowed(f"{shown!r} is outside of what the server gives this client")
        scope = folder
    if repositories:
        if path not in map(os.path.realpath, repositories):
            raise PathNotAllowed(f"{shown!r} is not the repository that the server gives this client")
        scope = path
    return Place(path, scope)


def check_not_nested(path: str) -> None:
    """Raises `PathOccupied` if a new repository at `path` would lie inside of another one."""
    folder = os.path.dirname(path)
    while True:
        if _is_repository(folder):
            raise PathOccupied(f"{path} is inside of the repository at {folder}: choose another place")
        if folder == os.path.dirname(folder):
            return
        folder = os.path.dirname(folder)


def _is_repository(folder: str) -> bool:
    try:
        founding.decode(LocalStore(folder).get(founding.NAME, 0, founding.MAX_SIZE + 1), folder)
    except (Damaged, VersionUnknown):
        return True
    except (NotARepository, StoreError):
        return False
    return True


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
