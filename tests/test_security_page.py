"""docs/security.md claims nothing that no test plays, and names no test that is not there."""

import ast
import re
from functools import cache
from pathlib import Path

from strongroom.cli.commands import COMMANDS

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "docs/security.md").read_text()
NAMED = re.compile(r"`((?:\w+/)*test_\w+\.py)::(test_\w+)`")
LATER = "**not yet**"


@cache
def defined_in(file: str) -> frozenset[str]:
    path = TESTS / file
    if not path.is_file():
        return frozenset()
    return frozenset(
        node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)
    )


def rows() -> list[tuple[str, list[str]]]:
    """Of the tables with a column "played by": the section, and the cells."""
    found: list[tuple[str, list[str]]] = []
    section, inside = "", False
    for line in PAGE.splitlines():
        if line.startswith("#"):
            section = line.strip("# ")
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[-1] == "played by":
            inside = True
        elif inside and set(line) - set("|- "):
            found.append((section, cells))
    return found


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_named_test_exists() -> None:
    named = NAMED.findall(PAGE)
    assert len(named) > 60
    assert [f"{file}::{test}" for file, test in named if test not in defined_in(file)] == []
    # nothing that looks like a test escapes the check
    assert len(re.findall(r"test_\w+\.py::|::test_", PAGE)) == len(named)


def test_every_row_of_the_tables_names_a_test_or_says_not_yet() -> None:
    found = rows()
    assert len(found) > 30
    for where, cells in found:
        holds = " ".join(cells[:-1])
        assert bool(NAMED.search(cells[-1])) != (LATER in holds), (where, cells)


def test_the_page_has_the_attackers_of_the_design() -> None:
    attackers = re.findall(r"^### (.+)$", section("Who attacks, and what must hold"), re.MULTILINE)
    assert [words.split(",")[0].split(":")[0] for words in attackers] == [
        "The server",
        "A client",
        "A client's SSH key alone",
        "The network",
        "A disk that rots",
        "A future quantum computer",
        "Whoever made an archive that you extract",
    ]
    assert {where for where, _ in rows()} >= set(attackers)


def test_what_is_not_there_yet_is_not_there() -> None:
    """Whoever adds such a command brings the page up to date."""
    lines = [line for line in section("Not there yet").splitlines() if line.startswith("- ")]
    words = {word for line in lines for word in re.findall(r"`([a-z]+)`", line.split(":")[0])}
    assert words or LATER not in PAGE
    assert words.isdisjoint(command.name for command in COMMANDS)
