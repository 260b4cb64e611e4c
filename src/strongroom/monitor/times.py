"""The clocks of a log: the signers' times, and the store's stamps. Neither proves anything; both can lie.

The quarantine of deleted archives counts from the stamps, so a store whose stamps jump is worth a look.
"""

from collections import defaultdict

from strongroom.monitor.chain import Chain
from strongroom.monitor.findings import Finding, Findings
from strongroom.monitor.words import at, key_name
from strongroom.repository import log
from strongroom.repository.log import Record

HOUR = 3600 * 10**9  # ns
_BACKWARDS = HOUR  # a clock that was set right may go back a little
_APART = 24 * HOUR  # between signing and arriving


def judge_times(chain: Chain, findings: Findings, now: int) -> None:
    """`now` by this machine's clock, ns."""
    _stamps(chain, findings, now)
    _signers(chain, findings)


def _stamps(chain: Chain, findings: Findings, now: int) -> None:
    before = 0
    for seq, arrived in sorted(chain.stamps.items()):
        if arrived < before - _BACKWARDS:
            findings.add(
                Finding(
                    "warning",
                    "stamp-backwards",
                    log.name(seq),
                    f"By the store's clock record {seq} came on {at(arrived)}, and one before it on "
                    f"{at(before)}: its clock was wrong, or the stamps were changed to shorten a quarantine.",
                    since=arrived,
                )
            )
        before = max(before, arrived)
    if before > now + HOUR:
        findings.add(
            Finding(
                "warning",
                "stamp-in-the-future",
                "log",
                f"The store's newest stamp is {at(before)}, and here it is {at(now)}: a clock is wrong.",
                since=before,
            )
        )


def _signers(chain: Chain, findings: Findings) -> None:
    off: dict[str, list[Record]] = defaultdict(list)
    for seq, record in sorted(chain.records.items()):
        arrived = chain.stamps.get(seq)
        if arrived is not None and abs(record.time - arrived) > _APART:
            off[key_name(chain.state, record.key_id)].append(record)
    for key, records in off.items():
        first = records[0]
        findings.add(
            Finding(
                "warning",
                "clock-apart",
                log.name(first.seq),
                f"{len(records)} records by the key {key!r} have times more than a day from when the "
                f"store says that they came, first record {first.seq}: signed {at(first.time)}, came "
                f"{at(chain.stamps[first.seq])}. A clock is wrong, or somebody dates back.",
                key,
                chain.stamps[first.seq],
            )
        )
