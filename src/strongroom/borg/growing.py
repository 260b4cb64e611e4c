"""Items of an archive, one by one, as entries for the folders that they belong into."""

import stat
from collections.abc import Callable
from typing import Any

import msgspec

from strongroom.archive.entries import Entry
from strongroom.borg.items import (
    Content,
    content_of,
    entry_of,
    hard_link_source,
    link_of,
    parts_of,
    split_path,
)
from strongroom.crypto import hashing
from strongroom.errors import Damaged
from strongroom.ids import ID_SIZE, ChunkId

_MAX_DEPTH = 4096  # components of a path
FOLDER = 16  # bytes of a folder's hash

encode_entry = msgspec.msgpack.Encoder().encode


def folder_key(path: bytes) -> bytes:
    return hashing.plain_hash(path)[:FOLDER]


def key_of(path: bytes) -> bytes:
    """Of what is at a path: all of one folder begin alike, and are ordered by their names."""
    above, _, name = path.rpartition(b"/")
    return folder_key(above) + name


class Grown(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An item that says all of itself."""

    key: bytes  # of its path
    folder: bytes  # path
    entry: bytes  # encoded
    raw: bytes  # as Borg wrote it
    size: int  # bytes of content; -1: no regular file


class Follow(msgspec.Struct, array_like=True, frozen=True):
    """A further name of a file: it has the content of the first one, wherever that stands."""

    path: bytes
    source: bytes  # path of the first name
    entry: Entry


class Growth(msgspec.Struct):
    """What came of some items, one behind the other."""

    grown: list[Grown] = []
    folders: set[bytes] = msgspec.field(default_factory=set)  # paths of what holds them
    follows: list[Follow] = []
    sizes: dict[bytes, bytes] = {}  # chunk: what it takes in the repository
    told: list[str] = []
    root: Entry | None = None
    items: int = 0
    files: int = 0
    size: int = 0  # bytes of content


class Grower:
    def __init__(self, has: Callable[[ChunkId], bool], *, with_parts: bool = False) -> None:
        """`has` says whether the repository holds a chunk; `with_parts`: parts of files are wanted, too."""
        self._has = has
        self._with_parts = with_parts
        self.growth = Growth()

    def again(self, one: Grown) -> None:
        """An item that is known."""
        growth = self.growth
        growth.items += 1
        growth.folders.add(one.folder)
        growth.grown.append(one)
        if one.size >= 0:
            growth.files += 1
            growth.size += one.size

    def take(self, item: object, raw: bytes) -> bytes | None:
        """The key of its path, if it has one. What is wrong with it is told, and the rest goes on."""
        told = len(self.growth.told)
        try:
            one = self._grow(item, raw)
        except Damaged as error:
            self.growth.told.append(f"{error} It is left out.")
            one = None
        if one is None:
            self.growth.items += 1
            return None
        if len(self.growth.told) > told:  # it is looked into whenever it comes, so that this is told
            one = msgspec.structs.replace(one, raw=_NEVER)
        self.again(one)
        return one.key

    def _grow(self, item: object, raw: bytes) -> Grown | None:
        if not isinstance(item, dict):
            raise Damaged("An item is no list of fields.")
        if (
            item.get(b"part") is not None and not self._with_parts
        ):  # of an interrupted run: the whole file follows, or never came
            return None
        parts = parts_of(item)
        if len(parts) > _MAX_DEPTH:
            raise Damaged("An item's path is too deep.")
        source = hard_link_source(item)
        entry = entry_of(item, parts[-1] if parts else b"", self._content(item))
        path = b"/".join(parts)
        if not parts:
            if not entry.is_dir:
                raise Damaged("The archive's topmost item is no folder.")
            self.growth.root = entry
            return None
        folder = path.rpartition(b"/")[0]
        if source is not None:
            self.growth.folders.add(folder)
            self.growth.follows.append(Follow(path, b"/".join(split_path(source)), entry))
            return None
        if item.get(b"hardlink_master") and not entry.is_dir:
            entry.link = link_of(path)
        size = entry.size if stat.S_ISREG(entry.mode) else -1
        return Grown(key_of(path), folder, encode_entry(entry), raw, size)

    def _content(self, item: dict[bytes, Any]) -> Content:
        content = content_of(item)
        if item.get(b"chunks_healthy") is not None:
            # `borg check --repair` put zeros where a chunk was lost. It may have come back since.
            healthy = content_of(item, b"chunks_healthy")
            ids = healthy.ids
            if all(self._has(ChunkId(ids[at : at + ID_SIZE])) for at in range(0, len(ids), ID_SIZE)):
                content = healthy
            else:
                path = item[b"path"].decode(errors="backslashreplace")
                self.growth.told.append(
                    f"{path}: `borg check --repair` has put zeros in place of chunks that were lost."
                )
        for at, stored in enumerate(content.stored):
            if stored:
                self.growth.sizes[content.ids[at * ID_SIZE : (at + 1) * ID_SIZE]] = stored.to_bytes(4, "big")
        return content


_NEVER = b"\xc1"  # what no msgpack begins with
