"""Every command that strongroom shares with Borg takes all of Borg 1.4.5's options.

data/borg-1.4.5-options.json was read out of Borg's own parser.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli.arguments import build, leaf
from strongroom.cli.commands import COMMANDS

BORG: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "borg-1.4.5-options.json").read_text())
OURS = {command.name for command in COMMANDS}
SHARED = sorted(OURS & set(BORG["commands"]))


def actions(name: str) -> dict[str, argparse.Action]:
    parser = leaf(build(), name) if name else build()
    return {flag: action for action in parser._actions for flag in action.option_strings}


def compare(option: dict[str, Any], ours: dict[str, argparse.Action], command: str) -> None:
    for flag in option["flags"]:
        assert flag in ours, f"{command} lacks {flag}"
        action = ours[flag]
        assert (action.nargs != 0) == option["takes_value"], f"{command} {flag}"
        assert not action.required or option.get("required"), f"{command} {flag}"
        if option.get("choices") and action.choices is not None:
            assert set(option["choices"]) <= set(action.choices), f"{command} {flag}"
    assert len({id(ours[flag]) for flag in option["flags"]}) == 1


@pytest.mark.parametrize("command", ["", *SHARED])
def test_common_options_are_borgs(command: str) -> None:
    ours = actions(command)
    for option in BORG["common"]:
        if option["flags"] != ["-V", "--version"] or not command:
            compare(option, ours, command)


@pytest.mark.parametrize("command", SHARED)
def test_command_options_are_borgs(command: str) -> None:
    ours = actions(command)
    for option in BORG["commands"][command]["options"]:
        if "flags" in option:
            compare(option, ours, command)


# help takes several words here: "help key export"
@pytest.mark.parametrize("command", [name for name in SHARED if name != "help"])
def test_positionals_are_borgs(command: str) -> None:
    theirs = [o["nargs"] for o in BORG["commands"][command]["options"] if "positional" in o]
    ours = [action.nargs for action in leaf(build(), command)._get_positional_actions()]
    assert ours == theirs


@pytest.mark.parametrize("command", SHARED)
def test_exclusive_options_are_borgs(command: str) -> None:
    groups = leaf(build(), command)._mutually_exclusive_groups
    ours = [{flag for action in group._group_actions for flag in action.option_strings} for group in groups]
    for exclusive in BORG["commands"][command]["exclusive"]:
        assert any(set(exclusive) <= group for group in ours), exclusive


@pytest.mark.parametrize("command", sorted(OURS))
def test_help_is_our_own_and_fits_a_terminal(command: str) -> None:
    text = leaf(build(), command).format_help()
    assert "example" in text
    assert "Borg - " not in text and ("borg " not in text or command == "install-borg-alias")
    assert max(map(len, text.splitlines())) <= 110
