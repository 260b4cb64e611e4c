"""A sealed repository for tests of commands that look at archives and never into them.

Archives are committed with empty content and a date of one's choice: cheap enough for many.
"""

# ruff: noqa: B010  # the clock is set back and forth

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from strongroom.commands.init import InitOptions, init_repository
from strongroom.commands.keys import add_key
from strongroom.commands.opening import Directories, Need, open_repository
from strongroom.crypto import hashing
from strongroom.crypto.keyformat import Role
from strongroom.errors import ArchiveExists
from strongroom.ids import ArchiveId, RefsId
from strongroom.reporting import SilentReporter
from strongroom.repository import archives, refs
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.log import ArchiveBody, LogState
from strongroom.repository.refs import RefsWriter
from strongroom.repository.repository import Repository

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NoPassphrases:
    def existing(self, subject: str, attempt: int) -> str:
        return "secret"

    def new(self, subject: str) -> str:
        return "secret"

    def at_hand(self) -> str:
        return "secret"


class Told(SilentReporter):
    """Keeps what is said with --verbose too."""

    def __init__(self) -> None:
        super().__init__()
        self.infos: list[str] = []

    def info(self, text: str) -> None:
        self.infos.append(text)

    def outcome(self, text: str, *, unexpected: bool) -> None:
        self.info(text)


class Shelf:
    """`open` gives the repository as another machine sees it: with a cache and a memory of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "repo"
        self._opened: list[Repository] = []
        made = init_repository(
            str(self.path),
            InitOptions("keyfile", append_only=False),
            self._directories("first"),
            NoPassphrases(),
        )
        assert made.key_path is not None
        self.keys = {"admin": made.key_path}

    def _directories(self, machine: str, key: Path | None = None) -> Directories:
        base = self.root / machine
        return Directories(base, base / "cache", base / "keys", base / "security", key)

    def add_key(self, role: Role, name: str) -> None:
        with self.open() as admin:
            blob = add_key(admin, name, role, None)
        self.keys[name] = self.root / f"{name}.key"
        self.keys[name].write_bytes(blob)

    def open(self, name: str = "admin", need: Need = Need.ANY, at: Path | None = None) -> Repository:
        """`at`: a copy of the repository."""
        opened = open_repository(
            str(at or self.path),
            self._directories(f"machine{len(self._opened)}", self.keys[name]),
            NoPassphrases(),
            confirm=lambda _, __: True,
            need=need,
        )
        self._opened.append(opened)
        return opened

    def objects(self) -> dict[str, bytes]:
        """All that is stored, by name."""
        return {
            str(path.relative_to(self.path)): path.read_bytes()
            for path in self.path.rglob("*")
            if path.is_file()
        }

    def names(self) -> list[str]:
        """Of the living archives, as a machine sees them that has never been there."""
        with self.open() as fresh:
            return sorted(meta.name for meta in metas(fresh))

    def close(self) -> None:
        for opened in self._opened:
            opened.close()


def metas(repository: Repository) -> list[ArchiveMeta]:
    found = repository.archive_metas(repository.state.living())
    return [meta for meta in found if isinstance(meta, ArchiveMeta)]


def put_archive(
    repository: Repository,
    name: str,
    begun: datetime | int | None = None,
    root: RefsId | None = None,
    uses: int = 0,
) -> ArchiveId:
    """As `create` does at its end; `begun` may be in ns, `root` lists `uses` chunks.

    Raises `ArchiveExists`.
    """
    at = begun if isinstance(begun, int) else ns(begun or datetime.now(UTC))
    tag = hashing.name_tag(repository.require_key().id_key, name)
    writer = RefsWriter(
        lambda block, blob: repository.put_if_new(refs.name(block), blob), repository.is_freed_refs
    )
    root = root or writer.finish()
    meta = ArchiveMeta(name=name, start=at, end=at, root=b"")
    archive, blob = archives.encode(meta, root, repository.session_writer())
    repository.put_if_new(archives.name(archive), blob)

    def body(state: LogState) -> ArchiveBody:
        if state.by_tag(tag) is not None:
            raise ArchiveExists(f"Archive {name} already exists. Choose another name.")
        return ArchiveBody(archive, tag, b"", b"", 0, 0, uses)

    repository.commit("archive", body)
    return archive


def ns(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


@contextmanager
def clock_at(moment: datetime) -> Iterator[None]:
    """Records are signed with this time."""
    real = time.time_ns
    setattr(time, "time_ns", lambda: ns(moment))
    try:
        yield
    finally:
        setattr(time, "time_ns", real)


@contextmanager
def time_zone(name: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        del os.environ["TZ"]
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()
