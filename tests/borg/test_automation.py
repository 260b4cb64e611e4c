"""The script that Borg's manual has for automatic backups prints and ends here as it does with Borg 1.4.5."""

import json
import sys
from pathlib import Path
from typing import Any

import automation
import pytest
import scenario

HERE = Path(__file__).parent
BORG: dict[str, Any] = json.loads((HERE / "data/borg-1.4.5-automated.json").read_text(encoding="utf-8"))

OUR_ADVICE = " Make it with `init`."
SAID_TWICE = ": 'var'"
RULER = "-" * 78


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    program = Path(sys.executable).with_name("strongroom")
    said = automation.play(tmp_path_factory.mktemp("automation"), str(program))
    return {name: automation.comparable(one, scenario.lines) for name, one in said.items()}


@pytest.mark.parametrize("run", BORG)
def test_the_manuals_script_prints_and_ends_as_with_borg(played: dict[str, Any], run: str) -> None:
    ours, theirs = played[run], BORG[run]
    assert ours["code"] == theirs["code"]
    assert ours["out"] == theirs["out"]
    assert told(ours["err"]) == told(theirs["err"])


def told(lines: list[str]) -> list[str]:
    """What stands before the statistics is told of files by several threads, in any order."""
    lines = [line.removesuffix(OUR_ADVICE).removesuffix(SAID_TWICE) for line in lines]
    end = lines.index(RULER) if RULER in lines else 0
    return sorted(lines[:end]) + lines[end:]
