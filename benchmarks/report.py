"""Tables of medians, spread and ratios, from the list of measured runs."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from measure import Measurement


@dataclass(frozen=True)
class Run:
    tree: str
    case: str
    over: str  # a route's name
    peer: str
    round: int
    measured: Measurement
    repository: int  # bytes after the run


METRICS: list[tuple[str, Callable[[Run], float], Callable[[float], str]]] = [
    ("wall s", lambda run: run.measured.wall, "{:.2f}".format),
    ("cpu s", lambda run: run.measured.cpu, "{:.2f}".format),
    ("rss MB", lambda run: run.measured.rss / 1e6, "{:.0f}".format),
    ("repo MB", lambda run: run.repository / 1e6, "{:.1f}".format),
]


def table(runs: list[Run], sizes: dict[str, int]) -> str:
    """One line a tree, case, route and peer, in the order they were first run.

    Each metric is its median; the wall time's smallest and largest follow it. `x best` is the
    median over that of the best other peer on the same route: below 1 is better than all others.
    CPU and memory are the client's side, its ssh included.
    """
    header = ["tree", "case", "over", "peer", "runs", "wall s", "min-max", "MB/s"]
    header += ["cpu s", "rss MB", "repo MB", "x best: wall", "cpu", "rss", "repo"]
    lines = [header]
    for tree, case, over in dict.fromkeys((run.tree, run.case, run.over) for run in runs):
        of_case = [run for run in runs if (run.tree, run.case, run.over) == (tree, case, over)]
        peers = list(dict.fromkeys(run.peer for run in of_case))
        medians = {
            peer: [statistics.median(map(value, _of(of_case, peer))) for _, value, _ in METRICS]
            for peer in peers
        }
        for peer in peers:
            walls = [run.measured.wall for run in _of(of_case, peer)]
            texts = [form(value) for (_, _, form), value in zip(METRICS, medians[peer], strict=True)]
            rate = f"{sizes[tree] / 1e6 / medians[peer][0]:.0f}"
            spread = f"{min(walls):.2f}-{max(walls):.2f}"
            line = [tree, case, over, peer, str(len(walls)), texts[0], spread, rate, *texts[1:]]
            lines.append(line + _ratios(medians, peer))
    return aligned(lines)


def _of(runs: list[Run], peer: str) -> list[Run]:
    return [run for run in runs if run.peer == peer]


def _ratios(medians: dict[str, list[float]], peer: str) -> list[str]:
    others = [values for name, values in medians.items() if name != peer]
    if not others:
        return ["-"] * len(METRICS)
    best = [min(column) for column in zip(*others, strict=True)]
    return [f"{own / other:.2f}" for own, other in zip(medians[peer], best, strict=True)]


def aligned(lines: list[list[str]]) -> str:
    """A line's words are to the left, its numbers to the right; the first line says which they are."""
    words = sum(name in ("tree", "case", "over", "peer") for name in lines[0])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < words else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
