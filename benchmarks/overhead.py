"""What the way to the repository costs: each program over SSH against itself on a local folder."""

import statistics
from dataclasses import dataclass

from report import Run, aligned
from routes import Carried

WITHIN = 1.25
"""Over SSH, times the slower of a local folder and of what ssh itself can carry."""


@dataclass(frozen=True)
class Cost:
    """Seconds are medians of wall times; None where the route or the other program was not run."""

    tree: str
    case: str
    peer: str
    local: float | None
    ssh: float | None
    distant: float | None
    carrying: float | None
    """Of a first backup: what ssh needs to connect and to carry the bytes that the repository then has."""
    borg: float | None
    """Borg's, over SSH."""

    def local_ratio(self) -> float | None:
        return _over(self.ssh, self.local)

    def bound_ratio(self) -> float | None:
        """Of a first backup: at most `WITHIN` is the promise."""
        if self.carrying is None or self.local is None:
            return None
        return _over(self.ssh, max(self.local, self.carrying))

    def borg_ratio(self) -> float | None:
        """How many times faster than borg."""
        return _over(self.borg, self.ssh)

    def distance_ratio(self) -> float | None:
        return _over(self.distant, self.ssh)


def costs(runs: list[Run], carried: list[Carried]) -> list[Cost]:
    """One for each tree, case and program that ran over SSH; `carried` is of the route `ssh`."""
    seconds: dict[tuple[str, str, str, str], list[float]] = {}
    bytes_kept: dict[tuple[str, str, str, str], list[float]] = {}
    for run in runs:
        key = (run.tree, run.case, run.peer, run.over)
        seconds.setdefault(key, []).append(run.measured.wall)
        bytes_kept.setdefault(key, []).append(run.repository)

    def median(tree: str, case: str, peer: str, over: str) -> float | None:
        return statistics.median(found) if (found := seconds.get((tree, case, peer, over))) else None

    result = []
    for tree, case, peer in dict.fromkeys((run.tree, run.case, run.peer) for run in runs):
        carrying = None
        if case == "create" and carried and (kept := bytes_kept.get((tree, case, peer, "ssh"))):
            rate = statistics.median(each.rate for each in carried)
            connecting = statistics.median(each.connecting for each in carried)
            carrying = connecting + statistics.median(kept) / rate
        local, ssh, distant = (median(tree, case, peer, over) for over in ("local", "ssh", "ssh-latency"))
        if ssh is not None or distant is not None:
            borg = median(tree, case, "borg", "ssh") if peer != "borg" else None
            result.append(Cost(tree, case, peer, local, ssh, distant, carrying, borg))
    return result


def table(found: list[Cost]) -> str:
    """A line a cost, a `-` where something was not run."""
    header = ["tree", "case", "peer", "local s", "ssh s", "ssh/local", "carrying s"]
    header += [f"x slower of both (<={WITHIN})", "borg/it", "latency s", "latency/ssh"]
    lines = [header]
    for cost in found:
        numbers = [cost.local, cost.ssh, cost.local_ratio(), cost.carrying, cost.bound_ratio()]
        numbers += [cost.borg_ratio(), cost.distant, cost.distance_ratio()]
        texts = ["-" if number is None else f"{number:.2f}" for number in numbers]
        lines.append([cost.tree, cost.case, cost.peer, *texts])
    return aligned(lines)


def _over(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else above / below
