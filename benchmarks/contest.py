"""Runs the cases and keeps what was measured."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import changing
import floors
import measure
import report
import trees
from peers import PEERS
from programs import Peer, Strongroom
from routes import Route

CASES = ["create", "unchanged", "changed", "extract", "mount", "revisions", "prune", "compact", "check"]
MANY_FILES = 1000
UPKEEP = ["prune", "compact", "check"]


class Contest:
    """Runs the cases of each tree, route and round, and keeps what was measured."""

    def __init__(
        self,
        work: Path,
        binaries: dict[str, Path],
        routes: list[Route],
        cases: list[str],
        *,
        cold: bool,
        archives: int,
        scale: float,
    ) -> None:
        """`archives` more are made for the upkeep's cases; `scale` is that of the trees."""
        self.work = work
        self.binaries = binaries
        self.routes = routes
        self.cases = cases
        self.cold = cold
        self.archives = archives
        self.scale = scale
        self.runs: list[report.Run] = []
        self.floors: list[floors.Floor] = []

    def entrants(self) -> list[tuple[Route, Peer]]:
        """Every program on every route, each with a home of its own."""
        found = []
        for route in self.routes:
            for name, path in self.binaries.items():
                peer = PEERS[name](path, self.work / "peers" / f"{name}-{route.name}")
                if route.sshd:
                    peer.endpoint = route.admit(name, peer.forced_command())
                found.append((route, peer))
        return found

    def play(self, tree: trees.Tree, rounds: int) -> None:
        """Every case, `rounds` times, each round on new repositories."""
        for number in range(rounds):
            entrants = self.entrants()
            for _, peer in entrants:
                measure.remove(peer.home)
                (peer.home / "server").mkdir(parents=True)
                for command in peer.init():
                    measure.run(command, peer.environment(), peer.home, self.log(peer))
            for route in self.routes:
                if carried := route.measure_carrying():
                    rate = f"{carried.rate / 1e6:.0f} MB/s"
                    say(f"{route.name} carries {rate}, connects in {carried.connecting:.2f} s")
            for entrant in entrants:
                self.create(tree, "create", entrant, number)
            if "unchanged" in self.cases:
                for entrant in entrants:
                    self.create(tree, "unchanged", entrant, number)
            if "changed" in self.cases:
                with trees.changed(tree):
                    for entrant in entrants:
                        self.create(tree, "changed", entrant, number)
            if "extract" in self.cases:
                for entrant in entrants:
                    self.extract(tree, entrant, number)
                self.floor(tree, entrants[0][1])
            if "mount" in self.cases:
                for entrant in entrants:
                    self.mount(tree, entrant, number)
            if "revisions" in self.cases and tree.name in changing.REVISED:
                self.revise(tree, entrants, number)
            if upkeep := [case for case in UPKEEP if case in self.cases]:
                for entrant in entrants:
                    self.keep_up(tree, entrant, number, upkeep)
            for _, peer in entrants:
                measure.remove(peer.home)

    def create(self, tree: trees.Tree, case: str, entrant: tuple[Route, Peer], number: int) -> None:
        if not self.cold:
            measure.warm(tree.path)  # before each: what lies idle for a minute may be reclaimed
        command = entrant[1].create(case, tree.path.name)
        self.measured(tree, case, entrant, number, command, tree.path.parent)

    def extract(self, tree: trees.Tree, entrant: tuple[Route, Peer], number: int) -> None:
        route, peer = entrant
        self.warm_repository(peer)
        restored = peer.home / "restored"
        restored.mkdir()
        self.measured(tree, "extract", entrant, number, peer.extract("create", tree.path.name), restored)
        wrong = trees.differences(tree, restored / tree.path.name) if number == 0 else []
        self.discard(restored, tree)
        if wrong:
            raise measure.CommandFailed(
                f"{peer.name} over {route.name} restored {len(wrong)} files differently: "
                f"{', '.join(wrong[:5])}"
            )

    def warm_repository(self, peer: Peer) -> None:
        """All alike: some write past the page cache, so theirs would be read from the disk."""
        if not self.cold and peer.repository.exists():
            measure.warm(peer.repository)

    def discard(self, restored: Path, tree: trees.Tree) -> None:
        """Many files go only at the end of all: ext4 looks at each inode that was freed in the last five
        minutes before it takes one, so that who restores next would pay for it, up to four times as much."""
        if tree.files < MANY_FILES:
            measure.remove(restored)
            return
        trash = self.work / "trash"
        trash.mkdir(exist_ok=True)
        restored.rename(trash / str(len(list(trash.iterdir()))))

    def floor(self, tree: trees.Tree, peer: Peer) -> None:
        if not self.cold:
            measure.warm(tree.path)
        found = floors.measured(tree, self.work / "peers", peer.environment(), self.log(peer), self.discard)
        self.floors += found
        for line in floors.lines(found):
            say(line)

    def mount(self, tree: trees.Tree, entrant: tuple[Route, Peer], number: int) -> None:
        """Two runs: until it answers, and one large file read through it; CPU and memory are of both."""
        route, peer = entrant
        self.warm_repository(peer)
        point, result = peer.home / "mounted", peer.home / "mounted.json"
        found = peer.mount("create", point)
        if found is None:
            say(f"{tree.name} mount: {peer.name} is left out, it may have no FUSE here")
            return
        command, below = found
        script = Path(__file__).with_name("through_mount.py")
        words = [
            sys.executable,
            str(script),
            str(result),
            str(point),
            str(Path(below, tree.path.name)),
            *command,
        ]
        if self.cold:
            measure.drop_caches()
        try:
            both = measure.run(words, peer.environment(), peer.home, self.log(peer))
        except measure.CommandFailed:
            if isinstance(peer, Strongroom):
                raise
            say(f"{tree.name} mount: {peer.name} is left out, it did not serve: see {self.log(peer)}")
            return
        seconds = json.loads(result.read_text())
        size = peer.stored()
        for case, wall in (("mount", seconds["answers"]), ("mount read", seconds["reads"])):
            one = dataclasses.replace(both, wall=wall)
            self.runs.append(report.Run(tree.name, case, route.name, peer.name, number, one, size))
            say(f"{tree.name} {case} {number + 1} {route.name} {peer.name}: {wall:.2f} s")

    def revise(self, tree: trees.Tree, entrants: list[tuple[Route, Peer]], number: int) -> None:
        """Successive backups of a tree that changes: their sum, the largest memory, the last size."""
        trees.forget(tree)
        taken: dict[str, list[measure.Measurement]] = {}
        for revision in range(1, changing.REVISIONS + 1):
            changing.REVISED[tree.name](tree.path, revision)
            for _, peer in entrants:
                command = peer.create(f"revision-{revision}", tree.path.name)
                one = measure.run(command, peer.environment(), tree.path.parent, self.log(peer))
                taken.setdefault(peer.home.name, []).append(one)
        for route, peer in entrants:
            ones = taken[peer.home.name]
            total = measure.Measurement(
                sum(one.wall for one in ones),
                sum(one.cpu for one in ones),
                max(one.rss for one in ones),
                ones[0].load_before,
            )
            self.keep(tree, "revisions", (route, peer), number, total)
        shutil.rmtree(tree.path)
        trees.make(tree.name, self.work, self.scale)

    def keep_up(self, tree: trees.Tree, entrant: tuple[Route, Peer], number: int, cases: list[str]) -> None:
        """Upkeep of a repository that has `archives` archives more, each of one small file."""
        peer = entrant[1]
        folder = peer.home / "small"
        (folder / "one").mkdir(parents=True)
        for at in range(self.archives):
            (folder / "one" / "file").write_text(f"{at}\n")
            measure.run(peer.create(f"small-{at}", "one"), peer.environment(), folder, self.log(peer))
        for case in cases:
            command = peer.upkeep(case)
            if command is None:
                say(f"{tree.name} {case}: {peer.name} is left out, it has no such command")
            else:
                self.measured(tree, case, entrant, number, command, folder)

    def measured(
        self,
        tree: trees.Tree,
        case: str,
        entrant: tuple[Route, Peer],
        number: int,
        command: list[str],
        folder: Path,
    ) -> None:
        peer = entrant[1]
        if self.cold:
            measure.drop_caches()
        result = measure.run(command, peer.environment(), folder, self.log(peer))
        self.keep(tree, case, entrant, number, result)

    def keep(
        self,
        tree: trees.Tree,
        case: str,
        entrant: tuple[Route, Peer],
        number: int,
        result: measure.Measurement,
    ) -> None:
        route, peer = entrant
        size = peer.stored()
        self.runs.append(report.Run(tree.name, case, route.name, peer.name, number, result, size))
        say(
            f"{tree.name} {case} {number + 1} {route.name} {peer.name}: {result.wall:.2f} s, "
            f"cpu {result.cpu:.2f} s, {result.rss / 1e6:.0f} MB of memory, repository {size / 1e6:.1f} MB"
        )

    def log(self, peer: Peer) -> Path:
        return self.work / f"{peer.home.name}.log"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
