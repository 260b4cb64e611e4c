"""What `check --repair` does first: objects that parity or a copy gives back whole take their places again.

Nothing is kept in memory between the plan and its execution but names.
"""

from collections.abc import Iterator
from contextlib import suppress

from strongroom.commands.results import Part, Problem
from strongroom.errors import ObjectExists
from strongroom.ids import ArchiveId, RefsId
from strongroom.repository import archives, refs
from strongroom.repository.copying import fetch
from strongroom.repository.rescue import UNUSABLE, better
from strongroom.store.protocol import Store


def plan_mending(
    store: Store, copy: Store | None, problems: list[Problem]
) -> tuple[list[str], list[Problem]]:
    """Names of objects that `mend` can put right, and the problems that stay. Raises the stores' errors."""
    left = []
    known: dict[str, bool] = {}
    for one in problems:
        solved = True
        damaged = 0
        for name in _damaged_behind(store, copy, one):
            damaged += 1
            if name not in known:
                known[name] = better(store, copy, name) is not None
            solved = solved and known[name]
        if not (solved and damaged):
            left.append(one)
    return [name for name, can_be in known.items() if can_be], left


def mend(store: Store, copy: Store | None, name: str) -> bool:
    """False if what would have helped is gone since. Raises `StoreRefused`, and the stores' errors."""
    blob = better(store, copy, name)
    if blob is None:
        return False
    with suppress(ObjectExists):  # somebody else was faster
        store.mend(name, [blob])
    return True


def _damaged_behind(store: Store, copy: Store | None, problem: Problem) -> Iterator[str]:
    """Names of objects whose bytes are not what they should be."""
    match problem.part:
        case Part.PACK | Part.INDEX | Part.ARCHIVE | Part.KEY:
            if not _is_sound(store, problem.object):
                yield problem.object
        case Part.REFS if copy is not None:
            archive = ArchiveId(problem.id)
            with suppress(*UNUSABLE):
                waiting = [archives.decode(fetch(store, archives.name(archive)), archive)[0]]
                seen = set(waiting)
                while waiting:
                    block = waiting.pop()
                    name = refs.name(block)
                    sound = _is_sound(store, name)
                    if not sound:
                        yield name
                    level, ids = refs.decode(fetch(store if sound else copy, name), block)
                    below = {RefsId(one) for one in ids} - seen if level else set()
                    waiting += below
                    seen |= below


def _is_sound(store: Store, name: str) -> bool:
    try:
        fetch(store, name)
    except UNUSABLE:
        return False
    return True
