"""Audit a repository: does it still hold all that it ever promised, and who did what to it?

Everything is read from the store and judged without any secret. What this machine saw before, and the
heads that others saw, are what a rolled back or forked history is told by.
"""

from dataclasses import dataclass, field

from strongroom.commands.opening import Directories, open_store
from strongroom.errors import Damaged, ObjectMissing, RepositoryMissing
from strongroom.ids import RepositoryId
from strongroom.monitor import words
from strongroom.monitor.chain import Chain, ChainReader
from strongroom.monitor.findings import Finding, Findings
from strongroom.monitor.memory import LastAudit, Memory
from strongroom.monitor.objects import Counts, ObjectCheck
from strongroom.monitor.times import judge_times
from strongroom.reporting import Reporter
from strongroom.repository import founding
from strongroom.repository.founding import Founding
from strongroom.repository.history import Places
from strongroom.repository.log import Head, LogState
from strongroom.store.protocol import Store

OWN = "this machine"


@dataclass(frozen=True, slots=True)
class AuditOptions:
    hash_packs: bool = False
    expected: tuple[tuple[str, Head], ...] = ()  # who saw it, and what


@dataclass(slots=True)
class AuditReport:
    location: str
    repository: RepositoryId | None = None
    chain: Chain | None = None
    counts: Counts = field(default_factory=Counts)
    findings: Findings = field(default_factory=Findings)
    last_audit: LastAudit | None = None


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
        _check_objects(store, chain, options, report, reporter)
        _remember(memory, chain, options, report)
    finally:
        memory.close()


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


def _remember(memory: Memory, chain: Chain, options: AuditOptions, report: AuditReport) -> None:
    if report.findings.exit_code < 2:
        memory.remember_audit(LastAudit(chain.head.seq, words.now(), options.hash_packs))
