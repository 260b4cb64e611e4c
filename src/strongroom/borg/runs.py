"""What a stretch of an archive's list of items says, worked out once however many archives share it.

Borg cuts that list into chunks by content, so consecutive archives have many of these in common. A run is
one chunk (several, if an item is that long), begun where the one before it ended within an item: so it is
named by these bytes and by its chunks. In a run that is new most items are old: they are recognized by
their bytes. All is kept in working space on the disk.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NewType

import msgspec

from strongroom.archive.entries import Entry
from strongroom.borg import packing
from strongroom.borg.growing import Follow, Grower, Grown, Growth
from strongroom.borg.scratch import Scratch
from strongroom.crypto import hashing
from strongroom.errors import Damaged
from strongroom.ids import ChunkId

RunId = NewType("RunId", bytes)

_MAX_ITEM = 64 * 1024 * 1024  # bytes of one item: a file of some million chunks
_GOES_ON = b"-"  # the run is longer than this


class Summary(msgspec.Struct, array_like=True, frozen=True):
    """What an archive takes over from a run without looking at its entries."""

    rest: bytes  # the beginning of the item that the next run ends
    files: int
    size: int  # bytes of content
    told: list[str]  # what it has that cannot be
    root: Entry | None  # the item of the topmost folder
    count: int  # of its entries
    follows: bool


class Harvest(msgspec.Struct, array_like=True, frozen=True):
    """The entries of a run."""

    grown: list[Grown]
    folders: list[bytes]  # paths of the folders that they are in
    follows: list[Follow]


_decode_summary = msgspec.msgpack.Decoder(Summary).decode
_decode_harvest = msgspec.msgpack.Decoder(Harvest).decode
_encode = msgspec.msgpack.Encoder().encode


class Runs:
    """Of one repository. For one thread."""

    def __init__(
        self,
        scratch: Scratch,
        fetch: Callable[[Iterable[ChunkId]], Iterator[bytes]],
        has: Callable[[ChunkId], bool],
        *,
        with_parts: bool = False,
    ) -> None:
        """`fetch` gives chunks of the lists of items, opened; `has` says whether the repository holds one."""
        self._scratch = scratch
        self._fetch = fetch
        self._has = has
        self._with_parts = with_parts
        self.resembled: set[RunId] = set()
        """Of other archives, those that new runs of the last one were much like."""

    def of(self, chunks: Sequence[ChunkId], what: str) -> Iterator[tuple[RunId, Summary]]:
        """The runs of an archive, in their order. Raises `Damaged`, naming `what` it read, and what
        `fetch` raises."""
        wanted = _Ahead(self._fetch, [one for one in chunks if not self._scratch.has("sizes", one)])
        familiar = _Familiar(self)
        self.resembled = set()
        at, rest = 0, b""
        while at < len(chunks):
            run, count, summary = self._known(rest, chunks, at)
            if summary is None:
                run, count, summary = self._read(rest, chunks, at, wanted, familiar, what)
            yield run, summary
            at, rest = at + count, summary.rest
        if rest:
            raise Damaged(f"{what} is cut off.")

    def harvest(self, run: RunId) -> Harvest:
        stored = self._scratch.get("harvests", run)
        assert stored is not None, "a run is not forgotten before its archive is planted"
        return _decode_harvest(stored)

    def holding(self, key: bytes) -> Harvest | None:
        """A run that has something at the path with this key."""
        run = self._scratch.get("where", key)
        stored = None if run is None else self._scratch.get("harvests", run)
        if run is None or stored is None:
            return None
        self.resembled.add(RunId(run))
        return _decode_harvest(stored)

    def forget(self, runs: Sequence[RunId]) -> None:
        self._scratch.delete_all("runs", runs)
        self._scratch.delete_all("harvests", runs)

    def _known(self, rest: bytes, chunks: Sequence[ChunkId], at: int) -> tuple[RunId, int, Summary | None]:
        run = hashing.plain_hash(rest)
        for position in range(at, len(chunks)):
            run = hashing.plain_hash(run, chunks[position])
            stored = self._scratch.get("runs", run)
            if stored != _GOES_ON:
                summary = None if stored is None else _decode_summary(stored)
                return RunId(run), position - at + 1, summary
        return RunId(run), 0, None

    def _read(
        self,
        rest: bytes,
        chunks: Sequence[ChunkId],
        at: int,
        wanted: "_Ahead",
        familiar: "_Familiar",
        what: str,
    ) -> tuple[RunId, int, Summary]:
        unpacker = packing.Unpacker(what, _MAX_ITEM, rest)
        run = hashing.plain_hash(rest)
        shorter: list[tuple[bytes, bytes]] = []
        grower = Grower(self._has, with_parts=self._with_parts)

        def skip(data: bytes, begin: int) -> int:
            return familiar.skip(data, begin, grower)

        for position in range(at, len(chunks)):
            run = hashing.plain_hash(run, chunks[position])
            for item, raw in unpacker.feed(wanted.get(chunks[position]), skip):
                familiar.look(grower.take(item, raw))
            if grower.growth.items:
                self._scratch.put_all("runs", sorted(shorter))
                return RunId(run), position - at + 1, self._keep(RunId(run), unpacker.rest, grower.growth)
            shorter.append((run, _GOES_ON))
        raise Damaged(f"{what} is cut off.")

    def _keep(self, run: RunId, rest: bytes, growth: Growth) -> Summary:
        summary = Summary(
            rest, growth.files, growth.size, growth.told, growth.root, len(growth.grown), bool(growth.follows)
        )
        harvest = Harvest(growth.grown, sorted(growth.folders), growth.follows)
        self._scratch.put_all("sizes", sorted(growth.sizes.items()))
        self._scratch.put_all("harvests", [(run, _encode(harvest))])
        self._scratch.put_all("where", sorted({one.key: run for one in growth.grown}.items()))
        self._scratch.put_all("runs", [(run, _encode(summary))])
        return summary


class _Ahead:
    """Chunks that will be asked for in their order, as a rule, fetched several at once."""

    def __init__(
        self, fetch: Callable[[Iterable[ChunkId]], Iterator[bytes]], chunks: Iterable[ChunkId]
    ) -> None:
        self._fetch = fetch
        self._order = deque(dict.fromkeys(chunks))
        self._arriving = fetch(list(self._order))

    def get(self, chunk: ChunkId) -> bytes:
        if self._order and self._order[0] == chunk:
            self._order.popleft()
            return next(self._arriving)
        return next(self._fetch([chunk]))


class _Familiar:
    """Expects behind an item what stood behind it in the run that had it last."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._grown: list[Grown] = []
        self._positions: dict[bytes, int] = {}
        self._at = 0

    def skip(self, data: bytes, begin: int, grower: Grower) -> int:
        """Takes what is as expected; where the first item begins that is not."""
        for position in range(self._at, len(self._grown)):
            expected = self._grown[position]
            if not data.startswith(expected.raw, begin):
                self._at = position
                return begin
            grower.again(expected)
            begin += len(expected.raw)
        self._at = len(self._grown)
        return begin

    def look(self, key: bytes | None) -> None:
        """An item came that was not expected; None: one that leads nowhere."""
        if key is None:
            return
        if key not in self._positions:
            found = self._runs.holding(key)
            if found is None:
                return
            self._grown = found.grown
            self._positions = {one.key: position for position, one in enumerate(found.grown)}
        self._at = self._positions.get(key, len(self._grown) - 1) + 1
