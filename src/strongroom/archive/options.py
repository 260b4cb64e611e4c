"""What the words of the command line resolve to, for the commands that read and write file systems."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class FilesCacheMode:
    """How a file is recognised as unchanged. Borg's `--files-cache`.

    Default: `ctime,size,inode`. `disabled` and `rechunk` read every file; `rechunk` also
    fills the cache.
    """

    time: Literal["ctime", "mtime"] = "ctime"
    size: bool = True
    inode: bool = True
    read: bool = True  # look files up in the cache
    write: bool = True  # remember them for the next run


@dataclass(frozen=True, slots=True)
class Attributes:
    """Which metadata to store or restore beyond type, mode, owner and mtime."""

    numeric_ids: bool = False
    atime: bool = False
    ctime: bool = True
    birthtime: bool = True
    xattrs: bool = True
    acls: bool = True
    flags: bool = True
    owners: bool = True  # False: what is restored stays whoever restores it, without set-id bits


@dataclass(frozen=True, slots=True)
class StreamFile:
    """The one file of an archive whose content comes from a stream: `-` and `--content-from-command`."""

    name: str = "stdin"
    mode: int = 0o660
    user: str | None = None
    group: str | None = None
    command: list[str] | None = None  # None: read standard input


@dataclass(frozen=True, slots=True)
class PathSource:
    """Paths from a stream instead of a recursive walk: `--paths-from-stdin/-command`."""

    delimiter: bytes = b"\n"
    command: list[str] | None = None  # None: read standard input


@dataclass(frozen=True, slots=True)
class ScanOptions:
    exclude_caches: bool = False
    exclude_if_present: list[bytes] = field(default_factory=list)
    keep_exclude_tags: bool = False
    exclude_nodump: bool = False
    one_file_system: bool = False
    read_special: bool = False
    files_cache: FilesCacheMode = FilesCacheMode()
    attributes: Attributes = Attributes()


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    attributes: Attributes = Attributes()
    strip_components: int = 0
    sparse: bool = False
    dry_run: bool = False
    resume: bool = False  # keep what an earlier restore has left, where it is what the archive holds


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """What an archive is called and says of itself."""

    name: str
    comment: str = ""
    timestamp: datetime | None = None  # of the archive, in place of now; aware
    command_line: list[str] = field(default_factory=list)
