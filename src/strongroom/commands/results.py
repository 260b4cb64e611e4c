"""What the commands return; `cli` makes text or JSON of it."""

from dataclasses import dataclass, field
from datetime import datetime

from strongroom.ids import ArchiveId, KeyId, RepositoryId


@dataclass(slots=True)
class Stats:
    """Sizes in bytes. `compressed` counts each use, `deduplicated` only what this archive added."""

    files: int = 0
    original: int = 0
    compressed: int = 0
    deduplicated: int = 0


@dataclass(slots=True)
class RepositoryTotals:
    """Over all archives; `original` and `compressed` are None where no key at hand can tell."""

    original: int | None
    compressed: int | None
    deduplicated: int  # stored bytes of all bundles
    unique_chunks: int
    total_chunks: int  # each use counted


@dataclass(slots=True)
class DeletedSizes:
    """Bytes of archives that go together; `deduplicated` is what no other archive uses."""

    original: int | None  # None where no key at hand can tell
    compressed: int
    deduplicated: int


@dataclass(slots=True)
class ArchiveInfo:
    """One archive. With a backup key only id, times and counts are known: name is None then."""

    id: ArchiveId
    seq: int  # of the log record that committed it
    name: str | None
    comment: str = ""
    hostname: str = ""
    username: str = ""
    command_line: list[str] = field(default_factory=list)
    start: datetime | None = None  # aware, UTC
    end: datetime | None = None
    stats: Stats = field(default_factory=Stats)
    chunker: list[int] = field(default_factory=list)
    cwd: str = ""
    written_by: str = ""  # name of the key that signed it
    deleted: datetime | None = None  # when its deletion was asked for, by the clock of who asked
    deleted_by: str = ""  # name of the key that signed the request
    problem: str | None = None  # why its metadata cannot be read; name is None then


@dataclass(slots=True)
class RepositoryInfo:
    id: RepositoryId
    location: str
    encryption: str  # "none", "authenticated", "repokey", "keyfile"
    key_file: str | None
    role: str  # of the key in use
    created: datetime
    last_modified: datetime
    cache_path: str
    security_path: str
    totals: RepositoryTotals
    append_only: bool = True


@dataclass(slots=True)
class KeyInfo:
    id: KeyId
    name: str
    role: str
    added: datetime
    revoked: datetime | None
    in_repository: bool


@dataclass(slots=True)
class Problem:
    """One finding of `check`; `object` is a store name, an archive or a path."""

    object: str
    what: str
