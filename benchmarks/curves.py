"""Cost by size, both in logarithms, as SVG: a panel for each axis and measure, a line for each command."""

import math
from collections.abc import Callable
from html import escape
from pathlib import Path

Rows = dict[str, dict[str, dict[str, float]]]  # by size and command

WIDTH, HEIGHT, LEFT, TOP, GAP, LEGEND = 300, 230, 56, 30, 84, 18
COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#97266d", "#4a5568", "#b7791f", "#2c7a7b", "#e53e3e")
MEASURES: list[tuple[str, Callable[[dict[str, float]], float]]] = [
    ("CPU seconds", lambda row: row["cpu"]),
    ("own memory, MB", lambda row: row["own"] / 1e6),
]


def write(path: Path, results: dict[str, Rows]) -> None:
    names = list(dict.fromkeys(name for rows in results.values() for row in rows.values() for name in row))
    parts = []
    for down, (title, value) in enumerate(MEASURES):
        every = [value(row) for rows in results.values() for found in rows.values() for row in found.values()]
        low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
        for across, (axis, rows) in enumerate(results.items()):
            x, y = LEFT + across * (WIDTH + GAP), TOP + down * (HEIGHT + GAP)
            parts.append(f'<g transform="translate({x},{y})">')
            parts += _panel(f"{title} by {axis}", rows, names, value, (low, high))
            parts.append("</g>")
    bottom = TOP + len(MEASURES) * (HEIGHT + GAP)
    for number, name in enumerate(names):
        parts += _key(name, number, LEFT + number % 3 * (WIDTH + GAP), bottom + number // 3 * LEGEND)
    width = LEFT + len(results) * (WIDTH + GAP)
    height = bottom + (len(names) + 2) // 3 * LEGEND
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
    )
    white = f'<rect width="{width}" height="{height}" fill="white"/>'
    body = "\n".join(parts)
    path.write_text(f'{head} font-size="12">\n{white}\n{body}\n</svg>\n')


def _panel(
    title: str,
    rows: Rows,
    names: list[str],
    value: Callable[[dict[str, float]], float],
    decades: tuple[int, int],
) -> list[str]:
    low, high = decades
    sizes = sorted(map(int, rows))
    first, last = math.log10(sizes[0]), math.log10(sizes[-1]) if len(sizes) > 1 else math.log10(sizes[0]) + 1
    parts = [f'<text x="0" y="-10" font-weight="bold">{escape(title)}</text>']

    def at(size: int, cost: float) -> tuple[float, float]:
        across = (math.log10(size) - first) / (last - first) * WIDTH
        return across, HEIGHT - (math.log10(cost) - low) / (high - low) * HEIGHT

    for decade in range(low, high + 1):
        _, y = at(sizes[0], 10**decade)
        parts.append(f'<line x1="0" x2="{WIDTH}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="-6" y="{y + 4:.0f}" text-anchor="end">{10.0**decade:g}</text>')
    for size in sizes:
        x, _ = at(size, 10**low)
        parts.append(f'<text x="{x:.0f}" y="{HEIGHT + 16}" text-anchor="middle">{size:,}</text>')
    for number, name in enumerate(names):
        points = [at(size, value(rows[str(size)][name])) for size in sizes if name in rows[str(size)]]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{joined}" {_stroke(number)}/>')
        colour = COLOURS[number % len(COLOURS)]
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return parts


def _stroke(number: int) -> str:
    dashes = ("", "6 3", "2 2")[number // len(COLOURS)]
    return (
        f'fill="none" stroke-width="2" stroke="{COLOURS[number % len(COLOURS)]}" stroke-dasharray="{dashes}"'
    )


def _key(name: str, number: int, x: int, y: int) -> list[str]:
    return [
        f'<line x1="{x}" x2="{x + 30}" y1="{y}" y2="{y}" {_stroke(number)}/>',
        f'<text x="{x + 38}" y="{y + 4}">{escape(name)}</text>',
    ]
