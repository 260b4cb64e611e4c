"""Borg's commands and options beside ours: the table of docs/borg.md.

`python tests/borg/table.py` puts it there anew; a test compares.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from strongroom.cli.arguments import Parser, build, leaf
from strongroom.cli.instead import COMMANDS, EVERY, OPTIONS
from strongroom.cli.options import COMMON_DEFAULTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/borg.md"
BEGIN, END = "<!-- the table: made by tests/borg/table.py -->\n", "<!-- end of the table -->\n"
BORG: dict[str, Any] = json.loads(
    (Path(__file__).parent / "data/borg-1.4.5-options.json").read_text(encoding="utf-8")
)

DEFAULTS_SPELT_OTHERWISE = {
    ("create", "--files-cache"),  # None is ctime,size,inode
    ("help", "TOPIC"),  # several words are one topic: help key export
}
"""Defaults that say the same in another form."""


class Row(NamedTuple):
    command: str  # "" for all
    option: str  # as the table shows it; "" for the command itself
    verdict: str  # same, better, different, or what is wrong
    words: str


def rows() -> Iterator[Row]:
    """Raises nothing: what is missing is a row with the verdict "missing"."""
    top = build()
    for one in BORG["common"]:
        yield _option(EVERY, one, top)
    for name, options in BORG["commands"].items():
        try:
            parser = leaf(top, name) if name else top
        except KeyError:
            yield Row(name, "", "missing", "")
            continue
        if name:
            found = COMMANDS.get(name)
            yield Row(name, "", found.verdict if found else "same", found.words if found else "")
        places = [action for action in parser._actions if not action.option_strings]
        for one in options:
            yield _option(name, one, parser, places)


def _option(command: str, borg: dict[str, Any], parser: Parser, places: list[Any] | None = None) -> Row:
    flags = borg["flags"]
    label = max(flags, key=len) if flags else borg["metavar"]
    shown = ", ".join(flags) if flags else borg["metavar"]
    row = OPTIONS.get((command, label))
    if flags:
        ours = {flag: action for action in parser._actions for flag in action.option_strings}
        if missing := [flag for flag in flags if flag not in ours]:
            return Row(command, shown, "missing", " ".join(missing))
        action = ours[label]
    else:
        if not places:
            return Row(command, shown, "missing", "argument")
        action = places.pop(0)
    if wrong := _contradiction(
        action, borg, explained=row is not None or (command, label) in DEFAULTS_SPELT_OTHERWISE
    ):
        return Row(command, shown, "wrong", wrong)
    return Row(command, shown, row.verdict if row else "same", row.words if row else "")


def _contradiction(action: argparse.Action, borg: dict[str, Any], *, explained: bool) -> str:
    if not borg["flags"] and (action.nargs, borg["nargs"]) in {("*", "?"), (None, "?")}:
        pass  # takes more words than Borg's
    elif _nargs(action) != borg["nargs"]:
        return f"takes {_nargs(action)} words, Borg's {borg['nargs']}"
    if borg["choices"] and action.choices and not set(borg["choices"]) <= set(action.choices):
        return "does not have all choices"
    if not explained and _plain(_default(action)) != _plain(borg["default"]):
        return f"default {_default(action)!r}, Borg's {borg['default']!r}"
    return ""


def _default(action: argparse.Action) -> object:
    """Common options have theirs in a place of its own: both levels of parsers take them."""
    return COMMON_DEFAULTS.get(action.dest) if action.default == argparse.SUPPRESS else action.default


def _nargs(action: argparse.Action) -> object:
    if action.nargs is not None:
        return action.nargs
    takes_none = (argparse._StoreConstAction, argparse._HelpAction, argparse._VersionAction)
    return 0 if isinstance(action, takes_none) else 1


def _plain(value: Any) -> object:
    """Absent, empty, false and suppressed defaults are one; lists are what Borg writes with commas."""
    if not value or value in (argparse.SUPPRESS, "-"):
        return None
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def known_actions() -> set[tuple[str, str]]:
    """Every row of OPTIONS must be about something that Borg has."""
    return {
        (command, max(one["flags"], key=len) if one["flags"] else one["metavar"])
        for command, options in [(EVERY, BORG["common"]), *BORG["commands"].items()]
        for one in options
    }


def table() -> str:
    lines = ["| command | option | | |", "|---|---|---|---|"]
    for row in rows():
        command = "all" if row.command == EVERY else row.command
        option = f"`{row.option}`" if row.option else ""
        words = row.words.replace("|", "\\|").replace("<", "&lt;")
        name = f"**{command}**" if not row.option else command
        lines.append(f"| {name} | {option} | {row.verdict} | {words} |")
    return "\n".join(lines) + "\n"


def page_with(text: str) -> str:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with(table()), encoding="utf-8")
