"""Repair what `check` found: what else the repository holds tells what the damaged objects were.

First a plan, which changes nothing, then its execution. An object is made anew byte for byte
where that can be done: then its name, and all that names it, stay as they are. What parity or a copy of
the repository gives back whole comes first; only what they do not have is lost. The log is healed before:
without it there is nothing to go by.
"""

from collections.abc import Callable
from functools import partial

import msgspec

from strongroom.archive.reading import ArchiveTree
from strongroom.archive.relisting import list_refs
from strongroom.commands.check import CheckOptions, check_repository
from strongroom.commands.mending import mend, plan_mending
from strongroom.commands.repair_packs import Freeing, Salvager, free
from strongroom.commands.results import CheckResult, Part, Problem
from strongroom.crypto import hashing
from strongroom.errors import ObjectExists, ObjectMissing, StoreRefused
from strongroom.ids import ArchiveId, IndexId, PackId, RefsId
from strongroom.reporting import Progress, Reporter
from strongroom.repository import archives, packs, parity, refs
from strongroom.repository.copying import fetch
from strongroom.repository.freeing import freed_names
from strongroom.repository.index_objects import UNREADABLE
from strongroom.repository.log import FreeingBody
from strongroom.repository.rebuilding import packs_behind, rebuild_indexes
from strongroom.repository.repository import Repository
from strongroom.store.protocol import Store

_SHOWN = 10  # names in a list
_ROUNDS = 4  # an archive that is back may show that its refs are damaged, and so on


class RepairPlan(msgspec.Struct):
    """What is to be done; the functions make the bytes when they are needed."""

    mended: list[str] = []  # by parity or from the copy
    anew: dict[str, Callable[[], bytes]] = {}  # as they were, by name
    relisted: dict[ArchiveId, list[str]] = {}  # refs made anew
    freeing: Freeing = msgspec.field(default_factory=Freeing)  # what only a record can put right
    useless: list[str] = []  # objects that serve nobody any more
    leftovers: list[str] = []  # freed by an earlier run that did not come to its end
    hopeless: list[str] = []  # sentences: what this cannot repair, and why

    @property
    def is_empty(self) -> bool:
        some = (self.mended, self.anew, self.relisted, self.useless, self.leftovers)
        return self.freeing.is_empty and not any(some)

    def lines(self) -> list[str]:
        """For the question whether to go on."""
        lines = _listed(self.mended, "is healed: parity or the copy tells what it was")
        blocks = dict.fromkeys(name for names in self.relisted.values() for name in names)
        lines += _listed([*self.anew, *blocks], "is made anew, as it was")
        lines += [one.line() for one in self.freeing.packs]
        lines += _listed([packs.index_name(one) for one in self.freeing.indexes], "is replaced by a new one")
        if self.freeing.unlisted:
            lines.append("packs that no index object lists are listed in a new one")
        lost = [archives.name(one) for one in self.freeing.archives]
        lines += _listed(lost, "is given up, and its archive with it: nothing else tells what was in it")
        useless = [*self.useless, *(packs.name(one) for one in self.freeing.unnamed)]
        lines += _listed(useless, "is removed: it is damaged, and of use to nobody")
        return lines + _listed(self.leftovers, "is removed: an earlier run has replaced it")


class RepairResult(msgspec.Struct):
    mended: list[str] = []
    anew: list[str] = []
    replaced: int = 0  # damaged packs
    removed: list[str] = []
    refused: list[str] = []  # sentences: what the store would not let us do
    hopeless: list[str] = []  # as of the plan
    left: CheckResult = msgspec.field(default_factory=CheckResult)  # what `check` finds now

    def lines(self) -> list[str]:
        lines = _listed(self.mended, "was healed") + _listed(self.anew, "was made anew, as it was")
        return lines + _listed(self.removed, "was removed")


def plan_repair(repository: Repository, found: CheckResult, copy: Store | None = None) -> RepairPlan:
    """Raises the stores' errors, and `RoleInsufficient` without a key that opens."""
    plan = RepairPlan()
    plan.mended, left = plan_mending(repository.store, copy, found.problems)
    of = _by_part(left)
    _plan_indexes(repository, [IndexId(one.id) for one in of.get(Part.INDEX, [])], plan)
    for one in of.get(Part.ARCHIVE, []):
        _plan_archive(repository, ArchiveId(one.id), plan)
    for archive in dict.fromkeys(ArchiveId(one.id) for one in of.get(Part.REFS, [])):
        _plan_refs(repository, archive, plan)
    for one in of.get(Part.KEY, []):
        plan.useless.append(one.object)
    hurt = {one.id for one in of.get(Part.PACK, [])}  # these go, and their parity with them
    for one in of.get(Part.PARITY, []):
        if one.id in hurt:
            continue
        plan.anew[one.object] = partial(_parity_of, repository.store, PackId(one.id))
    _plan_packs(repository, of, plan)
    plan.leftovers = _leftovers(repository)
    return plan


def repair_repository(
    repository: Repository,
    plan: RepairPlan,
    options: CheckOptions,
    reporter: Reporter,
    copy: Store | None = None,
) -> RepairResult:
    """Carry the plan out, check again, and go on while that finds more to do.

    The last check reads no data again. Raises the store's errors; whoever is stopped runs it again.
    """
    again = msgspec.structs.replace(options, verify_data=False)
    result = RepairResult()
    for _ in range(_ROUNDS):
        _carry_out(repository, plan, result, reporter, copy)
        result.left = check_repository(repository, again, reporter)
        plan = plan_repair(repository, result.left, copy)
        if plan.is_empty or result.refused:
            break
    result.hopeless = plan.hopeless
    return result


def _carry_out(
    repository: Repository, plan: RepairPlan, result: RepairResult, reporter: Reporter, copy: Store | None
) -> None:
    progress = Progress(total=len(plan.mended) + len(plan.anew))
    for name in plan.mended:
        try:
            if mend(repository.store, copy, name):
                result.mended.append(name)
        except StoreRefused as error:
            result.refused.append(f"{name} cannot be healed: {error}")
        progress.original += 1
        reporter.progress("check.repair", progress)
    for archive in plan.relisted:
        _put_refs(repository, archive, result)
    for name, make in plan.anew.items():
        _put_back(repository, name, make(), result)
        progress.original += 1
        reporter.progress("check.repair", progress)
    freed: list[str] = []
    if not plan.freeing.is_empty:
        freed = freed_names(free(repository, plan.freeing))
        result.replaced += len(plan.freeing.packs)
    for name in [*plan.useless, *plan.leftovers, *freed]:
        _remove(repository, name, result, result.removed)


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


def _parity_of(store: Store, pack: PackId) -> bytes:
    blob = fetch(store, packs.name(pack))
    return b"".join(parity.encode(pack, blob, parity.percent_of(store, pack)))


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
    plan.freeing.indexes = [index for index in lost if packs.index_name(index) not in plan.anew]


def _plan_archive(repository: Repository, archive: ArchiveId, plan: RepairPlan) -> None:
    name = archives.name(archive)
    with repository.cache.reading("archives") as txn:
        cached = bytes(txn.get(archive) or b"")
    if hashing.same(hashing.plain_hash(cached), archive):
        plan.anew[name] = lambda: cached
        return
    plan.freeing.archives.append(archive)


def _plan_refs(repository: Repository, archive: ArchiveId, plan: RepairPlan) -> None:
    """The archive's folders tell which chunks it uses, in the same order."""
    name = archives.name(archive)
    blocks: list[str] = []
    try:
        root, _, _ = archives.decode(repository.store.get(name), archive)
        made = _relist(repository, archive, lambda block, _: blocks.append(refs.name(block)))
    except UNREADABLE as error:
        plan.hopeless.append(f"The refs of {name} cannot be made anew while a folder of it is lost: {error}")
        return
    if made != root:
        plan.hopeless.append(f"The refs of {name} cannot be made anew: its writer listed other chunks.")
    elif blocks:
        plan.relisted[archive] = blocks


def _relist(repository: Repository, archive: ArchiveId, put: Callable[[RefsId, bytes], None]) -> RefsId:
    """The root of its refs; `put` is given the blocks that are not as they should be. Raises `UNREADABLE`."""

    def keep(block: RefsId, blob: bytes) -> None:
        if not _is_stored(repository, refs.name(block), blob):
            put(block, blob)

    tree = ArchiveTree(repository.chunk_reader(), repository.archive_meta(archive))
    freed = repository.state.freed_refs(before=repository.state.archives[archive].seq)
    return list_refs(tree, keep, freed.__contains__)


def _plan_packs(repository: Repository, of: dict[Part, list[Problem]], plan: RepairPlan) -> None:
    damaged = list(dict.fromkeys(PackId(one.id) for one in of.get(Part.PACK, [])))
    if damaged:
        repository.load_index()
        salvager = Salvager(repository)
        for pack in damaged:
            found = salvager.look(pack)
            if found is not None:
                plan.freeing.packs.append(found)
    plan.freeing.unnamed = list(dict.fromkeys(PackId(one.id) for one in of.get(Part.UNNAMED_PACK, [])))
    gone = {one.pack for one in plan.freeing.packs}
    unlisted = {PackId(one.id) for one in of.get(Part.UNLISTED_PACK, [])}
    plan.freeing.unlisted = not unlisted <= gone


def _leftovers(repository: Repository) -> list[str]:
    """What a `repair` record freed, and nobody has removed yet."""
    freed = [
        name
        for record in repository.state.freeings
        if record.kind == "repair" and isinstance(record.body, FreeingBody)
        for name in freed_names(record.body)
    ]
    areas = dict.fromkeys(name.split("/", 1)[0] for name in freed)
    present = {one.name for area in areas for one in repository.store.list(f"{area}/")}
    return [name for name in freed if name in present]


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


def _put_refs(repository: Repository, archive: ArchiveId, result: RepairResult) -> None:
    """Each as it is made: those of a large archive would fill the memory."""
    _relist(repository, archive, lambda block, blob: _put_back(repository, refs.name(block), blob, result))


def _remove(
    repository: Repository, name: str, result: RepairResult, removed: list[str] | None = None
) -> bool:
    """Whether it is gone; `removed` is told of what was there: not every pack has parity."""
    why: object = "the repository was made append-only"
    if not repository.founding.append_only:
        try:
            repository.store.delete(name)
        except ObjectMissing:
            return True
        except StoreRefused as error:
            why = error
        else:
            if removed is not None:
                removed.append(name)
            return True
    result.refused.append(f"{name} is of no use and stays, since it may not be removed: {why}")
    return False
