"""Check a repository: is everything there, and is it what it was?"""

import time
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from strongroom.archive.entries import HOLE
from strongroom.archive.reading import ArchiveTree
from strongroom.commands.listing import ArchiveFilter, list_archives
from strongroom.commands.results import Problem
from strongroom.crypto import hashing
from strongroom.errors import Damaged, ObjectMissing, RoleInsufficient, StrongroomError
from strongroom.ids import ID_SIZE, IndexId, PackId, RefsId
from strongroom.reporting import Progress, Reporter
from strongroom.repository import archives, keyring, log, packs
from strongroom.repository.log import ArchiveState, LogState
from strongroom.repository.packs import IndexedPack
from strongroom.repository.reading import BundleReader
from strongroom.repository.refs import RefsCounter
from strongroom.repository.repository import Repository, cpu_threads
from strongroom.store.protocol import Range
from strongroom.store.stamp import unstamp

_PIECE = 8 << 20  # bytes of a pack that are hashed at a time
_LAST_PACK = b"check-came-to"  # in the cache: the last pack that a check with a limit of time looked at


@dataclass(frozen=True, slots=True)
class CheckOptions:
    verify_data: bool = False  # read, hash and open everything
    repository_only: bool = False
    archives_only: bool = False
    max_duration: float | None = None  # seconds
    archive: str | None = None
    archives: ArchiveFilter = field(default_factory=ArchiveFilter)


@dataclass(slots=True)
class CheckResult:
    problems: list[Problem] = field(default_factory=list)
    packs: int = 0
    chunks: int = 0
    archives: int = 0
    finished: bool = True  # False: the time was up


def check_repository(repository: Repository, options: CheckOptions, reporter: Reporter) -> CheckResult:
    """Look at every object that the log names, and report all problems instead of the first.

    With `repository_only` no key is used: every object is compared with its name, `verify_data` adds
    the bytes of the packs. Raises the store's errors, but none for what is damaged or missing.
    """
    check = _Check(repository, options, reporter)
    if not options.archives_only:
        check.log_records()
        check.key_objects()
        check.indexes()
        check.pack_objects()
    check.archive_objects()
    return check.result


class _Check:
    def __init__(self, repository: Repository, options: CheckOptions, reporter: Reporter) -> None:
        self._repository = repository
        self._store = repository.store
        self._options = options
        self._reporter = reporter
        self._until = None if options.max_duration is None else time.monotonic() + options.max_duration
        self._opens = repository.can_open and not options.repository_only
        self._tables: dict[PackId, IndexedPack] = {}
        self._trees: set[bytes] = set()
        self._counter = RefsCounter(repository.refs_block, self._missing)
        self.result = CheckResult()

    def _problem(self, name: str, what: object) -> None:
        self.result.problems.append(Problem(name, str(what)))

    # --- the repository ---

    def log_records(self) -> None:
        """Verify the whole log from the store, not from the cache."""
        self._reporter.info("Checking the log.")
        state = LogState(self._repository.id, self._repository.founding.admin_public)
        names = [one.name for one in self._store.list("log/")]
        for seq, (name, blob) in enumerate(
            zip(names, self._store.get_many(Range(one) for one in names), strict=True), start=log.FIRST_SEQ
        ):
            try:
                if name != log.name(seq):
                    raise Damaged(f"{log.name(seq)} is missing.")
                state.apply(unstamp(blob)[0])
            except StrongroomError as error:
                self._problem(name, error)
                return
        if state.head != self._repository.state.head:
            self._problem("log", "The log in the store is not the one that was opened.")

    def key_objects(self) -> None:
        for listed in self._store.list("keys/"):
            if keyring.object_name(self._store.get(listed.name)) != listed.name:
                self._problem(listed.name, "The key is damaged: its bytes are not what its name says.")

    def indexes(self) -> None:
        self._reporter.info("Checking the index.")
        for index in self._repository.state.indexes:
            name = packs.index_name(IndexId(index))
            try:
                for table in packs.decode_index(self._store.get(name), index):
                    self._tables[PackId(table.pack)] = table
            except (Damaged, ObjectMissing) as error:
                self._problem(name, error)

    def pack_objects(self) -> None:
        """Presence and size of each pack; with `verify_data` its hash and all its chunks.

        Then packs that no record names are hashed too: the run that left them may use them yet.
        """
        self._reporter.info("Checking packs.")
        present = {one.name: one.size for one in self._store.list("packs/")}
        wanted = set(self._repository.state.packs)
        if self._options.verify_data:
            wanted.update(found for found in map(packs.id_of, present) if found is not None)
        named = self._in_turn(sorted(wanted))
        progress = Progress(total=sum(present.get(packs.name(pack), 0) for pack in named))
        reader = self._bundle_reader()
        last = named[-1] if named else b""
        with ThreadPoolExecutor(cpu_threads()) as pool:
            for pack, problems in zip(
                named,
                pool.map(lambda one: self._pack(one, present.get(packs.name(one)), reader), named),
                strict=True,
            ):
                if problems is None:
                    self.result.finished = False
                    continue
                for problem in problems:
                    self._problem(packs.name(pack), problem)
                self.result.packs += 1
                if self.result.finished:  # the next run goes on behind the last one before a gap
                    last = pack
                progress.original += present.get(packs.name(pack), 0)
                self._reporter.progress("check.packs", progress)
        self._reporter.progress("check.packs", progress, finished=True)
        if self._until is not None:
            with self._repository.cache.writing() as txn:
                txn.put(_LAST_PACK, last)

    def _in_turn(self, named: list[PackId]) -> list[PackId]:
        """With a limit of time, from where the last such run came to."""
        if self._until is None:
            return named
        with self._repository.cache.reading("meta") as txn:
            last = bytes(txn.get(_LAST_PACK) or b"")
        at = bisect_right(named, last)
        return named[at:] + named[:at]

    def _bundle_reader(self) -> BundleReader | None:
        if self._options.verify_data and self._opens:
            return self._repository.bundle_reader()
        return None

    def _pack(self, pack: PackId, size: int | None, reader: BundleReader | None) -> list[str] | None:
        """What is wrong with it; None if there was no time left to look."""
        table = self._tables.get(pack)
        if size is None:
            return ["The pack is missing."]
        if pack not in self._repository.state.packs:
            return None if self._is_late() else self._unnamed(pack, size)
        if table is None:
            return ["No index object lists this pack."]
        if table.size != size:
            return [f"The pack has {size} bytes, and should have {table.size}."]
        if self._is_late():
            return None
        try:
            trailer = packs.read_trailer(self._store, pack, size)
            if trailer.bundles != table.bundles:
                return ["The pack's own table is not what the index says."]
            if self._options.verify_data:
                return self._pack_data(pack, table, reader)
        except (Damaged, ObjectMissing) as error:
            return [str(error)]
        return []

    def _is_late(self) -> bool:
        return self._until is not None and time.monotonic() > self._until

    def _unnamed(self, pack: PackId, size: int) -> list[str]:
        try:
            return self._hash(pack, size)
        except ObjectMissing:  # removed meanwhile: nobody counts on it
            return []

    def _hash(self, pack: PackId, size: int) -> list[str]:
        """In pieces: whoever may write to a repository may store packs of a GiB."""
        name = packs.name(pack)
        pieces = self._store.get_many(Range(name, at, _PIECE) for at in range(0, size, _PIECE))
        return [] if hashing.same(hashing.hash_in_pieces(pieces), pack) else [_OTHER_BYTES]

    def _pack_data(self, pack: PackId, table: IndexedPack, reader: BundleReader | None) -> list[str]:
        if reader is None:
            return self._hash(pack, table.size)
        problems = []
        blob = memoryview(self._store.get(packs.name(pack)))
        if not hashing.same(hashing.plain_hash(blob), pack):
            problems.append(_OTHER_BYTES)
        for bundle in table.bundles:
            stored = blob[bundle.offset : bundle.offset + bundle.length]
            try:
                reader.open_stored(pack, table.size, bundle, stored)
            except Damaged as error:
                problems.append(str(error))
            self.result.chunks += len(bundle.chunks) // ID_SIZE
        return problems

    # --- the archives ---

    def archive_objects(self) -> None:
        try:
            self._repository.load_index()
        except (Damaged, ObjectMissing) as error:
            self._problem("index", error)
            return
        chosen = self._chosen()
        progress = Progress(total=len(chosen))
        for number, state in enumerate(chosen, start=1):
            self._archive(state)
            self.result.archives += 1
            progress.original = number
            self._reporter.progress("check.archives", progress)
        self._reporter.progress("check.archives", progress, finished=True)

    def _chosen(self) -> list[ArchiveState]:
        repository = self._repository
        if self._options.archive is not None:
            return [repository.archive_by_name(self._options.archive)]
        if self._options.archives == ArchiveFilter():
            return list(repository.state.archives.values())  # deleted ones too: they may come back
        found = list_archives(repository, self._options.archives)
        return [repository.state.archives[info.id] for info in found]

    def _archive(self, state: ArchiveState) -> None:
        name = archives.name(state.id)
        shown = name
        try:
            # from the store: the cache's copy would hide damage
            blob = self._store.get(name)
            root, _, _ = archives.decode(blob, state.id)
            if self._opens:
                meta = archives.open_meta(blob, state.id, self._repository.session_reader())
                shown = f"{meta.name} ({name})"
                self._reporter.info(f"Checking archive {meta.name}.")
            self._refs(root, state)
            if self._opens:
                self._tree(shown, ArchiveTree(self._repository.chunk_reader(), meta))
        except RoleInsufficient:
            raise
        except (Damaged, ObjectMissing) as error:
            self._problem(shown, error)

    def _missing(self, ids: list[bytes]) -> int:
        index = self._repository.index
        return sum(1 for chunk in ids if chunk not in index)

    def _refs(self, root: RefsId, state: ArchiveState) -> None:
        uses, missing = self._counter.count(root)
        if missing:
            self._problem(
                archives.name(state.id), f"{missing} of the {uses} chunks that it uses are in no pack."
            )
        if uses != state.body.chunks:
            self._problem(
                archives.name(state.id), f"It lists {uses} chunks, its record says {state.body.chunks}."
            )

    def _tree(self, shown: str, tree: ArchiveTree) -> None:
        """Every folder that no archive before had: that it opens, and that its files' chunks are there."""
        index = self._repository.index
        stack = [(b"", tree.root)]
        while stack:
            path, folder = stack.pop()
            if folder.content in self._trees:
                continue
            self._trees.add(folder.content)
            try:
                for entry in tree.folder(folder):
                    inner = path + b"/" + entry.name
                    if entry.is_dir:
                        stack.append((inner, entry))
                    elif any(chunk != HOLE and chunk not in index for chunk, _ in entry.chunks()):
                        self._problem(shown, f"{_text(inner)} uses a chunk that is in no pack.")
            except (Damaged, ObjectMissing) as error:
                self._problem(shown, f"{_text(path)}: {error}")


def _text(path: bytes) -> str:
    return path.lstrip(b"/").decode("utf-8", "backslashreplace") or "."


_OTHER_BYTES = "The pack is damaged: its bytes are not what its name says."
