"""Repair what `check` found: what else the repository holds tells what the damaged objects were.

First a plan, which changes nothing, then its execution. An object is made anew byte for byte
where that can be done: then its name, and all that names it, stay as they are.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

from strongroom.archive.reading import ArchiveTree
from strongroom.archive.relisting import list_refs
from strongroom.commands.check import CheckOptions, check_repository
from strongroom.commands.results import CheckResult, Part, Problem
from strongroom.crypto import hashing
from strongroom.errors import ObjectExists, ObjectMissing, StoreRefused
from strongroom.ids import ArchiveId, IndexId, PackId, RefsId
from strongroom.reporting import Progress, Reporter
from strongroom.repository import archives, log, packs, refs
from strongroom.repository.index import UNREADABLE
from strongroom.repository.rebuilding import packs_behind, rebuild_indexes
from strongroom.repository.repository import Repository
from strongroom.store.local import LocalStore

_SHOWN = 10  # names in a list
_ROUNDS = 4  # an archive that is back may show that its refs are damaged, and so on


@dataclass(slots=True)
class RepairPlan:
    """What is to be done; the functions make the bytes when they are needed."""

    anew: dict[str, Callable[[], bytes]] = field(default_factory=dict)  # as they were, by name
    useless: list[str] = field(default_factory=list)  # objects that serve nobody any more
    hopeless: list[str] = field(default_factory=list)  # sentences: what this cannot repair, and why

    @property
    def is_empty(self) -> bool:
        return not (self.anew or self.useless)

    def lines(self) -> list[str]:
        """For the question whether to go on."""
        lines = _listed(list(self.anew), "is made anew, as it was")
        return lines + _listed(self.useless, "is removed: it is damaged, and of use to nobody")


@dataclass(slots=True)
class RepairResult:
    anew: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # sentences: what the store would not let us do
    hopeless: list[str] = field(default_factory=list)  # as of the plan
    left: CheckResult = field(default_factory=CheckResult)  # what `check` finds now

    def lines(self) -> list[str]:
        return _listed(self.anew, "was made anew, as it was") + _listed(self.removed, "was removed")


def plan_repair(repository: Repository, found: CheckResult) -> RepairPlan:
    """Raises the store's errors, and `RoleInsufficient` without a key that opens."""
    plan = RepairPlan()
    of = _by_part(found.problems)
    if Part.LOG in of:
        _plan_log(repository, plan)
    _plan_indexes(repository, [IndexId(one.id) for one in of.get(Part.INDEX, [])], plan)
    for one in of.get(Part.ARCHIVE, []):
        _plan_archive(repository, ArchiveId(one.id), plan)
    for archive in dict.fromkeys(ArchiveId(one.id) for one in of.get(Part.REFS, [])):
        _plan_refs(repository, archive, plan)
    for one in of.get(Part.KEY, []):
        plan.useless.append(one.object)
    return plan


def repair_repository(
    repository: Repository, plan: RepairPlan, options: CheckOptions, reporter: Reporter
) -> RepairResult:
    """Carry the plan out, check again, and go on while that finds more to do.

    The last check reads no data again. Raises the store's errors; whoever is stopped runs it again.
    """
    again = dataclasses.replace(options, verify_data=False)
    result = RepairResult()
    for _ in range(_ROUNDS):
        _carry_out(repository, plan, result, reporter)
        result.left = check_repository(repository, again, reporter)
        plan = plan_repair(repository, result.left)
        if plan.is_empty or result.refused:
            break
    result.hopeless = plan.hopeless
    return result


def _carry_out(repository: Repository, plan: RepairPlan, result: RepairResult, reporter: Reporter) -> None:
    progress = Progress(total=len(plan.anew))
    for name, make in plan.anew.items():
        _put_back(repository, name, make(), result)
        progress.original += 1
        reporter.progress("check.repair", progress)
    for name in plan.useless:
        if _remove(repository, name, result):
            result.removed.append(name)


def _listed(names: list[str], what: str) -> list[str]:
    lines = [f"{name} {what}" for name in names[:_SHOWN]]
    if len(names) > _SHOWN:
        lines.append(f"and so on, with {len(names) - _SHOWN} more")
    return lines


def _by_part(problems: list[Problem]) -> dict[Part, list[Problem]]:
    found: dict[Part, list[Problem]] = {}
    for problem in problems:
        found.setdefault(problem.part, []).append(problem)
    return found


# --- planning ---


def _plan_log(repository: Repository, plan: RepairPlan) -> None:
    """This machine's cache keeps every record that it has verified, as the store had it."""
    with repository.cache.reading("log") as txn:
        cached = {log.name(int.from_bytes(key, "big")): bytes(value) for key, value in txn.cursor()}
    for name, known in cached.items():
        if _is_stored(repository, name, known):
            continue
        if isinstance(repository.store, LocalStore):
            plan.anew[name] = lambda known=known: known  # type: ignore[misc]
        else:
            plan.hopeless.append(
                f"{name} is damaged, and no client may replace records: run `strongroom check --repair` on "
                "the server, with the cache of this machine, or fetch the record from a second repository."
            )


def _is_stored(repository: Repository, name: str, known: bytes) -> bool:
    try:
        return repository.store.get(name) == known
    except UNREADABLE:
        return False


def _plan_indexes(repository: Repository, lost: list[IndexId], plan: RepairPlan) -> None:
    if not lost:
        return
    named = packs_behind(repository.state, lost)
    tables, _ = packs.read_tables(repository.store, named)
    known = {PackId(table.pack): table for table in tables}
    for index, group in rebuild_indexes(repository.state, lost, known):
        plan.anew[packs.index_name(index)] = lambda group=group: packs.encode_index(group)[1]  # type: ignore[misc]
    for index in lost:
        name = packs.index_name(index)
        if name not in plan.anew:
            plan.hopeless.append(f"{name} cannot be made anew: packs that it listed are damaged too.")


def _plan_archive(repository: Repository, archive: ArchiveId, plan: RepairPlan) -> None:
    name = archives.name(archive)
    with repository.cache.reading("archives") as txn:
        cached = bytes(txn.get(archive) or b"")
    if hashing.same(hashing.plain_hash(cached), archive):
        plan.anew[name] = lambda: cached
        return
    plan.hopeless.append(f"{name} is lost: nothing else tells what was in it.")


def _plan_refs(repository: Repository, archive: ArchiveId, plan: RepairPlan) -> None:
    """The archive's folders tell which chunks it uses, in the same order."""
    name = archives.name(archive)
    blocks: dict[RefsId, bytes] = {}

    def keep(block: RefsId, blob: bytes) -> None:
        if not _is_stored(repository, refs.name(block), blob):
            blocks[block] = blob

    try:
        root, _, _ = archives.decode(repository.store.get(name), archive)
        tree = ArchiveTree(repository.chunk_reader(), repository.archive_meta(archive))
        freed = repository.state.freed_refs(before=repository.state.archives[archive].seq)
        made = list_refs(tree, keep, freed.__contains__)
    except UNREADABLE as error:
        plan.hopeless.append(f"The refs of {name} cannot be made anew while a folder of it is lost: {error}")
        return
    if made != root:
        plan.hopeless.append(f"The refs of {name} cannot be made anew: its writer listed other chunks.")
        return
    for block, blob in blocks.items():
        plan.anew[refs.name(block)] = lambda blob=blob: blob  # type: ignore[misc]


# --- execution ---


def _put_back(repository: Repository, name: str, blob: bytes, result: RepairResult) -> None:
    """The name must be free first: nothing is ever replaced. Who is stopped between finds it missing."""
    try:
        repository.store.put(name, [blob])
    except ObjectExists:
        if not _remove(repository, name, result):
            return
        repository.store.put(name, [blob])
    result.anew.append(name)


def _remove(repository: Repository, name: str, result: RepairResult) -> bool:
    try:
        repository.store.delete(name)
    except ObjectMissing:
        return True
    except StoreRefused as error:
        result.refused.append(f"{name} is damaged and stays, since it may not be removed: {error}")
        return False
    return True
