"""Each archive against the one before it in its series: what changed in a way that a person should see.

With an open key a series is what has the same host and the same name but for its numbers (dates,
counters); without, it is what one key wrote, and the predecessor the one that shares the most chunks
with it, or, where none does, has about as many.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

from strongroom.archive.reading import ArchiveTree
from strongroom.commands.listing import ArchiveFilter, list_archives
from strongroom.ids import ArchiveId, RefsId
from strongroom.monitor.changes import changes_between
from strongroom.monitor.scoring import (
    HOUR,
    Score,
    Sign,
    signs_of_changes,
    signs_of_deletions,
    signs_of_hour,
    signs_of_size,
    signs_of_turnover,
)
from strongroom.monitor.thresholds import Thresholds
from strongroom.monitor.turnover import turnover
from strongroom.monitor.words import key_name
from strongroom.reporting import Progress, Reporter
from strongroom.repository import archives
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.index_objects import UNREADABLE
from strongroom.repository.log import ArchiveState, Tombstone
from strongroom.repository.repository import Repository

_NUMBERS = re.compile(r"\d+")
_LOOK_BACK = 5  # archives of a key, among which the predecessor is looked for without the key
_CHECKPOINTS = ".checkpoint"

History = list[tuple[ArchiveState, ArchiveMeta | None]]


def score_archives(
    repository: Repository, wanted: ArchiveFilter, limits: Thresholds, reporter: Reporter
) -> tuple[list[Score], list[str]]:
    """Scores, oldest first, and what could not be scored. Raises the store's errors."""
    repository.load_index()
    chosen = {info.id for info in list_archives(repository, wanted)}
    scores: list[Score] = []
    skipped: list[str] = []
    progress = Progress(total=len(chosen))
    for history in _series(repository):
        for number in range(1, len(history)):
            state = history[number][0]
            if state.id not in chosen:
                continue
            try:
                scores.append(_score(repository, history[: number + 1], limits))
            except UNREADABLE as error:
                skipped.append(f"{archives.name(state.id)} cannot be compared with what was before: {error}")
            progress.original += 1
            reporter.progress("audit.archives", progress)
    reporter.progress("audit.archives", progress, finished=True)
    return sorted(scores, key=lambda one: one.seq), skipped


def _series(repository: Repository) -> Iterator[History]:
    """Of living archives, oldest first."""
    living = repository.state.living()
    found: dict[tuple[object, ...], History] = defaultdict(list)
    if not repository.can_open:
        for state in living:
            found[(state.key_id,)].append((state, None))
    else:
        for state, meta in zip(living, repository.archive_metas(living), strict=True):
            if isinstance(meta, ArchiveMeta):
                name = _NUMBERS.sub("#", meta.name.removesuffix(_CHECKPOINTS))
                found[(meta.hostname, name)].append((state, meta))
    yield from found.values()


def _score(repository: Repository, history: History, limits: Thresholds) -> Score:
    """Of the last of them."""
    (state, meta), earlier = history[-1], history[:-1]
    key = key_name(repository.state, state.key_id)
    score = Score(
        state.id.hex(), meta.name if meta else None, state.seq, key, "", "full" if meta else "server",
        accepted=limits.accepts(state.id),
    )  # fmt: skip
    before, was = earlier[-1] if meta else (_closest(repository, state, earlier), None)
    score.predecessor = before.id.hex()
    if meta is not None and was is not None:
        chunks = repository.chunk_reader()
        score.changes = changes_between(
            ArchiveTree(chunks, was), ArchiveTree(chunks, meta), repository.index, chunks
        )
        same = _without_names(meta.command_line) == _without_names(was.command_line)
        score.signs += signs_of_changes(score.changes, was.files, limits, same_command=same)
    else:
        score.turnover = turnover(
            _root(repository, before.id), _root(repository, state.id), before.body.chunks,
            repository.refs_block, repository.index,
        )  # fmt: skip
        score.signs += signs_of_turnover(score.turnover, limits)
    score.signs += _circumstances(repository, history, key, limits)
    score.flagged = score.points >= limits.flag and not score.accepted
    return score


def _circumstances(repository: Repository, history: History, key: str, limits: Thresholds) -> list[Sign]:
    state = history[-1][0]
    added = [one.body.new_bytes for one, _ in history[1:-1]]
    times = [meta.start if meta else one.time for one, meta in history]
    return [
        *signs_of_size(state.body.new_bytes, added, limits),
        *signs_of_hour(times[-1], times[:-1], limits),
        *signs_of_deletions(_deletions(repository, state, limits), key, limits),
    ]


def _deletions(repository: Repository, state: ArchiveState, limits: Thresholds) -> int:
    """Archives whose deletion the same backup key asked for within some days."""
    known = repository.state.keys.get(state.key_id)
    if known is None or known.role != "backup":
        return 0
    span = limits.days * 24 * HOUR
    return sum(
        1
        for one in repository.state.archives.values()
        for stone in _tombstones(one)
        if stone.key_id == state.key_id and abs(stone.time - state.time) <= span
    )


def _tombstones(archive: ArchiveState) -> list[Tombstone]:
    return [one for one in (archive.deleted, archive.requested) if one is not None and not one.replaced]


def _closest(repository: Repository, state: ArchiveState, earlier: History) -> ArchiveState:
    """By shared chunks, else by their number: an archive of the same files, most likely."""
    candidates = [one for one, _ in earlier[-_LOOK_BACK:]]
    candidates.reverse()  # the newest wins a tie
    if len(candidates) == 1:
        return candidates[0]

    def distance(one: ArchiveState) -> tuple[int, int]:
        change = turnover(
            _root(repository, one.id), _root(repository, state.id), one.body.chunks,
            repository.refs_block, repository.index,
        )  # fmt: skip
        return change.gone - one.body.chunks, abs(one.body.chunks - state.body.chunks)

    return min(candidates, key=distance)


def _root(repository: Repository, archive: ArchiveId) -> RefsId:
    return archives.decode(repository.archive_blob(archive), archive)[0]


def _without_names(command_line: list[str]) -> list[str]:
    """The command line without the archive's name, which changes from run to run."""
    return [word for word in command_line if "::" not in word]
