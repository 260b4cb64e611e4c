"""What `audit` prints: lines for people, a record for programs."""

import textwrap
from typing import TYPE_CHECKING

import msgspec

from strongroom.cli.formats import archive_moment, format_size
from strongroom.cli.printable import printable, without_surrogates
from strongroom.commands.infos import moment
from strongroom.monitor.heads import head_text
from strongroom.reporting import counted

if TYPE_CHECKING:
    from strongroom.monitor.audit import AuditReport
    from strongroom.monitor.findings import Finding
    from strongroom.monitor.judging import Deed
    from strongroom.monitor.scoring import Score
    from strongroom.repository.log import Head

_VERDICTS = ("sound", "to be judged", "TAMPERING OR LOSS")


def lines(report: "AuditReport", *, iec: bool) -> list[str]:
    text = [f"Repository: {report.repository.hex() if report.repository else 'unknown'}"]
    text.append(f"Location: {printable(report.location)}")
    if report.chain is not None:
        text += _counted(report, iec=iec)
    text += _deeds(report)
    text += _scored(report)
    order = ("tampering", "loss", "warning", "note")
    for finding in sorted(report.findings.all, key=lambda one: order.index(one.severity)):
        text += ["", *_finding_lines(finding)]
    return [*text, "", f"Verdict: {_VERDICTS[report.findings.exit_code]}"]


def _counted(report: "AuditReport", *, iec: bool) -> list[str]:
    chain, counts = report.chain, report.counts
    assert chain is not None
    hashed = f", {format_size(counts.hashed, iec=iec)} of them read and hashed" if counts.hashed else ""
    text = [
        f"Head: {head_text(chain.head)}",
        f"Records: {len(chain.stored)}, keys: {len(chain.state.keys)}",
        f"Archives: {counts.archives}, in {counts.refs} blocks of refs and {counts.indexes} index objects",
        f"Packs: {counts.packs}, {format_size(counts.packed, iec=iec)}{hashed}",
    ]
    if report.last_audit is not None:
        when = archive_moment(moment(report.last_audit.time))
        text.append(f"Last sound audit here: {when}, up to record {report.last_audit.seq}")
    for one in chain.comparisons:
        word = "continues" if one.agrees else "CONTRADICTS"
        text.append(f"The log {word} what {printable(one.observer)} saw, up to record {one.head.seq}")
    for folder, (count, size) in counts.unnamed.items():
        what = f"{counted(count, 'object')} in {folder}, {format_size(size, iec=iec)}"
        text.append(
            f"No record names {what}: a backup is under way, was interrupted, or they were "
            "planted. Nothing reads them."
        )
    return text


def _deeds(report: "AuditReport") -> list[str]:
    after = report.last_audit.seq if report.last_audit is not None else 0
    new = [deed for deed in report.administration if deed.seq > after]
    if not new:
        return []
    since = "Since then" if after else "Up to now"
    return ["", f"{since}, with the keys of administrators and of the server:"] + [
        f"  record {deed.seq}: {printable(deed.what)}" for deed in new
    ]


def _scored(report: "AuditReport") -> list[str]:
    flagged = sum(1 for one in report.scores if one.flagged)
    views = {"full": "by their files", "server": "by what the server sees"}
    text = []
    if report.scores:
        view = views[report.scores[0].view]
        text = ["", f"Archives compared with the one before them, {view}: {len(report.scores)}"]
        text += [f"Flagged as suspicious: {flagged}"] if flagged else []
    return text + [printable(why) for why in report.unscored]


def _finding_lines(finding: "Finding") -> list[str]:
    what = textwrap.wrap(
        printable(finding.what), 100, initial_indent="  ", subsequent_indent="  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [f"{finding.severity.upper()} {printable(finding.object)}", *what]


def record(report: "AuditReport") -> dict[str, object]:
    chain, counts = report.chain, report.counts
    found: dict[str, object] = {
        "repository": {
            "id": report.repository.hex() if report.repository else None,
            "location": without_surrogates(report.location),
        },
        "exit_code": report.findings.exit_code,
        "findings": [_finding_record(one) for one in report.findings.all],
    }
    if chain is None:
        return found
    return found | {
        "head": _head_record(chain.head),
        "observers": [
            {"observer": without_surrogates(one.observer), "agrees": one.agrees} | _head_record(one.head)
            for one in chain.comparisons
        ],
        "administration": [_deed_record(deed) for deed in report.administration],
        "archives": [_score_record(score) for score in report.scores],
        "unscored": report.unscored,
        "last_sound_audit": None if report.last_audit is None else _time(report.last_audit.time),
        "counts": {
            "records": len(chain.stored),
            "archives": counts.archives,
            "packs": counts.packs,
            "packs_size": counts.packed,
            "packs_hashed": counts.hashed,
            "indexes": counts.indexes,
            "refs": counts.refs,
            "unnamed": {name: {"objects": n, "size": size} for name, (n, size) in counts.unnamed.items()},
        },
    }


def _deed_record(deed: "Deed") -> dict[str, object]:
    return {
        "seq": deed.seq,
        "kind": deed.kind,
        "key": deed.key,
        "role": deed.role,
        "time": _time(deed.time),
        "received": None if deed.received is None else _time(deed.received),
        "what": deed.what,
    }


def _score_record(score: "Score") -> dict[str, object]:
    measured = score.changes if score.changes is not None else score.turnover
    return {
        "id": score.archive,
        "name": None if score.name is None else without_surrogates(score.name),
        "key": score.key,
        "predecessor": score.predecessor,
        "view": score.view,
        "points": score.points,
        "flagged": score.flagged,
        "accepted": score.accepted,
        "signs": [{"code": one.code, "points": one.points, "what": one.what} for one in score.signs],
        "measures": {} if measured is None else msgspec.to_builtins(measured),
    }


def _head_record(head: "Head") -> dict[str, object]:
    return {"seq": head.seq, "hash": head.hash.hex()}


def _finding_record(finding: "Finding") -> dict[str, object]:
    return {
        "severity": finding.severity,
        "code": finding.code,
        "object": without_surrogates(finding.object),
        "what": without_surrogates(finding.what),
        "key": finding.key,
        "since": None if finding.since is None else _time(finding.since),
        "archives": list(finding.archives),
    }


def _time(ns: int) -> str:
    return archive_moment(moment(ns)).iso()
