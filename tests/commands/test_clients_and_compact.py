"""Several clients that are behind one another write, delete, prune, bring back, compact and replicate,
against a model.

Whatever the order: what the model holds to be there is read in full by everybody, and what `compact` may
not free is there.
"""

import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contents import assert_holds, chunk, put_chunks, read_chunks
from economy import times
from program import fast_folder, remove_tree
from shelf import Shelf, Told
from strongroom.commands.compact import CompactOptions, compact
from strongroom.commands.delete import delete_archives
from strongroom.commands.listing import ArchiveFilter, find_archive
from strongroom.commands.prune import PruneOptions, prune_archives
from strongroom.commands.replicate import replicate
from strongroom.commands.retention import Rules
from strongroom.commands.undelete import find_deleted, undelete_archives
from strongroom.errors import ArchiveExists, ArchiveMissing, ObjectMissing, RoleInsufficient
from strongroom.ids import ArchiveId
from strongroom.repository.repository import Repository
from strongroom.store.local import LocalStore

CLIENTS = ("admin", "second", "laptop")  # the last one with a backup key
clients = st.sampled_from(CLIENTS)
names = st.sampled_from(["a", "b", "c"])
contents = st.sampled_from([(0, 4), (0, 8), (2, 6), (6, 12), (3, 4)])
REFUSED = (ArchiveExists, ArchiveMissing, ObjectMissing, RoleInsufficient)


class ClientsAndCompact(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="strongroom-compact-", dir=fast_folder()))
        self.living: dict[ArchiveId, list[int]] = {}
        self.dead: dict[ArchiveId, list[int]] = {}
        self.asked: set[ArchiveId] = set()

    @initialize()
    def found(self) -> None:
        self.shelf = Shelf(self.root)
        self.shelf.add_key("backup", "laptop")
        self.opened: dict[str, Repository] = {
            name: self.shelf.open("admin" if name == "second" else name) for name in CLIENTS
        }

        self.copy = LocalStore.create(str(self.root / "copy"), make_parents=False)

    def teardown(self) -> None:
        if hasattr(self, "shelf"):
            assert_holds(self.shelf, self.living | self.dead)
            self.shelf.close()
        remove_tree(self.root)

    @rule(client=clients, name=names, content=contents)
    def creates(self, client: str, name: str, content: tuple[int, int]) -> None:
        numbers = list(range(*content))
        try:
            self.living[put_chunks(self.opened[client], name, numbers)] = numbers
        except ArchiveExists:
            return

    @rule(client=clients, name=names)
    def deletes(self, client: str, name: str) -> None:
        repository = self.opened[client]
        try:
            meant = find_archive(repository, name)
            delete_archives(repository, [meant], Told())
        except (ArchiveMissing, ObjectMissing):  # it did not know that the archive was freed
            return
        assert meant.id in self.living
        if client == "laptop":
            self.asked.add(meant.id)
        else:
            self.dead[meant.id] = self.living.pop(meant.id)
            self.asked.discard(meant.id)

    @rule(keep=st.integers(1, 3))
    def prunes(self, keep: int) -> None:
        plan = prune_archives(
            self.opened["admin"], PruneOptions(Rules(secondly=keep), ArchiveFilter()), Told()
        )
        for info in plan.pruned:
            if info.id in self.living:
                self.dead[info.id] = self.living.pop(info.id)
                self.asked.discard(info.id)

    @rule(client=st.sampled_from(CLIENTS[:2]))
    def replicates(self, client: str) -> None:
        """Whatever was freed and moved since the last time, the copy holds all that lives."""
        repository = self.opened[client]
        repository.history.sync()
        done = replicate(repository, self.copy, Told())
        assert not done.lost and not done.behind
        with self.shelf.open(at=self.root / "copy") as copied:
            copied.load_index()
            for archive, numbers in self.living.items():
                assert read_chunks(copied, archive) == [chunk(number) for number in numbers]

    @rule(client=clients, name=names)
    def undeletes(self, client: str, name: str) -> None:
        repository = self.opened[client]
        try:
            meant = find_deleted(repository, name)
            undelete_archives(repository, [meant], Told())
        except REFUSED:
            return
        if meant.id in self.asked:
            self.asked.discard(meant.id)
        else:
            self.living[meant.id] = self.dead.pop(meant.id)

    @rule(client=st.sampled_from(CLIENTS[:2]), threshold=st.sampled_from([0.0, 0.3]))
    def compacts(self, client: str, threshold: float) -> None:
        """By whoever is behind: what it does not know to be dead, it does not free."""
        repository = self.opened[client]
        compact(repository, CompactOptions(quarantine=0, threshold=threshold), Told())
        freed = repository.state.freed_archives.keys()
        assert freed.isdisjoint(self.living)
        self.dead = {one: numbers for one, numbers in self.dead.items() if one not in freed}

    @rule(client=st.sampled_from(CLIENTS[:2]))
    def reads(self, client: str) -> None:
        """By the log as it last saw it: bundles may lie elsewhere by now."""
        repository = self.opened[client]
        repository.load_index()
        for archive, numbers in self.living.items():
            if archive in repository.state.archives:
                assert read_chunks(repository, archive) == [chunk(number) for number in numbers]

    @invariant()
    def nothing_that_counts_is_gone(self) -> None:
        if hasattr(self, "opened"):
            here = {path.name for path in (self.shelf.path / "archives").glob("*")}
            assert here >= {one.hex() for one in (self.living | self.dead)}


ClientsAndCompact.TestCase.settings = settings(
    max_examples=times(8), stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestClientsAndCompact = ClientsAndCompact.TestCase
