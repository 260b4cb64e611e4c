"""From the list of an archive's items to trees: folders, each with its entries in order of their names."""

from collections.abc import Callable, Sequence

import msgspec

from strongroom.archive.build import implied_entry
from strongroom.archive.entries import Entry
from strongroom.borg.beds import Bed
from strongroom.borg.runs import RunId, Runs
from strongroom.borg.scratch import BEDS, Scratch
from strongroom.errors import Damaged
from strongroom.ids import ChunkId

_FEW = 16  # runs, of some hundred entries each, that are compared in memory


class Planted(msgspec.Struct):
    """What came of an archive's items."""

    root: Entry
    files: int = 0  # further names of a file are not counted, as in Borg
    size: int = 0  # bytes of content


class Planter:
    """Of one repository; archives of several machines, or of several folders, may take turns.

    For one thread.
    """

    def __init__(self, scratch: Scratch, runs: Runs) -> None:
        self._runs = runs
        self._beds = [Bed(scratch, number) for number in range(BEDS)]
        self._archives = 0

    def plant(self, chunks: Sequence[ChunkId], what: str, tell: Callable[[str], None]) -> Planted:
        """An archive, by the chunks of its list of items; `tell` is given what it has that cannot be.

        Raises `Damaged` naming `what`, and what reading raises.
        """
        found: dict[RunId, None] = {}
        linking: list[RunId] = []
        count = 0
        planted = Planted(implied_entry(b"", b""))
        for run, summary in self._runs.of(chunks, what):
            found.pop(run, None)  # the last one holds
            found[run] = None
            count += summary.count
            planted.files += summary.files
            planted.size += summary.size
            planted.root = summary.root or planted.root
            if summary.follows:
                linking.append(run)
            for text in summary.told:
                tell(text)
        bed = self._choose(found)
        self._lay_out(bed, found, count)
        for run in linking:
            for one in self._runs.harvest(run).follows:
                try:
                    bed.follow(one)
                except Damaged as error:
                    tell(f"{error} It is left out.")
        planted.root = bed.build(planted.root)
        return planted

    def _choose(self, found: dict[RunId, None]) -> Bed:
        """Where an archive lies that has the most in common, or else what was not used for longest."""
        self._archives += 1
        alike = max(self._beds, key=lambda bed: self._shared(bed, found))
        is_alike = self._shared(alike, found) * 2 >= len(found)
        bed = alike if is_alike else min(self._beds, key=lambda bed: bed.used)
        bed.is_sound = bed.is_sound and is_alike
        bed.used = self._archives
        return bed

    def _shared(self, bed: Bed, found: dict[RunId, None]) -> int:
        return sum(run in bed.runs for run in (*found, *self._runs.resembled)) if bed.is_sound else 0

    def _lay_out(self, bed: Bed, found: dict[RunId, None], count: int) -> None:
        """`count`: how many entries the runs have together. Fewer paths: two say something of the same."""
        gone = [run for run in bed.runs if run not in found]
        come = [run for run in found if run not in bed.runs]
        is_sound, bed.is_sound = bed.is_sound, False
        if is_sound:
            bed.unlink()
            self._swap(bed, gone, come)
        if not is_sound or bed.count() != count:
            bed.clear()
            for run in found:  # in their order: the last word on a path holds
                bed.put_in([], [self._runs.harvest(run)])
        bed.runs, bed.is_sound = found, bed.count() == count
        self._runs.forget([run for run in gone if not any(run in one.runs for one in self._beds)])

    def _swap(self, bed: Bed, gone: list[RunId], come: list[RunId]) -> None:
        harvest = self._runs.harvest
        pairs = [
            (gone[at : at + _FEW], come[at : at + _FEW]) for at in range(0, max(len(gone), len(come)), _FEW)
        ]
        for work in (bed.take_out, bed.put_in):  # one behind the other: entries move from run to run
            for old, new in pairs:
                work([harvest(run) for run in old], [harvest(run) for run in new])
