"""What the commands return; `cli` makes text or JSON of it."""

from datetime import datetime
from enum import StrEnum

import msgspec

from strongroom.ids import ArchiveId, KeyId, RepositoryId
from strongroom.store.reserve import Reserved


class Stats(msgspec.Struct):
    """Sizes in bytes. `compressed` counts each use, `deduplicated` only what this archive added."""

    files: int = 0
    original: int = 0
    compressed: int = 0
    deduplicated: int = 0


class RepositoryTotals(msgspec.Struct):
    """Over all archives; `original` and `compressed` are None where no key at hand can tell."""

    original: int | None
    compressed: int | None
    deduplicated: int  # stored bytes of all bundles
    unique_chunks: int
    total_chunks: int  # each use counted


class DeletedSizes(msgspec.Struct):
    """Bytes of archives that go together; `deduplicated` is what no other archive uses."""

    original: int | None  # None where no key at hand can tell
    compressed: int
    deduplicated: int


class Distrust(msgspec.Struct, frozen=True):
    """Why an archive is not to be trusted as it is: a key was revoked, with what it wrote since some time."""

    written_by: str | None  # that key's name, if it wrote the archive itself since then
    uses: int  # of chunks that only such keys have written since then


class ArchiveInfo(msgspec.Struct):
    """One archive. With a backup key only id, times and counts are known: name is None then."""

    id: ArchiveId
    seq: int  # of the log record that committed it
    name: str | None
    comment: str = ""
    hostname: str = ""
    username: str = ""
    command_line: list[str] = []
    start: datetime | None = None  # aware, UTC
    end: datetime | None = None
    arrived: datetime | None = None  # when it was complete, by the clock of the store
    stats: Stats = msgspec.field(default_factory=Stats)
    chunker: list[int] = []
    cwd: str = ""
    written_by: str = ""  # name of the key that signed it
    deleted: datetime | None = None  # when, by the clock of who deleted it
    deleted_by: str = ""  # name of the key that signed it
    requested: datetime | None = None  # when a backup key asked for the deletion of the living archive
    requested_by: str = ""  # name of that key
    distrust: Distrust | None = None
    added: int = 0  # stored bytes that were new with it when it was made
    problem: str | None = None  # why its metadata cannot be read; name is None then


class RepositoryInfo(msgspec.Struct):
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
    append_only: bool
    reserve: Reserved  # bytes kept for deletions on a full disk, and to be kept
    quarantine: int  # days


class KeyInfo(msgspec.Struct):
    id: KeyId
    name: str
    role: str
    added: datetime
    revoked: datetime | None
    in_repository: bool


class Part(StrEnum):
    """What of a repository a problem is about, and whose id goes with it."""

    LOG = "log"
    KEY = "key"
    INDEX = "index"  # the index object's
    PACK = "pack"  # the pack's
    PARITY = "parity"  # the pack's, whose parity it is
    UNLISTED_PACK = "unlisted pack"  # one that no index object lists
    UNNAMED_PACK = "unnamed pack"  # one that no record names
    ARCHIVE = "archive"  # the archive's, as for the next two
    REFS = "refs"
    FILE = "file"
    OTHER = "other"


class Problem(msgspec.Struct):
    """One finding of `check`; `object` is a store name, an archive or a path."""

    object: str
    what: str
    part: Part = Part.OTHER
    id: bytes = b""


class CheckResult(msgspec.Struct):
    problems: list[Problem] = []
    packs: int = 0
    chunks: int = 0
    archives: int = 0
    finished: bool = True  # False: the time was up
