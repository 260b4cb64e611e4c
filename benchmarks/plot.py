"""A bar chart of the measured medians, as SVG: one panel a tree, case and route, one bar a peer."""

import statistics
from html import escape
from pathlib import Path

from report import Run

WIDTH, BAR, GAP, LEFT, TITLE = 760, 18, 14, 150, 22
COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#97266d", "#4a5568")


def write(path: Path, runs: list[Run]) -> None:
    """Wall seconds: the median as a bar, smallest to largest as a line in it."""
    peers = list(dict.fromkeys(run.peer for run in runs))
    parts, y = [], 10
    for tree, case, over in dict.fromkeys((run.tree, run.case, run.over) for run in runs):
        of_case = [run for run in runs if (run.tree, run.case, run.over) == (tree, case, over)]
        longest = max(run.measured.wall for run in of_case)
        parts.append(
            f'<text x="10" y="{y + 14}" font-weight="bold">{escape(f"{tree}: {case}, {over}")}</text>'
        )
        y += TITLE
        for peer in dict.fromkeys(run.peer for run in of_case):
            walls = [run.measured.wall for run in of_case if run.peer == peer]
            parts += _bar(peer, walls, longest, COLOURS[peers.index(peer) % len(COLOURS)], y)
            y += BAR + 2
        y += GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" font-family="sans-serif"'
    body = "\n".join(parts)
    white = f'<rect width="{WIDTH}" height="{y}" fill="white"/>'
    path.write_text(f'{head} font-size="12">\n{white}\n{body}\n</svg>\n')


def _bar(peer: str, walls: list[float], longest: float, colour: str, y: int) -> list[str]:
    scale = (WIDTH - LEFT - 90) / max(longest, 1e-9)
    median = statistics.median(walls)
    least, most = LEFT + min(walls) * scale, LEFT + max(walls) * scale
    middle = y + BAR / 2
    return [
        f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(peer)}</text>',
        f'<rect x="{LEFT}" y="{y}" width="{median * scale:.1f}" height="{BAR}" fill="{colour}"/>',
        f'<line x1="{least:.1f}" x2="{most:.1f}" y1="{middle}" y2="{middle}" stroke="black"/>',
        f'<text x="{most + 6:.1f}" y="{y + 13}">{median:.2f} s</text>',
    ]
