"""What a sound log tells that a person should know: who freed, who asked, whom not to trust, what is odd."""

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from strongroom.commands.distrust import distrusted_archives
from strongroom.ids import KeyId
from strongroom.monitor.chain import Chain
from strongroom.monitor.findings import Finding, Findings
from strongroom.monitor.scoring import Score
from strongroom.monitor.words import at, key_name, listed, record_words, short
from strongroom.reporting import counted
from strongroom.repository import archives
from strongroom.repository.log import ArchiveState, LogState, Record
from strongroom.repository.records import FreeingBody
from strongroom.repository.repository import Repository

_ADMINISTRATION = frozenset({"key-add", "key-revoke", "compact", "repair"})


class Deed(msgspec.Struct, frozen=True):
    """Something that an administrator, or the server's owner, did to the repository."""

    seq: int
    kind: str
    key: str
    role: str
    time: int  # ns, by the signer's clock
    received: int | None  # ns, by the store's
    what: str


def administration(chain: Chain) -> Iterator[Deed]:
    """Keys that came and went, what was freed, and all that the server's own key signed; oldest first."""
    for seq, record in sorted(chain.records.items()):
        signer = chain.state.keys.get(record.key_id)
        role = signer.role if signer is not None else "admin"
        if (
            record.kind in _ADMINISTRATION
            or role == "server"
            or (record.kind == "delete" and role == "admin")
        ):
            key = key_name(chain.state, record.key_id)
            arrived = chain.stamps.get(seq)
            yield Deed(seq, record.kind, key, role, record.time, arrived, _deed(chain.state, record))


def _deed(state: LogState, record: Record) -> str:
    if not isinstance(record.body, FreeingBody):
        return record_words(state, record)
    body = record.body
    return (
        f"{record.kind}: {counted(len(body.archives) // 32, 'archive')} and "
        f"{counted(len(body.packs) // 32, 'pack')} freed, {body.freed_bytes:,} bytes; "
        f"{counted(len(body.new_packs) // 32, 'pack')} written, {body.new_bytes:,} bytes; "
        f"by the key {key_name(state, record.key_id)!r} on {at(record.time)}"
    )


def judge_requests(state: LogState, findings: Findings) -> None:
    """Open requests for deletion, by key. Pruning leaves the newest archive; an attacker does not."""
    asked: dict[KeyId, list[ArchiveState]] = defaultdict(list)
    for archive in state.requested():
        assert archive.requested is not None
        asked[archive.requested.key_id].append(archive)
    newest = {one.key_id: one.id for one in state.living()}
    for key, wanted in asked.items():
        everything = [one for one in wanted if newest[one.key_id] == one.id]
        first = min(one.requested.time for one in wanted if one.requested is not None)
        name = key_name(state, key)
        odd = "" if not everything else " The newest archive is among them: no pruning asks for that."
        findings.add(
            Finding(
                "warning" if everything else "note", "deletion-requested", "log",
                f"The key {name!r} asks for the deletion of {counted(len(wanted), 'archive')}, "
                f"since {at(first)}: "
                f"{listed([short(one.id) for one in wanted])}. Nothing is freed before an administrator "
                f"accepts it.{odd}",
                name, first, tuple(one.id.hex() for one in wanted),
            )
        )  # fmt: skip


def judge_distrust(repository: Repository, findings: Findings) -> None:
    """Archives that rest on the word of a key that was revoked since some time."""
    state = repository.state
    living = [one.id for one in state.living()]
    concerned = distrusted_archives(repository, living)
    if not concerned:
        return
    keys = [known for known in state.keys.values() if known.distrusted_since is not None]
    names = ", ".join(f"{known.name!r} since {at(known.distrusted_since or 0)}" for known in keys)
    written = sum(1 for one in concerned.values() if one.written_by is not None)
    findings.add(
        Finding(
            "warning", "archives-distrusted", "log",
            f"{len(concerned)} archives are not to be trusted as they are ({names}): {written} were written "
            f"by such a key, {len(concerned) - written} use chunks that only it wrote: "
            f"{listed([short(one) for one in concerned])}. `strongroom check --verify-data` tells which "
            "chunks are sound.",
            keys[0].name, keys[0].distrusted_since, tuple(one.hex() for one in concerned),
        )
    )  # fmt: skip


def judge_scores(scores: list[Score], state: LogState, findings: Findings) -> None:
    by_seq = {one.seq: one for one in state.archives.values()}
    for score in scores:
        if not score.flagged:
            continue
        called = score.name if score.name is not None else f"aid:{score.archive[:16]}"
        reasons = " ".join(sign.what for sign in score.signs)
        archive = by_seq[score.seq]
        findings.add(
            Finding(
                "warning", "archive-suspicious", archives.name(archive.id),
                f"{called} looks suspicious ({score.points} points): {reasons}",
                score.key, archive.time, (score.archive,),
            )
        )  # fmt: skip
