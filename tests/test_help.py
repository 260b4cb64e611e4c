"""What help texts and pages show can be typed as it stands: every example is read by the real parser."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.cli.arguments import build, leaf, parse
from strongroom.cli.commands import COMMANDS
from strongroom.cli.identity import OWN as PROGRAM

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPERATORS = re.compile(r"[|&;<>()]+")


def command_lines(text: str) -> Iterator[list[str]]:
    """The words after `strongroom` in each shell line of a text; pipes and redirections end one.

    The forced command of a line of authorized_keys is a shell line too.
    """
    for line in text.replace("\\\n", " ").splitlines():
        if forced := re.search(r'command="([^"]*)"', line):
            line = forced[1]
        if not re.search(rf"(^|[|&;(]\s*){PROGRAM} ", line.strip()):
            continue
        reader = shlex.shlex(line, posix=True, punctuation_chars=True)
        reader.whitespace_split = True
        part: list[str] = []
        for word in [*reader, ";"]:
            if not OPERATORS.fullmatch(word):
                part.append(word)
                continue
            if part[:1] == [PROGRAM]:
                yield part[1:]
            part = []


def code_of(page: Path) -> str:
    return "\n".join(
        re.findall(r"^```(?:bash|sh|console)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    )


def test_shell_lines_are_taken_apart() -> None:
    text = (
        "a | strongroom create ::'a b' - && strongroom list > x  # all\n  strongroom info \\\n --json\nor not"
    )
    assert list(command_lines(text)) == [["create", "::a b", "-"], ["list"], ["info", "--json"]]


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_a_commands_help_has_an_example_of_it_that_can_be_typed(name: str) -> None:
    _, _, after = leaf(build(), name).format_help().partition("\nexample")
    examples = list(command_lines(after))
    for words in examples:
        parse(words)
    assert any(words[: len(name.split())] == name.split() for words in examples)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_a_page_can_be_typed(page: Path) -> None:
    for words in command_lines(code_of(page)):
        parse(words)
