"""Audit a repository: does it still hold all that it ever promised, and who did what to it?

Everything is read from the store and judged without any secret. What this machine saw before, and the
heads that others saw, are what a rolled back or forked history is told by.
"""

from dataclasses import dataclass, field

from strongroom.commands.listing import ArchiveFilter
from strongroom.commands.opening import Directories, Need, PassphraseSource, find_keys, open_store
from strongroom.errors import Damaged, ObjectMissing, RepositoryMissing
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
from strongroom.repository import founding, keyring
from strongroom.repository.founding import Founding
from strongroom.repository.history import Places
from strongroom.repository.log import Head, LogState
from strongroom.repository.repository import Repository
from strongroom.store.protocol import Store

OWN = "this machine"


@dataclass(frozen=True, slots=True)
class AuditOptions:
    hash_packs: bool = False
    expected: tuple[tuple[str, Head], ...] = ()  # who saw it, and what
    passphrases: PassphraseSource | None = None  # an open key is to be used; None: no key at all
    archives: ArchiveFilter = field(default_factory=ArchiveFilter)  # to be scored
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass(slots=True)
class AuditReport:
    location: str
    repository: RepositoryId | None = None
    chain: Chain | None = None
    counts: Counts = field(default_factory=Counts)
    findings: Findings = field(default_factory=Findings)
    last_audit: LastAudit | None = None
    administration: list[Deed] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    unscored: list[str] = field(default_factory=list)  # why some, or all, have no score


def audit(location: str, directories: Directories, options: AuditOptions, reporter: Reporter) -> AuditReport:
    """Look at all of it, and report all that is wrong instead of the first.

    Raises `RepositoryMissing`, `NotARepository`, `CacheUnusable`, and the store's errors.
    """
    store = open_store(location)
    try:
        report = AuditReport(store.describe())
        founded = _config(store, location, report)
        if founded is not None:
            _audit(store, founded, directories, options, report, reporter)
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


def _audit(
    store: Store,
    founded: Founding,
    directories: Directories,
    options: AuditOptions,
    report: AuditReport,
    reporter: Reporter,
) -> None:
    assert report.repository is not None
    _judge_place(store, report.repository, directories, report.findings)
    memory = Memory(directories.cache, directories.security, report.repository, founded)
    try:
        report.last_audit = memory.last_audit()
        if memory.problem is not None:
            report.findings.add(Finding("warning", "memory-damaged", OWN, memory.problem))
        chain = report.chain = _read_log(store, founded, memory, options, report, reporter)
        judge_times(chain, report.findings, words.now())
        log_is_sound = not report.findings.of("tampering", "loss")
        _check_objects(store, chain, options, report, reporter)
    finally:
        memory.close()
    report.administration = list(administration(chain))
    judge_requests(chain.state, report.findings)
    if log_is_sound:
        _judge(store, founded, directories, options, report, reporter)
    else:
        report.unscored.append("No archive is scored, since the log is not sound.")
    _remember(memory, chain, options, report)


def _judge_place(
    store: Store, repository: RepositoryId, directories: Directories, findings: Findings
) -> None:
    here, places = store.describe(), Places(directories.security)
    before = places.repository_at(here)
    if before is None:
        places.remember(here, repository)
    elif before != repository:
        findings.add(
            Finding(
                "tampering",
                "repository-replaced",
                founding.NAME,
                f"Another repository was here before: {before.hex()}, and now it is {repository.hex()}. "
                "If you replaced it yourself, confirm that once with `strongroom check --repository-only`.",
            )
        )


def _read_log(
    store: Store,
    founded: Founding,
    memory: Memory,
    options: AuditOptions,
    report: AuditReport,
    reporter: Reporter,
) -> Chain:
    assert report.repository is not None
    reporter.info("Verifying the log.")
    findings = report.findings
    reader = ChainReader(store, LogState(report.repository, founded.admin_public), memory.records, findings)
    chain = reader.read()
    if not chain.last:
        findings.add(
            Finding(
                "loss", "log-empty", "log", "The log is empty: its `init` was interrupted, or it was removed."
            )
        )
    if memory.head.seq:
        reader.compare(OWN, memory.head)
    for observer, head in options.expected:
        reader.compare(observer, head)
    if not findings.of("tampering", "loss"):
        memory.remember_log(chain.state.head, reader.fresh, chain.stamps)
    return chain


def _check_objects(
    store: Store, chain: Chain, options: AuditOptions, report: AuditReport, reporter: Reporter
) -> None:
    check = ObjectCheck(store, chain, report.findings, reporter, hash_packs=options.hash_packs)
    report.counts = check.run()


def _judge(
    store: Store,
    founded: Founding,
    directories: Directories,
    options: AuditOptions,
    report: AuditReport,
    reporter: Reporter,
) -> None:
    """What needs the index, and perhaps a key: with the repository opened as other commands do."""
    assert report.repository is not None
    repository = Repository(store, report.repository, founded, directories.cache, directories.security)
    try:
        repository.history.sync()
        if options.passphrases is not None:
            found = find_keys(repository, directories)
            repository.use_key(
                *keyring.unlock(found, Need.READ, repository.state, options.passphrases, directories.keys)
            )
        judge_distrust(repository, report.findings)
        report.scores, unscored = score_archives(repository, options.archives, options.thresholds, reporter)
        report.unscored += unscored
        judge_scores(report.scores, repository.state, report.findings)
    finally:
        repository.index.refresh()
        repository.cache.close()


def _remember(memory: Memory, chain: Chain, options: AuditOptions, report: AuditReport) -> None:
    if report.findings.exit_code < 2:
        memory.remember_audit(LastAudit(chain.head.seq, words.now(), options.hash_packs))
