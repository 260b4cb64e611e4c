"""What a walk is made of: the folders on its way, and who visits them."""

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from strongroom.archive.crowd import Child, Crowd
from strongroom.archive.entries import Entry
from strongroom.archive.options import StreamFile
from strongroom.archive.sources import SourceNode

if TYPE_CHECKING:
    from strongroom.archive.looks import Looks

LONG_PATH = 2048  # bytes relative to the base; PATH_MAX is 4096
FOLLOW_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK
FLAGS = FOLLOW_FLAGS | os.O_NOFOLLOW


class Base(NamedTuple):
    """An open folder that paths are relative to; `fd` None: the working directory."""

    fd: int | None
    prefix: int  # bytes of the full path that lead to it

    def open(self, path: bytes) -> int:
        """The folder at the full path `path`. Raises OSError."""
        return os.open(path[self.prefix :] or b".", FLAGS, dir_fd=self.fd)


WORKING_DIRECTORY = Base(None, 0)


class Subfolder(msgspec.Struct):
    """A folder that the walk is to enter, or has left: then `tree` holds its tree's chunk ids."""

    name: bytes
    path: bytes
    status: os.stat_result | None  # None: implied, it has no metadata of its own in the archive
    node: SourceNode | None
    scan: bool  # list it on disk; otherwise only what was planted in it
    base: Base
    device: int | None  # of the file system to stay in
    tree: bytes = b""


class Frame(msgspec.Struct):
    """A folder being walked."""

    place: Subfolder
    base: Base  # for what is inside
    files: list[Child] | Crowd = []
    entered: list[Subfolder] = []
    folders: Iterator[Subfolder] = msgspec.field(default_factory=lambda: iter(()))  # those yet to enter
    finished: list[Subfolder] = []
    extra: list[Entry] = []  # sources that are no folders
    complete: bool = True  # False: something is missing that a later run may get
    listed: bool = False
    looks: "Looks | None" = None  # as a scout has seen it
    list_files: "Callable[[Frame], None] | None" = None
    """To be called for `files`; `looks` are forgotten by it."""

    @property
    def path(self) -> bytes:
        return self.place.path

    @property
    def has_sources(self) -> bool:
        """Sources of their own, or what leads to them."""
        return self.place.node is not None and bool(self.place.node.children)

    def open(self) -> int:
        """The folder itself. Raises OSError."""
        place = self.place
        if place.node is not None and place.node.path is not None:  # a source may be reached through links
            return os.open(place.path, FOLLOW_FLAGS)
        return place.base.open(place.path)

    def close(self) -> None:
        if self.base is not self.place.base and self.base.fd is not None:
            os.close(self.base.fd)


class Visitor(Protocol):
    def is_familiar(self, frame: Frame) -> bool:
        """Whether the folder looks (`frame.looks`) as one whose files are stored already."""

    def leave(self, frame: Frame) -> bytes | None:
        """All subfolders are finished. Returns the tree's chunk ids, None to leave the folder out."""

    def single(self, name: bytes, path: bytes, status: os.stat_result) -> Entry | None:
        """A source that is no folder."""

    def stream(self, name: bytes, stream: StreamFile) -> Entry | None:
        """A source that is no file at all."""


def join(folder: bytes, name: bytes) -> bytes:
    """As `os.path.join`, and as Borg: what is in `.` has no `./`."""
    if folder in (b".", b""):
        return name
    return folder + name if folder.endswith(b"/") else folder + b"/" + name
