"""The lines of `list ARCHIVE`: one for each file."""

import os
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from strongroom.cli.formats import Moment, Template, template_for_json
from strongroom.cli.printable import printable, without_surrogates

if TYPE_CHECKING:
    from strongroom.archive.entries import Entry
    from strongroom.commands.results import ArchiveInfo

DEFAULT = "{mode} {user:6} {group:6} {size:8} {mtime} {path}{extra}{NL}"
SHORT = "{path}{NL}"

HASHES = (
    *("blake2b", "blake2s", "blake3", "md5", "sha1", "sha224", "sha256", "sha384"),
    *("sha3_224", "sha3_256", "sha3_384", "sha3_512", "sha512", "xxh64"),
)
"""What hashlib guarantees, with a digest of fixed length, and two more."""

KEYS: dict[str, str] = {
    "type": "type letter: - d l b c p s",
    "mode": "type and permissions, h in front for a further name of a hard-linked file",
    "uid": "number of the owner",
    "gid": "number of the group",
    "user": "name of the owner, or the number where there is none",
    "group": "name of the group, or the number where there is none",
    "path": "path as text (undecodable bytes as ?, see bpath)",
    "bpath": "path verbatim: any byte but NUL",
    "source": 'target of a link (the same as "linktarget")',
    "linktarget": "target of a symbolic link, or the first name of a hard-linked file",
    "flags": "file flags, as the number that BSD and Borg give them",
    "size": "size in bytes",
    "csize": "compressed size (small files are compressed together: an equal share)",
    "dsize": "size of the chunks that only this file uses",
    "dcsize": "compressed size of the chunks that only this file uses",
    "num_chunks": "number of chunks",
    "unique_chunks": "number of chunks that only this file uses",
    "mtime": "time of last change of the content",
    "ctime": "time of last change of the metadata",
    "atime": "time of last access",
    "isomtime": "mtime in ISO 8601 format",
    "isoctime": "ctime in ISO 8601 format",
    "isoatime": "atime in ISO 8601 format",
    **{name: f"{name} of the content" for name in HASHES},
    "archiveid": "internal ID of the archive",
    "archivename": "name of the archive",
    "extra": '" -> {source}" for a symbolic link, " link to {source}" for a hard-linked file',
    "health": '"healthy", or "broken" where a chunk of the file is missing from the repository',
}

_COSTLY = frozenset({"csize", "dsize", "dcsize", "unique_chunks", "health", *HASHES})
_COMPUTED = frozenset(  # in JSON only where the format names them, as in Borg
    {"size", "num_chunks", "mtime", "ctime", "atime", "isomtime", "isoctime", "isoatime"}
    | {"archiveid", "archivename"}
    | _COSTLY - {"health"}
)


class Contents(Protocol):
    """What a listing may ask of the repository, beyond the trees."""

    def read(self, entry: "Entry") -> Iterable[bytes]:
        """The content of a regular file, piece by piece."""

    def compressed_size(self, entry: "Entry") -> int: ...

    def unique(self, entry: "Entry") -> tuple[int, int, int]:
        """Of the chunks that nothing else uses: (count, bytes, compressed bytes)."""

    def is_whole(self, entry: "Entry") -> bool:
        """Every chunk is in the repository."""


_IN_JSON = ["type", "mode", "user", "group", "uid", "gid", "path", "healthy", "source", "linktarget", "flags"]
"""What each line of --json-lines has, in Borg's order."""


class ItemFormatter:
    """Formats the entries of one archive, in order: it remembers the first name of each hard link.

    `safe` escapes control characters in paths, for a terminal.
    """

    def __init__(
        self,
        text: str | None,
        archive: "ArchiveInfo",
        contents: Contents,
        *,
        short: bool = False,
        safe: bool = False,
        as_json: bool = False,
    ) -> None:
        make = template_for_json if as_json else Template
        self._template = make(text if text is not None else SHORT if short else DEFAULT, KEYS)
        self._archive = archive
        self._contents = contents
        self._text = printable if safe else without_surrogates
        self._links: dict[bytes, bytes] = {}

    def line(self, path: bytes, entry: "Entry") -> str:
        """May hold surrogates for undecodable bytes, if the format asks for `bpath`."""
        values = self._values(path, entry)
        for key in self._template.used & _COMPUTED:
            values[key] = self._computed(key, path, entry)
        if "health" in self._template.used:
            values["health"] = "healthy" if self._contents.is_whole(entry) else "broken"
        return self._template.fill(values)

    def json_line(self, path: bytes, entry: "Entry") -> str:
        found = self._values(path, entry)
        found["path"] = without_surrogates(os.fsdecode(path))
        found["healthy"] = self._contents.is_whole(entry)
        values = {key: found[key] for key in _IN_JSON}
        values["source"] = values["linktarget"] = without_surrogates(str(values["source"]))
        for key in KEYS:  # a fixed order of keys
            if key in self._template.used and key in _COMPUTED:
                value = self._computed(key, path, entry)
                values[key] = value.iso() if isinstance(value, Moment) else value
        import json

        return json.dumps(values) + "\n"

    def _values(self, path: bytes, entry: "Entry") -> dict[str, object]:
        mode = stat.filemode(entry.mode)
        kind = mode[0]
        source = extra = ""
        first = self._first_name(path, entry)
        if first is not None:
            source = self._text(os.fsdecode(first))
            mode, extra = "h" + mode[1:], f" link to {source}"
        elif entry.target is not None:
            source = self._text(os.fsdecode(entry.target))
            extra = f" -> {source}"
        text = os.fsdecode(path)
        return {
            "type": kind,
            "mode": mode,
            "user": self._text(entry.user) if entry.user else entry.uid,
            "group": self._text(entry.group) if entry.group else entry.gid,
            "uid": entry.uid,
            "gid": entry.gid,
            "path": self._text(text),
            "bpath": printable(text) if self._text is printable else text,
            "extra": extra,
            "source": source,
            "linktarget": source,
            "flags": _bsd_flags(entry.flags) if entry.flags else 0,
        }

    def _first_name(self, path: bytes, entry: "Entry") -> bytes | None:
        if entry.link is None:
            return None
        first = self._links.setdefault(entry.link, path)
        return None if first == path else first

    def _computed(self, key: str, path: bytes, entry: "Entry") -> object:
        if key == "archivename":
            return without_surrogates(self._archive.name or "")
        if key == "archiveid":
            return self._archive.id.hex()
        if key.endswith("time"):
            stamp = getattr(entry, key.removeprefix("iso"))
            moment = Moment.of_nanoseconds(entry.mtime if stamp is None else stamp)
            return moment.iso() if key.startswith("iso") else moment
        if self._first_name(path, entry) is not None:  # a further name: Borg counts the file once
            return "" if key in HASHES else 0
        if key == "size":
            return len(entry.target) if entry.target is not None else entry.size
        if not entry.is_regular:
            return "" if key in HASHES else 0
        if key == "num_chunks":
            return len(entry.chunks())
        if key in HASHES:
            return self._hash(key, entry)
        if key == "csize":
            return self._contents.compressed_size(entry)
        return self._contents.unique(entry)[("unique_chunks", "dsize", "dcsize").index(key)]

    def _hash(self, name: str, entry: "Entry") -> str:
        if name == "xxh64":
            import xxhash

            hasher: Any = xxhash.xxh64()
        elif name == "blake3":
            import blake3

            hasher = blake3.blake3()
        else:
            import hashlib

            hasher = hashlib.new(name, usedforsecurity=False)
        for piece in self._contents.read(entry):
            hasher.update(piece)
        return str(hasher.hexdigest())


def _bsd_flags(flags: int) -> int:
    from strongroom.archive.platform.flags import to_bsd  # few files have any

    return to_bsd(flags)
