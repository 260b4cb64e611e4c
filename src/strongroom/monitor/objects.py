"""Whether all objects that the log names are there, and are what their names say.

Index objects, archives, refs and keys are read and hashed; of packs the size is compared with the
index, and with `hash_packs` the bytes with the name. Needs no key.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec

from strongroom.crypto import hashing, keyformat
from strongroom.errors import Damaged, KeyProblem, ObjectMissing, StrongroomError, VersionUnknown
from strongroom.ids import ID_SIZE, IndexId, KeyId, PackId, RefsId
from strongroom.monitor.chain import Chain
from strongroom.monitor.findings import Finding, Findings, Severity
from strongroom.monitor.naming import finding_about
from strongroom.monitor.words import short
from strongroom.reporting import Progress, Reporter
from strongroom.repository import archives, keyring, packs
from strongroom.repository.founding import Founding
from strongroom.repository.log import ArchiveState
from strongroom.repository.packs import IndexedPack
from strongroom.repository.refwalk import CHANGED, BlockProblem, RefsWalk
from strongroom.repository.repository import cpu_threads
from strongroom.store.protocol import Range, Store

_BATCH = 64  # small objects in one request
_FOLDERS = ("packs/", "index/", "refs/", "archives/", "keys/")


class Counts(msgspec.Struct):
    packs: int = 0
    packed: int = 0  # bytes, as the index says
    indexes: int = 0
    archives: int = 0
    refs: int = 0
    hashed: int = 0  # bytes of packs that were read and hashed
    unnamed: dict[str, tuple[int, int]] = {}  # folder: objects, bytes


class ObjectCheck:
    """One look at the store; `run` adds to the findings. Raises the store's errors."""

    def __init__(
        self,
        store: Store,
        founded: Founding,
        chain: Chain,
        findings: Findings,
        reporter: Reporter,
        *,
        hash_packs: bool,
    ) -> None:
        self._founded = founded
        self._store = store
        self._chain = chain
        self._state = chain.state
        self._findings = findings
        self._reporter = reporter
        self._hash_packs = hash_packs
        self._present: dict[str, int] = {}
        self._sizes: dict[PackId, int] = {}
        self._lost_chunks: set[bytes] = set()
        self.counts = Counts()

    def run(self) -> Counts:
        self._reporter.info("Listing what is stored.")
        for folder in _FOLDERS:
            self._present.update((one.name, one.size) for one in self._store.list(folder))
        self._indexes()
        lost = self._packs()
        if lost:
            self._chunks_of(lost)
        self._archives()
        self._keys()
        self._unnamed()
        return self.counts

    # --- index and packs ---

    def _indexes(self) -> None:
        self._reporter.info("Checking the index.")
        for index, blob in self._fetch([(packs.index_name(one), one) for one in self._state.indexes]):
            self.counts.indexes += 1
            name = packs.index_name(IndexId(index))
            try:
                tables = packs.decode_index(blob, IndexId(index))
            except (Damaged, VersionUnknown) as error:
                if hashing.same(hashing.plain_hash(blob), index):
                    self._about(
                        "warning",
                        "index-invalid",
                        name,
                        index,
                        f"It is no valid index ({_reason(error)}), and was so when it was written: it counts "
                        "as empty. A correct client does not write such a thing.",
                    )
                else:
                    self._changed(name, index)
                continue
            for table in tables:
                pack = PackId(table.pack)
                known = self._sizes.setdefault(pack, table.size)
                if known != table.size:
                    self._about(
                        "warning",
                        "index-contradiction",
                        name,
                        index,
                        f"It gives {packs.name(pack)} {table.size} bytes, an earlier index {known}: one of "
                        "them was made to mislead. The first one counts.",
                    )

    def _packs(self) -> set[PackId]:
        """Returns those whose chunks are lost."""
        self._reporter.info("Checking packs.")
        lost: set[PackId] = set()
        to_hash: list[PackId] = []
        for pack in sorted(self._state.packs):
            name = packs.name(pack)
            present, wanted = self._present.get(name), self._sizes.get(pack)
            self.counts.packs += 1
            self.counts.packed += wanted or 0
            if present is None:
                self._about("loss", "pack-missing", name, pack, "The pack is missing.")
                lost.add(pack)
            elif wanted is None:
                self._about(
                    "loss",
                    "pack-unlisted",
                    name,
                    pack,
                    "No index object lists this pack: what is in it, commands have to ask it itself.",
                )
            elif wanted != present:
                self._about(
                    "loss",
                    "pack-resized",
                    name,
                    pack,
                    f"The pack has {present} bytes, and should have {wanted}: it was cut or replaced.",
                )
                lost.add(pack)
            else:
                to_hash.append(pack)
        if self._hash_packs:
            lost |= self._hash(to_hash)
        return lost

    def _hash(self, named: list[PackId]) -> set[PackId]:
        progress = Progress(total=sum(self._sizes[pack] for pack in named))
        lost: set[PackId] = set()

        def digest(pack: PackId) -> bytes | None:
            try:
                return hashing.plain_hash(self._store.get(packs.name(pack)))
            except ObjectMissing:
                return None

        with ThreadPoolExecutor(cpu_threads()) as pool:
            for pack, found in zip(named, pool.map(digest, named), strict=True):
                if found is None or not hashing.same(found, pack):
                    self._changed(packs.name(pack), pack)
                    lost.add(pack)
                self.counts.hashed += self._sizes[pack]
                progress.original += self._sizes[pack]
                self._reporter.progress("audit.hash", progress)
        self._reporter.progress("audit.hash", progress, finished=True)
        return lost

    def _chunks_of(self, lost: set[PackId]) -> None:
        """The chunks that only lost packs hold: to tell which archives have lost something."""
        held: set[bytes] = set()
        for index in self._state.indexes:
            for table in self._tables(IndexId(index)):
                into = self._lost_chunks if PackId(table.pack) in lost else None
                for bundle in table.bundles:
                    ids = (bundle.chunks[i : i + ID_SIZE] for i in range(0, len(bundle.chunks), ID_SIZE))
                    if into is not None:
                        into.update(ids)
                    else:
                        held.update(one for one in ids if one in self._lost_chunks)
        self._lost_chunks -= held

    def _tables(self, index: IndexId) -> list[IndexedPack]:
        try:
            return packs.decode_index(self._store.get(packs.index_name(index)), index)
        except (Damaged, VersionUnknown, ObjectMissing):  # told by `_indexes`
            return []

    # --- archives and refs ---

    def _archives(self) -> None:
        self._reporter.info("Checking archives.")
        states = list(self._state.archives.values())  # deleted ones too: they may come back
        roots: dict[RefsId, list[ArchiveState]] = {}
        for archive, blob in self._fetch([(archives.name(one.id), one.id) for one in states]):
            state = self._state.archives[archive]  # type: ignore[index]
            self.counts.archives += 1
            try:
                root, _, _ = archives.decode(blob, state.id)
            except (Damaged, VersionUnknown) as error:
                if hashing.same(hashing.plain_hash(blob), archive):
                    self._about(
                        "warning",
                        "archive-invalid",
                        archives.name(state.id),
                        archive,
                        f"It is no valid archive ({_reason(error)}), and was so when it was written.",
                    )
                else:
                    self._changed(archives.name(state.id), archive)
                continue
            roots.setdefault(root, []).append(state)
        walk = RefsWalk(self._store, self._present, self._lost_chunks)
        walk.run(list(roots))
        self.counts.refs = walk.blocks
        for root, users in roots.items():
            sums = walk.sums(root)
            for state in users:
                self._refs_of(state, sums.uses, sums.hits, list(sums.problems))

    def _refs_of(self, state: ArchiveState, uses: int, lost: int, problems: list[BlockProblem]) -> None:
        name = archives.name(state.id)
        for block, what, honest in problems:
            self._about(
                "warning" if honest else "loss",
                "refs-invalid" if honest else "refs-damaged",
                block,
                state.id,
                f"{what} {short(state.id)} needs it.",
            )
        if lost:
            self._about(
                "loss",
                "archive-damaged",
                name,
                state.id,
                f"{lost} of its {uses} uses of chunks are in packs that are missing or changed.",
            )
        if not problems and uses != state.body.chunks:
            self._about(
                "warning",
                "archive-miscounted",
                name,
                state.id,
                f"It lists {uses} chunks, its signed record says {state.body.chunks}.",
            )

    # --- keys, and what nobody names ---

    def _keys(self) -> None:
        found = [self._key(name) for name in self._present if name.startswith("keys/")]
        stored = [one for one in found if one is not None]
        if keyring.is_bereft(self._founded, self._state, stored):
            self._findings.add(Finding("loss", "key-missing", "keys", keyring.NO_KEY_INSIDE))

    def _key(self, name: str) -> KeyId | None:
        """Whose it is, if it is anybody's."""
        blob = self._get(name)
        if blob is None:
            return None
        if keyring.object_name(blob) != name:
            what = "The key's bytes are not what its name says: it rotted, or was replaced."
            self._findings.add(Finding("loss", "key-damaged", name, what))
            return None
        try:
            file = keyformat.parse(blob, name)
        except (KeyProblem, StrongroomError) as error:
            what = f"This is no key ({_reason(error)}): commands pass it over."
            self._findings.add(Finding("warning", "key-foreign", name, what))
            return None
        if file.key_id not in self._state.keys:
            what = (
                f"A key that calls itself {file.name!r}, {file.role}, lies in the repository, and the log "
                "never added it: commands pass it over."
            )
            self._findings.add(Finding("warning", "key-planted", name, what))
        return file.key_id

    def _unnamed(self) -> None:
        named = {packs.name(one) for one in self._state.packs}
        named |= {packs.index_name(one) for one in self._state.indexes}
        named |= {archives.name(one) for one in self._state.archives}
        for folder in ("packs/", "index/", "archives/"):
            extra = [n for n in self._present if n.startswith(folder) and n not in named]
            if extra:
                size = sum(self._present[n] for n in extra)
                self.counts.unnamed[folder.rstrip("/")] = (len(extra), size)

    # --- helpers ---

    def _fetch(self, wanted: list[tuple[str, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Id and bytes of all that are there; a finding for each that is not."""
        there = []
        for name, own in wanted:
            if name in self._present:
                there.append((name, own))
            else:
                self._about("loss", "object-missing", name, own, "It is missing.")
        for start in range(0, len(there), _BATCH):
            batch = there[start : start + _BATCH]
            try:
                blobs: list[bytes | None] = list(self._store.get_many(Range(name) for name, _ in batch))
            except ObjectMissing:  # removed while we look
                blobs = [self._get(name) for name, _ in batch]
            for (name, own), blob in zip(batch, blobs, strict=True):
                if blob is None:
                    self._about("loss", "object-missing", name, own, "It is missing.")
                else:
                    yield own, blob

    def _get(self, name: str) -> bytes | None:
        try:
            return self._store.get(name)
        except ObjectMissing:
            return None

    def _changed(self, name: str, own: bytes) -> None:
        self._about("loss", "object-changed", name, own, CHANGED)

    def _about(self, severity: Severity, code: str, name: str, own: bytes, what: str) -> None:
        self._findings.add(finding_about(self._chain, severity, code, name, own, what))


def _reason(error: Exception) -> str:
    return str(error).split(" Run `strongroom check`")[0].rstrip(".")
