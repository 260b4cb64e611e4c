"""Several clients of one repository, each behind the others, against a model of what is alive.

Whatever they ask for in whatever order: it happens in full and once, or not at all with an error;
the log stays whole; nothing that was ever stored goes away.
"""

import tempfile
from datetime import timedelta
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from economy import times
from program import fast_folder, remove_tree
from shelf import EPOCH, Shelf, Told, metas, put_archive
from strongroom.commands.delete import delete_archives
from strongroom.commands.listing import ArchiveFilter, find_archive
from strongroom.commands.prune import PruneOptions, prune_archives
from strongroom.commands.rename import rename_archive
from strongroom.commands.retention import Rules
from strongroom.commands.undelete import find_deleted, undelete_archives
from strongroom.errors import ArchiveExists, ArchiveMissing, RoleInsufficient
from strongroom.ids import ArchiveId
from strongroom.repository.repository import Repository

CLIENTS = ("admin", "laptop", "server")  # the last two with backup keys
clients = st.sampled_from(CLIENTS)
names = st.sampled_from(["a", "b", "c", "d"])
REFUSED = (ArchiveExists, ArchiveMissing, RoleInsufficient)


class Clients(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="strongroom-clients-", dir=fast_folder()))
        self.living: dict[ArchiveId, str] = {}
        self.dead: dict[ArchiveId, str] = {}
        self.asked: set[ArchiveId] = set()  # of the living: backup keys ask for their deletion
        self.days: dict[ArchiveId, int] = {}
        self.stored: dict[str, bytes] = {}

    @initialize()
    def found(self) -> None:
        self.shelf = Shelf(self.root)
        for name in CLIENTS[1:]:
            self.shelf.add_key("backup", name)
        self.opened: dict[str, Repository] = {name: self.shelf.open(name) for name in CLIENTS}
        self.witness = self.shelf.open()

    def teardown(self) -> None:
        self.shelf.close()
        remove_tree(self.root)

    def knows(self, client: Repository) -> bool:
        return client.state.head == self.witness.state.head

    # --- what clients do ---

    @rule(client=clients)
    def looks(self, client: str) -> None:
        self.opened[client].history.sync()

    @rule(client=clients, name=names, day=st.integers(0, 5))
    def creates(self, client: str, name: str, day: int) -> None:
        repository = self.opened[client]
        try:
            made = put_archive(repository, name, EPOCH + timedelta(days=20_000 + day))
        except ArchiveExists:
            assert name in self.living.values() or name in self.seen_by(repository, living=True)
            return
        assert name not in self.living.values()
        self.living[made], self.days[made] = name, day

    @rule(client=clients, name=names)
    def deletes(self, client: str, name: str) -> None:
        repository = self.opened[client]
        meant = None
        try:
            meant = find_archive(repository, name)
            delete_archives(repository, [meant], Told())
        except ArchiveMissing:
            if meant is None:
                assert name not in self.seen_by(repository, living=True)
            else:
                assert meant.id not in self.living
            return
        if client == "admin":
            self.dead[meant.id] = self.living.pop(meant.id)
            self.asked.discard(meant.id)
        else:
            if meant.id not in self.living:  # it asked before, and has not heard of the deletion since
                return
            self.asked.add(meant.id)

    @rule(client=clients, name=names)
    def undeletes(self, client: str, name: str) -> None:
        repository = self.opened[client]
        meant = None
        try:
            meant = find_deleted(repository, name)
            undelete_archives(repository, [meant], Told())
        except REFUSED:
            if meant is None:
                several = list(self.dead.values()).count(name) != 1
                assert not self.knows(repository) or several or client != "admin"
            else:
                assert meant.id not in self.asked
                assert meant.id not in self.dead or name in self.living.values() or client != "admin"
            return
        if meant.id in self.asked:
            self.asked.discard(meant.id)
            return
        assert name not in self.living.values() and client == "admin"
        self.living[meant.id] = self.dead.pop(meant.id)

    @rule(old=names, new=names)
    def renames(self, old: str, new: str) -> None:
        repository = self.opened["admin"]
        before = repository.archive_by_name(old).id if old in self.seen_by(repository, living=True) else None
        try:
            rename_archive(repository, old, new)
        except REFUSED:
            assert before not in self.living or new in self.living.values() or not self.knows(repository)
            return
        assert before is not None and new not in self.living.values()
        made = repository.archive_by_name(new).id
        del self.living[before]
        self.asked.discard(before)
        self.living[made], self.days[made] = new, self.days[before]

    @rule(keep=st.integers(1, 3))
    @precondition(lambda self: self.living)
    def prunes(self, keep: int) -> None:
        plan = prune_archives(self.opened["admin"], PruneOptions(Rules(daily=keep), ArchiveFilter()), Told())
        gone = [info.id for info in plan.pruned if info.id in self.living]
        newest = max(self.days[one] for one in self.living)
        for one in gone:
            self.dead[one] = self.living.pop(one)
            self.asked.discard(one)
        assert self.living, "a rule that keeps something leaves something"
        if self.knows_now("admin"):
            assert newest == max(self.days[one] for one in self.living)
            assert len({self.days[one] for one in self.living}) <= keep or not gone

    # --- what must hold ---

    def seen_by(self, repository: Repository, *, living: bool) -> list[str]:
        """Names of all archives as that client knows them; the admin's eyes see through seals."""
        states = repository.state.living() if living else repository.state.dead()
        known = self.living | self.dead | self.renamed()
        return [known[one.id] for one in states]

    def renamed(self) -> dict[ArchiveId, str]:
        """What a rename replaced keeps its name for those who have not heard of it."""
        self.witness.history.sync()
        everything = list(self.witness.state.archives.values())
        found = self.witness.archive_metas(everything)
        return {
            state.id: meta.name  # type: ignore[union-attr]
            for state, meta in zip(everything, found, strict=True)
        }

    def knows_now(self, client: str) -> bool:
        self.witness.history.sync()
        return self.knows(self.opened[client])

    @invariant()
    def a_reader_sees_what_the_model_says(self) -> None:
        if not hasattr(self, "witness"):
            return
        self.witness.history.sync()
        living = {one.id for one in self.witness.state.living()}
        assert living == self.living.keys()
        assert sorted(meta.name for meta in metas(self.witness)) == sorted(self.living.values())
        assert {one.id for one in self.witness.state.dead()} == self.dead.keys()
        assert {one.id for one in self.witness.state.requested()} == self.asked

    @invariant()
    def nothing_goes_away(self) -> None:
        if not hasattr(self, "witness"):
            return
        now = self.shelf.objects()
        assert self.stored.items() <= now.items()
        self.stored = now


Clients.TestCase.settings = settings(
    max_examples=times(15),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestClients = Clients.TestCase
