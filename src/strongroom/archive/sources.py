"""What is to be backed up, as a tree of the paths that the user gave."""

import os

import msgspec

from strongroom.archive.options import PathSource, StreamFile
from strongroom.archive.trees import MAX_NAME
from strongroom.errors import CommandError


class Sources(msgspec.Struct, frozen=True):
    """`paths` may contain `b"-"`, which stands for `stream`."""

    paths: list[bytes] = []
    stream: StreamFile | None = None
    listed: PathSource | None = None


class SourceNode(msgspec.Struct):
    """A folder that leads to sources, or a source itself: then `path` is where it lies on disk."""

    children: dict[bytes, "SourceNode"] = {}
    path: bytes | None = None
    recurse: bool = True
    stream: StreamFile | None = None


def plant(paths: list[bytes], *, recurse: bool = True) -> SourceNode:
    """The tree of all paths, normalized; where they lie in the archive is `stored_parts`."""
    root = SourceNode()
    for path in paths:
        normalized = os.path.normpath(path)
        node = _descend(root, stored_parts(path))
        if node.path is None:
            node.path, node.recurse = normalized, recurse
    return root


def plant_stream(root: SourceNode, stream: StreamFile) -> None:
    """Raises `CommandError` for a name that no file can have, or that a source has already."""
    parts = stored_parts(os.fsencode(stream.name))
    if any(len(part) > MAX_NAME for part in parts):
        raise CommandError(f"A file's name has at most {MAX_NAME} bytes: {stream.name[:60]}... has more.")
    if not parts:
        raise CommandError(f"{stream.name!r} names no file: give the data from the stream another name.")
    node = _descend(root, parts)
    if node.path is not None or node.children:
        raise CommandError(
            f"{stream.name!r} is backed up already: give the data from the stream another name."
        )
    node.stream = stream


def stored_parts(path: bytes) -> list[bytes]:
    """The components of a source in the archive: no leading slash, no `..` at the front.

    As Borg, `/./` in a path drops what stands before it.
    """
    before, mark, after = path.partition(b"/./")
    kept = after if mark and before.strip(b"/.") else path
    parts = [part for part in os.path.normpath(kept).split(b"/") if part not in (b"", b".")]
    while parts and parts[0] == b"..":
        parts.pop(0)
    return parts


def _descend(root: SourceNode, parts: list[bytes]) -> SourceNode:
    node = root
    for part in parts:
        node = node.children.setdefault(part, SourceNode())
    return node
