"""Put right what is damaged or missing in a repository: from parity, and from a copy. No key is needed.

Objects are named by the hash of their bytes, and records of the log are signed and chained: whoever
keeps the copy cannot slip anything in.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock

import msgspec

from strongroom.errors import Cancelled, Damaged, ObjectExists
from strongroom.ids import RefsId
from strongroom.reporting import Progress, Reporter
from strongroom.repository import archives, packs, refs
from strongroom.repository.copying import Lost, fetch, listing
from strongroom.repository.repository import Repository, cpu_threads
from strongroom.repository.rescue import UNUSABLE, better
from strongroom.store.protocol import Buffer, Store


class HealResult(msgspec.Struct):
    looked_at: int = 0
    healed: list[str] = []
    lost: list[Lost] = []


def heal(repository: Repository, copy: Store | None, reporter: Reporter) -> HealResult:
    """Read every object that the log names, and put right those that are not what they should be.

    A pack is healed by its parity where it has enough of it, everything else comes from `copy`.
    Raises `Cancelled`, and the store's errors.
    """
    run = _Run(repository, copy, reporter)
    state = repository.state
    sizes = listing(repository.store, ["packs/"])
    run.progress.total = sum(sizes.get(packs.name(pack), 0) for pack in state.packs)
    run.each(_key_names(repository.store, copy))
    run.each(packs.index_name(one) for one in state.indexes)
    run.each(archives.name(one) for one in state.archives)
    run.refs()
    run.each(packs.name(one) for one in sorted(state.packs))
    reporter.progress("repair", run.progress, finished=True)
    return run.result


def _key_names(store: Store, copy: Store | None) -> Iterable[str]:
    """Which keys there should be nobody says: damaged ones are told, those that the copy has more are not."""
    return [one.name for one in store.list("keys/")] if copy is not None else []


class _Run:
    def __init__(self, repository: Repository, copy: Store | None, reporter: Reporter) -> None:
        self._repository = repository
        self._store = repository.store
        self._copy = copy
        self._reporter = reporter
        self.progress = Progress()
        self.result = HealResult()
        self._healing = Lock()  # one at a time: a pack that is healed takes several times its size

    def each(self, names: Iterable[str]) -> None:
        with ThreadPoolExecutor(cpu_threads(), thread_name_prefix="heal") as pool:
            try:
                for size in pool.map(self._size_of, names):
                    self._count(size)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _size_of(self, name: str) -> int:
        """Bytes of it once it is sound, 0 if it is lost."""
        return len(self._sound(name) or b"")

    def _count(self, size: int) -> None:
        self.result.looked_at += 1
        self.progress.original += size
        self._reporter.progress("repair", self.progress)
        if self._reporter.stop.requested:
            raise Cancelled("Stopped as asked: what was healed stays so.")

    def refs(self) -> None:
        """All blocks, each once, those above first: they tell which ones there are below."""
        seen: set[RefsId] = set()
        for archive in self._repository.state.archives:
            try:
                root = archives.decode(fetch(self._store, archives.name(archive)), archive)[0]
            except UNUSABLE:  # it is lost, and has been told
                continue
            for size in self._blocks(root, seen):
                self._count(size)

    def _blocks(self, root: RefsId, seen: set[RefsId]) -> Iterator[int]:
        """Their sizes."""
        waiting = [root]
        while waiting:
            one = waiting.pop()
            if one in seen:
                continue
            seen.add(one)
            blob = self._sound(refs.name(one))
            yield len(blob or b"")
            if blob is None:
                continue
            try:
                level, ids = refs.decode(bytes(blob), one)
            except Damaged as error:  # it has its hash: so it was when it was stored
                self.result.lost.append(Lost(refs.name(one), str(error)))
                continue
            waiting += [RefsId(below) for below in ids] if level else []

    def _sound(self, name: str) -> Buffer | None:
        """The object, put right if need be; None if it is lost."""
        try:
            return fetch(self._store, name)
        except UNUSABLE as error:
            why = str(error)  # what it holds of the object must go before another copy comes
        with self._healing:
            blob = better(self._store, self._copy, name)
            if blob is None:
                self.result.lost.append(Lost(name, why))
                return None
            with suppress(ObjectExists):  # somebody else was faster
                self._store.mend(name, [blob])
        self.result.healed.append(name)
        return blob
