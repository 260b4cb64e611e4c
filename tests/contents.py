"""Archives of a few chunks, made without files: for tests of what becomes of packs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from shelf import Shelf
from strongroom.archive.pipeline import Pipeline
from strongroom.commands.committing import RefsStore, commit_archive, ground
from strongroom.crypto.sealing import DATA
from strongroom.ids import ArchiveId, ChunkId, RefsId
from strongroom.repository import archives, refs
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.compression import parse_compression
from strongroom.repository.refs import RefsWriter
from strongroom.repository.repository import Repository
from strongroom.store.protocol import Store


def chunk(number: int) -> bytes:
    """Large enough for a bundle of its own, where numbers differ much; incompressible enough."""
    return bytes((number * 7 + at * at) % 251 for at in range(700)) + number.to_bytes(4, "big")


def put_chunks(repository: Repository, name: str, numbers: Iterable[int]) -> ArchiveId:
    """As `create` does, with all that it does when something is freed meanwhile."""
    numbers = list(numbers)
    repository.load_index()
    repository.adopt_pending()
    while True:
        rests_on = ground(repository.state)
        repository.load_index()
        with Pipeline(repository, parse_compression("none"), workers=1) as pipeline:
            store = RefsStore(repository, pipeline)
            writer = RefsWriter(store.put, repository.is_freed_refs)
            for number in numbers:
                writer.add(pipeline.add(DATA, chunk(number)))
                pipeline._flush(DATA)  # a bundle each
            root = writer.finish()
            pipeline.finish()
            repository.remember_refs(store.stored)
        meta = ArchiveMeta(name=name, start=0, end=0, root=b"")
        body = commit_archive(
            repository, meta, root, writer.count, pipeline.written.chunks, rests_on=rests_on
        )
        if body is not None:
            return ArchiveId(body.archive)


def read_chunks(repository: Repository, archive: ArchiveId) -> list[bytes]:
    """Every chunk that the archive uses, opened and checked, by a machine that may be behind."""
    root, _, _ = archives.decode(repository.archive_blob(archive), archive)
    reader = repository.chunk_reader()
    most = repository.state.archives[archive].body.chunks
    return [
        bytes(reader.read(ChunkId(one))) for one in refs.read_all(RefsId(root), repository.refs_block, most)
    ]


def assert_holds(shelf: Shelf, wanted: dict[ArchiveId, list[int]]) -> None:
    """A machine that has never been there reads all of these archives, and these alone are there."""
    with shelf.open() as fresh:
        fresh.load_index()
        assert fresh.state.archives.keys() >= wanted.keys()
        for archive, numbers in wanted.items():
            assert read_chunks(fresh, archive) == [chunk(number) for number in numbers]


class Killed(BaseException):
    """What kill -9 is to a process: nothing catches it."""


@dataclass
class Watched:
    """A store that calls `before` with the number of each call that changes something."""

    inner: Store
    before: Callable[[int], None]
    calls: int = 0
    changing: frozenset[str] = frozenset({"put", "put_begun", "append_record", "delete"})
    quiet: bool = field(default=False)

    def __getattr__(self, name: str) -> object:
        found = getattr(self.inner, name)
        if name not in self.changing:
            return found

        def called(*args: object) -> object:
            if not self.quiet:
                self.calls += 1
                self.quiet = True
                try:
                    self.before(self.calls)
                finally:
                    self.quiet = False
            return found(*args)

        return called


def watch(repository: Repository, before: Callable[[int], None], *, reads: bool = False) -> Watched:
    watched = Watched(repository.store, before)
    if reads:
        watched.changing |= {"get", "get_many", "list"}
    repository.store = watched  # type: ignore[assignment]
    repository.history._store = watched  # type: ignore[assignment]
    return watched
