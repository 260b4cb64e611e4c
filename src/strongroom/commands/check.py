"""Check a repository: is everything there, and is it what it was?"""

import time
from contextlib import suppress

import msgspec

from strongroom.commands.check_archives import ArchiveCheck
from strongroom.commands.check_packs import Listed, LostPlaces, PackCheck
from strongroom.commands.listing import ArchiveFilter, list_archives
from strongroom.commands.results import CheckResult, Part, Problem
from strongroom.crypto import keyformat
from strongroom.errors import KeyInvalid, LogBroken, LogRolledBack, VersionUnknown
from strongroom.ids import IndexId, KeyId, PackId
from strongroom.reporting import Progress, Reporter, SilentReporter
from strongroom.repository import keyring, log, packs
from strongroom.repository.index_objects import UNREADABLE
from strongroom.repository.log import ArchiveState, Head
from strongroom.repository.remains import read_remains
from strongroom.repository.repository import Repository

__all__ = ["CheckOptions", "CheckResult", "check_repository"]

_MOST_KEY = 1 << 20  # bytes of an object below keys/: no server takes more


class CheckOptions(msgspec.Struct, frozen=True):
    verify_data: bool = False  # read, hash and open everything
    repository_only: bool = False
    archives_only: bool = False
    max_duration: float | None = None  # seconds
    archive: str | None = None
    archives: ArchiveFilter = msgspec.field(default_factory=ArchiveFilter)


def check_repository(repository: Repository, options: CheckOptions, reporter: Reporter) -> CheckResult:
    """Look at every object that the log names, and report all problems instead of the first.

    With `repository_only` no key is used: every object is compared with its name, `verify_data` adds
    the bytes of the packs. Raises the store's errors, but none for what is damaged or missing.
    """
    sound: dict[PackId, int] = {}
    while True:
        freeings = len(repository.state.freeings)
        check = _Check(repository, options, reporter, sound)
        if not options.archives_only:
            reporter.info("Starting repository check")
            repository.reporter = SilentReporter()  # what reading survives is among the problems anyway
            check.log_records()
            check.key_objects()
            check.indexes()
            check.pack_objects()
        check.archive_objects()
        if not check.result.problems:
            return check.result
        repository.history.sync()
        if len(repository.state.freeings) == freeings:
            return check.result
        # What `compact` has freed or moved in between looks like a loss.
        reporter.info(
            "Something was freed or moved meanwhile: what is not known to be sound is checked anew."
        )


class _Check:
    def __init__(
        self, repository: Repository, options: CheckOptions, reporter: Reporter, sound: dict[PackId, int]
    ) -> None:
        """`sound` packs, with their chunks, were looked at before; it learns more of them."""
        self._repository = repository
        self._store = repository.store
        self._options = options
        self._reporter = reporter
        self._until = None if options.max_duration is None else time.monotonic() + options.max_duration
        self._sound = sound
        self._opens = repository.can_open and not options.repository_only
        self._listed: dict[PackId, Listed | None] = {}
        self._lost = LostPlaces()
        self.result = CheckResult()

    def _problem(self, name: str, what: object, part: Part, one: bytes = b"") -> None:
        self.result.problems.append(Problem(name, str(what), part, one))

    def log_records(self) -> None:
        """Verify the whole log from the store, not from the cache."""
        self._reporter.info("Checking the log.")
        try:
            remains = read_remains(self._store, self._repository.empty_log(), [], lambda _seq, _blob: False)
        except (LogBroken, VersionUnknown) as error:
            self._problem("log", error, Part.LOG)
            return
        for seq, why in remains.damaged.items():
            self._problem(log.name(seq), f"The record {why}", Part.LOG)
        for seq, why in remains.unclear.items():
            self._problem(log.name(seq), f"Without the lost records it makes no sense: {why}", Part.LOG)
        if not remains.damaged and not self._goes_on(remains.state.head):
            self._problem("log", "The log in the store is not the one that was opened.", Part.LOG)

    def _goes_on(self, head: Head) -> bool:
        """Whether a log that ends so is the opened one, to which others may have added since."""
        if head.seq > self._repository.state.head.seq:
            try:
                self._repository.history.sync()
            except (LogBroken, LogRolledBack):
                return False
            return head.seq <= self._repository.state.head.seq
        return head == self._repository.state.head

    def key_objects(self) -> None:
        stored: list[KeyId] = []
        for listed in self._store.list("keys/"):
            try:
                blob = self._store.get(listed.name, 0, _MOST_KEY)
                whole = len(blob) == listed.size and keyring.object_name(blob) == listed.name
            except UNREADABLE:
                whole = False
            if not whole:
                said = "The key is damaged: its bytes are not what its name says."
                self._problem(listed.name, said, Part.KEY)
                continue
            with suppress(KeyInvalid, VersionUnknown):  # planted: passed over by whoever looks for keys
                stored.append(keyformat.parse(blob, listed.name).key_id)
        if keyring.is_bereft(self._repository.founding, self._repository.state, stored):
            self._problem("keys", keyring.NO_KEY_INSIDE, Part.OTHER)

    def indexes(self) -> None:
        """What a damaged one said of packs is taken from these themselves, as readers do."""
        self._reporter.info("Checking the index.")
        for index in self._repository.state.indexes:
            name = packs.index_name(IndexId(index))
            try:
                for table in packs.decode_index(self._store.get(name), index):
                    self._listed[PackId(table.pack)] = Listed.of(table)
            except UNREADABLE as error:
                self._problem(name, error, Part.INDEX, index)
        if self.result.problems:
            for pack in self._repository.state.packs:
                self._listed.setdefault(pack, None)

    def pack_objects(self) -> None:
        self._reporter.info("Checking packs.")
        verify = self._options.verify_data
        reader = self._repository.bundle_reader() if verify and self._opens else None
        check = PackCheck(
            self._repository, self._listed, reader, self._until, self._sound, verify_data=verify
        )
        check.run(self.result, self._reporter)
        self._lost = check.lost

    def archive_objects(self) -> None:
        self._repository.load_index()
        chosen = self._chosen()
        if not self._options.repository_only:
            self._reporter.info("Starting archive consistency check...")
        progress = Progress(total=len(chosen))
        check = ArchiveCheck(self._repository, self._lost, self.result, self._reporter, opens=self._opens)
        for number, state in enumerate(chosen, start=1):
            check.check(state, f"{number}/{len(chosen)}")
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
