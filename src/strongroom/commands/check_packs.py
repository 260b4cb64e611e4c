"""Check packs: that each is there and has its size; with its data, every byte and every chunk."""

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import msgspec

from strongroom.commands.results import CheckResult, Part, Problem
from strongroom.crypto import hashing
from strongroom.errors import Damaged, ObjectMissing, StoreFailed
from strongroom.ids import ID_SIZE, ChunkId, PackId
from strongroom.reporting import Progress, Reporter, counted
from strongroom.repository import packs, parity
from strongroom.repository.index import ChunkIndex
from strongroom.repository.index_objects import UNREADABLE
from strongroom.repository.packs import BundleEntry, IndexedPack
from strongroom.repository.reading import BundleReader
from strongroom.repository.repository import Repository, cpu_threads
from strongroom.store.protocol import Range

_PIECE = 8 << 20  # bytes of a pack that are hashed at a time
AHEAD = 64  # packs that wait for a thread
_LAST_PACK = b"check-came-to"  # in the cache: the last pack that a check with a limit of time looked at
_OTHER_BYTES = "The pack is damaged: its bytes are not what its name says."
_UNLISTED = "No index object lists this pack."
_MISSING = "The pack is missing."


class LostPlaces(msgspec.Struct):
    """Where nothing can be read any more: whole packs, and single bundles as (pack, offset)."""

    packs: set[PackId] = set()
    bundles: set[tuple[PackId, int]] = set()

    def has_all_of(self, chunk: ChunkId, index: ChunkIndex) -> bool:
        """Whether the chunk is lost: it lies nowhere else, or nowhere at all."""
        place = index.get(chunk)
        if place is None:
            return True
        if not self.packs and not self.bundles:
            return False
        return all(
            one.pack in self.packs or (one.pack, one.bundle.offset) in self.bundles
            for one in (place, *index.others(chunk))
        )


class Finding(msgspec.Struct):
    """What is wrong with one pack."""

    problems: list[str] = []
    lost: bool = False  # nothing in it can be read
    lost_bundles: list[int] = []  # their offsets
    chunks: int = 0  # that were opened
    parity: str | None = None  # what is wrong with its parity


class Listed(NamedTuple):
    """What the index says of a pack: its size, and a hash of its table, which would fill the memory."""

    size: int
    table: bytes

    @classmethod
    def of(cls, table: IndexedPack) -> "Listed":
        return cls(table.size, _hash_of(table.bundles))


def _hash_of(bundles: list[BundleEntry]) -> bytes:
    return hashing.plain_hash(msgspec.msgpack.encode(bundles))


class PackCheck:
    """`listed` is what the index says, None where it cannot be read and the packs' own word counts;
    `reader` opens bundles, None compares bytes with names alone.

    `sound` packs, with their chunks that were opened, need no second look; it learns more of them.
    """

    def __init__(
        self,
        repository: Repository,
        listed: dict[PackId, Listed | None],
        reader: BundleReader | None,
        until: float | None,
        sound: dict[PackId, int],
        *,
        verify_data: bool,
    ) -> None:
        self._repository = repository
        self._store = repository.store
        self._listed = listed
        self._reader = reader
        self._until = until
        self._first: PackId | None = None  # looked at however late it is: each run gets somewhere
        self._sound = sound
        self._verify_data = verify_data
        self._parity: dict[str, int] = {}  # that are there, and their sizes
        self.lost = LostPlaces()

    def run(self, result: CheckResult, reporter: Reporter) -> None:
        """With `verify_data`, packs that no record names are hashed too: the run that left them may use
        them yet."""
        present = {one.name: one.size for one in self._store.list("packs/")}
        wanted = set(self._repository.state.packs)
        if self._verify_data:
            self._parity = {one.name: one.size for one in self._store.list("parity/")}
            known = {found for found in map(packs.id_of, present) if found is not None}
            wanted |= known - self._repository.state.freed_packs
        named = self._in_turn(sorted(wanted))
        progress = Progress(total=sum(present.get(packs.name(pack), 0) for pack in named))
        last = named[-1] if named else b""
        self._first = named[0] if named else None
        with ThreadPoolExecutor(cpu_threads()) as pool:
            look = partial(self._one_of, present)
            for pack, finding in zip(named, in_order(pool, look, named), strict=True):
                if finding is None:
                    result.finished = False
                    continue
                self._take(pack, finding, result)
                if result.finished:  # the next run goes on behind the last one before a gap
                    last = pack
                progress.original += present.get(packs.name(pack), 0)
                reporter.progress("check.packs", progress)
        reporter.progress("check.packs", progress, finished=True)
        self._tell_of_unprotected(reporter)
        if self._until is not None:
            with self._repository.cache.writing() as txn:
                txn.put(_LAST_PACK, last)

    def _take(self, pack: PackId, finding: Finding, result: CheckResult) -> None:
        if finding.problems == [_UNLISTED]:
            part = Part.UNLISTED_PACK
        else:
            part = Part.PACK if pack in self._repository.state.packs else Part.UNNAMED_PACK
        result.problems += [Problem(packs.name(pack), one, part, pack) for one in finding.problems]
        if finding.lost:
            self.lost.packs.add(pack)
        self.lost.bundles.update((pack, offset) for offset in finding.lost_bundles)
        if finding.parity is not None:
            said = f"This parity is damaged: {finding.parity}"
            result.problems.append(Problem(parity.name(pack), said, Part.PARITY, pack))
        elif not finding.problems:
            self._sound[pack] = finding.chunks
        result.packs += 1
        result.chunks += finding.chunks

    def _in_turn(self, named: list[PackId]) -> list[PackId]:
        """With a limit of time, from where the last such run came to."""
        if self._until is None:
            return named
        with self._repository.cache.reading("meta") as txn:
            last = bytes(txn.get(_LAST_PACK) or b"")
        at = bisect_right(named, last)
        return named[at:] + named[:at]

    def _one_of(self, present: dict[str, int], pack: PackId) -> Finding | None:
        finding = self._pack(pack, present.get(packs.name(pack)))
        if finding is not None:
            finding.parity = self._parity_flaw(pack)
        return finding

    def _pack(self, pack: PackId, size: int | None) -> Finding | None:
        """None if there was no time left to look."""
        if pack in self._sound:
            return Finding(chunks=self._sound[pack])
        if size is None:
            return Finding([_MISSING], lost=True)
        if pack not in self._repository.state.packs:
            return None if self._is_late(pack) else self._unnamed(pack, size)
        if pack not in self._listed:
            return self._unlisted(pack, size)
        listed = self._listed[pack]
        if listed is not None and listed.size != size:
            return Finding([f"The pack has {size} bytes, and should have {listed.size}."], lost=True)
        if self._is_late(pack):
            return None
        try:
            trailer = packs.read_trailer(self._store, pack, size)
            if listed is not None and _hash_of(trailer.bundles) != listed.table:
                return Finding(["The pack's own table is not what the index says."])
            return self._data(pack, size, trailer.bundles) if self._verify_data else Finding()
        except UNREADABLE as error:
            return Finding([str(error)], lost=True)

    def _is_late(self, pack: PackId) -> bool:
        return self._until is not None and pack != self._first and time.monotonic() > self._until

    def _unlisted(self, pack: PackId, size: int) -> Finding:
        try:
            packs.read_trailer(self._store, pack, size)
        except UNREADABLE as error:
            return Finding([str(error)], lost=True)
        return Finding([_UNLISTED])

    def _unnamed(self, pack: PackId, size: int) -> Finding:
        try:
            return self._hash(pack, size)
        except ObjectMissing:  # removed meanwhile: nobody counts on it
            return Finding()
        except UNREADABLE as error:
            return Finding([str(error)])

    def _hash(self, pack: PackId, size: int) -> Finding:
        """In pieces: whoever may write to a repository may store packs of a GiB."""
        name = packs.name(pack)
        pieces = self._store.get_many(Range(name, at, _PIECE) for at in range(0, size, _PIECE))
        return Finding([] if hashing.same(hashing.hash_in_pieces(pieces), pack) else [_OTHER_BYTES])

    def _data(self, pack: PackId, size: int, bundles: list[BundleEntry]) -> Finding:
        if self._reader is None:
            return self._hash(pack, size)
        found = Finding()
        parts = self._opened(self._reader, pack, size, bundles, found)
        if not hashing.same(hashing.hash_in_pieces(parts), pack):
            found.problems.insert(0, _OTHER_BYTES)
        return found

    def _parity_flaw(self, pack: PackId) -> str | None:
        """Nobody looks at parity until it is needed, and then it should be sound."""
        size = self._parity.get(parity.name(pack))
        if size is None:
            return None
        try:
            return parity.flaw_of(self._store, pack, size)
        except ObjectMissing:  # freed meanwhile, with its pack
            return None
        except StoreFailed as error:
            return str(error)

    def _tell_of_unprotected(self, reporter: Reporter) -> None:
        """No problem by itself: a run that is killed may leave a pack without."""
        named = self._repository.state.packs
        bare = sum(parity.name(pack) not in self._parity for pack in named)
        wanted = bool(self._parity) or self._repository.founding.parity_percent > 0
        if self._verify_data and wanted and bare:
            reporter.info(
                f"{bare} of {counted(len(named), 'pack')} have no parity: run `strongroom protect`."
            )

    def _opened(
        self, reader: BundleReader, pack: PackId, size: int, bundles: list[BundleEntry], found: Finding
    ) -> Iterator[bytes]:
        """All bytes of the pack in their order, a bundle at a time, each opened on its way."""
        name = packs.name(pack)
        first, last = bundles[0], bundles[-1]
        bounds = [Range(name, 0, first.offset)]
        bounds += [Range(name, one.offset, one.length) for one in bundles]
        rest = range(last.offset + last.length, size, _PIECE)
        bounds += [Range(name, at, min(_PIECE, size - at)) for at in rest]
        stored = self._store.get_many(bounds)
        yield next(stored)
        for bundle in bundles:
            part = next(stored)
            try:
                reader.open_stored(pack, size, bundle, memoryview(part))
            except Damaged as error:
                # it is told with the name
                found.problems.append(str(error).removeprefix(name).removeprefix(",").lstrip())
                found.lost_bundles.append(bundle.offset)
            found.chunks += len(bundle.chunks) // ID_SIZE
            yield part
        yield from stored


def in_order(
    pool: ThreadPoolExecutor, look: Callable[[PackId], Finding | None], named: Iterable[PackId]
) -> Iterator[Finding | None]:
    """`pool.map` would have a task for every pack of the repository in memory."""
    running: deque[Future[Finding | None]] = deque()
    for pack in named:
        running.append(pool.submit(look, pack))
        if len(running) == AHEAD:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()
