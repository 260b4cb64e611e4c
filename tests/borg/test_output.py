"""What a run prints and how it ends is what Borg 1.4.5 printed in the same scenario, as recorded from it."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from program import Program

HERE = Path(__file__).parent
BORG: dict[str, Any] = json.loads((HERE / "data/borg-1.4.5-recorded.json").read_text(encoding="utf-8"))

WORDED_OTHERWISE = {
    "init": "the advice says where the key is",
    "info": "Borg's lines, and more between them",
    "create missing modern": "the name of what is missing is not said twice",
    "create from what fails": "a sentence",
    "prune nothing": "a sentence",
    "missing repository modern": "says what to do next",
    "missing archive modern": "names the repository, too",
    "init exists modern": "says what to do next",
    "usage": "one sentence, not all of the usage",
    "usage modern": "one sentence, not all of the usage",
    "delete asks modern": "counts deleted archives, too, as they go as well",
    "delete repository": "counts deleted archives, too, as they go as well",
}
"""Texts for people that no tool reads; exit codes and streams are Borg's there, too."""

NOT_DONE = {"cache.begin_transaction", "cache.commit"}
"""Operations of Borg's that there are none of here."""


@pytest.fixture(scope="module")
def scenario() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scenario", HERE / "scenario.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_exit_codes_json_and_lines_are_borgs(program: Program, scenario: ModuleType) -> None:
    program.called = "borg"
    program.env = {"BORG_BASE_DIR": str(program.root), "BORG_PASSPHRASE": "a secret", "TZ": "UTC"}

    def run(words: list[str], env: dict[str, str]) -> Any:
        done = program(*words, env=env)
        return scenario.Said(done.code, done.out, done.err)

    played = scenario.play(run, program.cwd)
    assert played.keys() == BORG.keys()
    compared = [
        (f"{name}: {part}", BORG[name][part], scenario.comparable(said)[part], name not in WORDED_OTHERWISE)
        for name, said in played.items()
        for part in ("code", "out", "err")
    ]
    for what, theirs, ours, by_word in compared:
        assert fits(theirs, ours, by_word=by_word), f"{what}\nBorg: {theirs}\nours: {ours}"


def fits(theirs: Any, ours: Any, *, by_word: bool) -> bool:
    """Of JSON, Borg's keys and types, and perhaps more; of texts, the same lines in any order."""
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and all(
            key in ours and (key == "chunker_params" or fits(one, ours[key], by_word=by_word))
            for key, one in theirs.items()
        )
    if not isinstance(theirs, list):
        return bool(theirs == ours)
    if theirs and isinstance(theirs[0], dict):
        pairs = zip(theirs, ours, strict=True)
        return len(theirs) == len(ours) and all(fits(a, b, by_word=by_word) for a, b in pairs)
    if theirs and theirs[0].startswith("{"):
        return messages(theirs) <= messages(ours)
    # strongroom has more to say behind the last line of `info ARCHIVE`
    return sorted(theirs) == sorted(ours[: len(theirs)]) if by_word else bool(theirs) == bool(ours)


def messages(lines: list[str]) -> set[tuple[Any, ...]]:
    """Type, msgid and the like of each line of --log-json, and which keys it has."""
    found = set()
    for one in map(json.loads, lines):
        if one.get("msgid") in NOT_DONE:
            continue
        if one["type"] == "file_status":
            found.add(("file_status", one["status"], one["path"]))
            continue
        keys = tuple(sorted(one))
        found.add((one["type"], one.get("msgid"), one.get("levelname"), one.get("finished"), keys))
    return found
