"""What the words of the command line resolve to, for the commands that read and write file systems."""

from datetime import datetime
from typing import Literal

import msgspec


class FilesCacheMode(msgspec.Struct, frozen=True):
    """How a file is recognised as unchanged. Borg's `--files-cache`.

    Default: `ctime,size,inode`. `disabled` and `rechunk` read every file; `rechunk` also
    fills the cache.
    """

    time: Literal["ctime", "mtime"] = "ctime"
    size: bool = True
    inode: bool = True
    read: bool = True  # look files up in the cache
    write: bool = True  # remember them for the next run


class Attributes(msgspec.Struct, frozen=True):
    """Which metadata to store or restore beyond type, mode, owner and mtime."""

    numeric_ids: bool = False
    atime: bool = False
    ctime: bool = True
    birthtime: bool = True
    xattrs: bool = True
    acls: bool = True
    flags: bool = True
    owners: bool = True  # False: what is restored stays whoever restores it, without set-id bits


class StreamFile(msgspec.Struct, frozen=True):
    """The one file of an archive whose content comes from a stream: `-` and `--content-from-command`."""

    name: str = "stdin"
    mode: int = 0o660
    user: str | None = None
    group: str | None = None
    command: list[str] | None = None  # None: read standard input


class PathSource(msgspec.Struct, frozen=True):
    """Paths from a stream instead of a recursive walk: `--paths-from-stdin/-command`."""

    delimiter: bytes = b"\n"
    command: list[str] | None = None  # None: read standard input


class ScanOptions(msgspec.Struct, frozen=True):
    exclude_caches: bool = False
    exclude_if_present: list[bytes] = []
    keep_exclude_tags: bool = False
    exclude_nodump: bool = False
    one_file_system: bool = False
    read_special: bool = False
    files_cache: FilesCacheMode = FilesCacheMode()
    attributes: Attributes = Attributes()


class RestoreOptions(msgspec.Struct, frozen=True):
    attributes: Attributes = Attributes()
    strip_components: int = 0
    sparse: bool = False
    dry_run: bool = False
    resume: bool = False  # keep what an earlier restore has left, where it is what the archive holds


class ArchiveOptions(msgspec.Struct, frozen=True):
    """What an archive is called and says of itself."""

    name: str
    comment: str = ""
    timestamp: datetime | None = None  # of the archive, in place of now; aware
    command_line: list[str] = []
