"""Audit a repository: does it still hold all that it ever promised, and who did what to it?

Everything is read from the store and judged without any secret. What this machine saw before, and the
heads that others saw, are what a rolled back or forked history is told by.
"""

from collections.abc import Callable

import msgspec

from strongroom.commands.listing import ArchiveFilter
from strongroom.commands.opening import Directories, Need, PassphraseSource, find_keys, open_store
from strongroom.errors import (
    CacheFull,
    Damaged,
    KeyProblem,
    ObjectMissing,
    RepositoryMissing,
    RoleInsufficient,
)
from strongroom.ids import RepositoryId
from strongroom.monitor import words
from strongroom.monitor.anomalies import score_archives
from strongroom.monitor.chain import Chain, ChainReader
from strongroom.monitor.findings import Finding, Findings
from strongroom.monitor.judging import (
    Deed,
    administration,
    judge_distrust,
    judge_requests,
    judge_scores,
)
from strongroom.monitor.memory import LastAudit, Memory
from strongroom.monitor.objects import Counts, ObjectCheck
from strongroom.monitor.scoring import Score
from strongroom.monitor.thresholds import Thresholds
from strongroom.monitor.times import judge_times
from strongroom.reporting import Reporter
from strongroom.repository import founding, keyring, log
from strongroom.repository.founding import Founding
from strongroom.repository.log import Head, LogState
from strongroom.repository.places import Places
from strongroom.repository.repository import Repository
from strongroom.store.protocol import Store

OWN = "this machine"
_TRIES = 3  # while others compact


class AuditOptions(msgspec.Struct, frozen=True):
    hash_packs: bool = False
    expected: tuple[tuple[str, Head], ...] = ()  # who saw it, and what
    passphrases: PassphraseSource | None = None  # an open key is to be used; None: no key at all
    archives: ArchiveFilter = msgspec.field(default_factory=ArchiveFilter)  # to be scored
    thresholds: Thresholds = msgspec.field(default_factory=Thresholds)


class AuditReport(msgspec.Struct):
    location: str
    repository: RepositoryId | None = None
    chain: Chain | None = None
    counts: Counts = msgspec.field(default_factory=Counts)
    findings: Findings = msgspec.field(default_factory=Findings)
    last_audit: LastAudit | None = None
    administration: list[Deed] = []
    scores: list[Score] = []
    unscored: list[str] = []  # why some, or all, have no score


def audit(location: str, directories: Directories, options: AuditOptions, reporter: Reporter) -> AuditReport:
    """Look at all of it, and report all that is wrong instead of the first.

    Raises `RepositoryMissing`, `NotARepository`, `CacheUnusable`, and the store's errors.
    """
    store = open_store(location)
    try:
        report = AuditReport(store.describe())
        for _ in range(_TRIES):
            report = AuditReport(store.describe())
            founded = _config(store, location, report)
            if founded is None:
                break
            audited = _Audit(store, founded, directories, options, report, reporter)
            audited.run()
            if not audited.was_overtaken():
                break
            reporter.info("The repository was compacted meanwhile: once more.")
        return report
    finally:
        store.close()


def _config(store: Store, location: str, report: AuditReport) -> Founding | None:
    try:
        blob = store.get(founding.NAME, 0, founding.MAX_SIZE)
    except ObjectMissing:
        raise RepositoryMissing(f"Repository {location} does not exist. Make it with `init`.") from None
    try:
        report.repository, founded = founding.decode(blob, location)
    except Damaged as error:
        report.findings.add(Finding("loss", "config-damaged", founding.NAME, str(error)))
        return None
    return founded


class _Audit:
    """One look at a repository whose config is sound; fills in the report."""

    def __init__(
        self,
        store: Store,
        founded: Founding,
        directories: Directories,
        options: AuditOptions,
        report: AuditReport,
        reporter: Reporter,
    ) -> None:
        assert report.repository is not None
        self._store = store
        self._founding = founded
        self._directories = directories
        self._options = options
        self._report = report
        self._findings = report.findings
        self._reporter = reporter
        self._id = report.repository

    def run(self) -> None:
        report, findings = self._report, self._findings
        self._judge_place()
        memory = Memory(self._directories.cache, self._directories.security, self._id, self._founding)
        try:
            report.last_audit = memory.last_audit()
            if memory.problem is not None:
                findings.add(Finding("warning", "memory-damaged", OWN, memory.problem))
            chain = report.chain = self._read_log(memory)
        finally:
            memory.close()
        judge_times(chain, findings, words.now())
        log_is_sound = not findings.of("tampering", "loss")
        objects = ObjectCheck(
            self._store,
            self._founding,
            chain,
            findings,
            self._reporter,
            hash_packs=self._options.hash_packs,
        )
        report.counts = objects.run()
        report.administration = list(administration(chain))
        judge_requests(chain.state, findings)
        if memory.problem is not None:
            report.unscored.append("No archive is scored, since this machine's own memory is damaged.")
        elif log_is_sound:
            self._judge()
        else:
            report.unscored.append("No archive is scored, since the log is not sound.")
        if findings.exit_code < 2:
            last = LastAudit(chain.head.seq, words.now(), self._options.hash_packs)
            self._remember(lambda: memory.remember_audit(last))

    def _remember(self, keep: Callable[[], None]) -> None:
        """A full disk of this machine keeps nobody from auditing; the next one knows less, which is told."""
        try:
            keep()
        except CacheFull as error:
            what = f"This machine has no room to remember what it saw: {error}"
            if not any(one.code == "memory-full" for one in self._findings.of("warning")):
                self._findings.add(Finding("warning", "memory-full", OWN, what))

    def was_overtaken(self) -> bool:
        """Whether what is missing may be what another run has freed meanwhile: the log has grown."""
        chain = self._report.chain
        if chain is None or not self._findings.of("loss"):
            return False
        return any(one.name > log.name(chain.last) for one in self._store.list("log/"))

    def _judge_place(self) -> None:
        here, places = self._store.describe(), Places(self._directories.security)
        before = places.repository_at(here)
        if before is None:
            self._remember(lambda: places.remember(here, self._id))
        elif before != self._id:
            self._findings.add(
                Finding(
                    "tampering",
                    "repository-replaced",
                    founding.NAME,
                    f"Another repository was here before: {before.hex()}, and now it is {self._id.hex()}. "
                    "If you replaced it yourself, confirm that with `strongroom check --repository-only`.",
                )
            )

    def _read_log(self, memory: Memory) -> Chain:
        self._reporter.info("Verifying the log.")
        empty = LogState(self._id, self._founding.admin_public)
        reader = ChainReader(self._store, empty, memory.records, self._findings)
        chain = reader.read()
        if not chain.last:
            what = "The log is empty: its `init` was interrupted, or it was removed."
            self._findings.add(Finding("loss", "log-empty", "log", what))
        if memory.head.seq:
            reader.compare(OWN, memory.head)
        for observer, head in self._options.expected:
            reader.compare(observer, head)
        if not self._findings.of("tampering", "loss"):
            self._remember(lambda: memory.remember_log(chain.state.head, reader.fresh, chain.stamps))
        return chain

    def _judge(self) -> None:
        """What needs the index, and perhaps a key: with the repository opened as other commands do."""
        options, report, folders = self._options, self._report, self._directories
        repository = Repository(self._store, self._id, self._founding, folders.cache, folders.security)
        try:
            repository.history.sync()
            if options.passphrases is not None:
                self._unlock(repository, options.passphrases)
            judge_distrust(repository, self._findings)
            report.scores, unscored = score_archives(
                repository, options.archives, options.thresholds, self._reporter
            )
            report.unscored += unscored
            judge_scores(report.scores, repository.state, self._findings)
        finally:
            repository.index.refresh()
            repository.cache.close()

    def _unlock(self, repository: Repository, passphrases: PassphraseSource) -> None:
        """A key that does not open keeps nothing else from being judged."""
        folders = self._directories
        try:
            found = find_keys(repository, folders)
            repository.use_key(*keyring.unlock(found, Need.READ, repository.state, passphrases, folders.keys))
        except (KeyProblem, RoleInsufficient) as error:
            self._findings.add(
                Finding("warning", "key-unusable", OWN, f"Nothing is judged by files: {error}")
            )
            self._report.unscored.append("No archive is judged by its files, since no key was opened.")
