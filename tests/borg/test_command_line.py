"""Nothing of Borg 1.4's command line is missing, and docs/borg.md says of each part what it is here."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("table", Path(__file__).with_name("table.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_and_option_of_borg_exists_or_is_told_of(table: ModuleType) -> None:
    rows = list(table.rows())
    assert [row for row in rows if row.verdict in ("missing", "wrong")] == []
    assert [row for row in rows if row.verdict in ("better", "different") and not row.words] == []
    assert len([row for row in rows if not row.option]) == 42
    assert len(rows) > 350


def test_nothing_is_told_of_that_borg_does_not_have(table: ModuleType) -> None:
    assert set(table.OPTIONS) - table.known_actions() == set()
    assert set(table.COMMANDS) - set(table.BORG["commands"]) == set()


def test_a_missing_option_would_be_noticed(table: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = table.BORG["commands"]
    odd = {"flags": ["--nonce"], "metavar": None, "nargs": 0, "choices": None, "default": False}
    monkeypatch.setitem(commands, "create", [*commands["create"], odd])
    monkeypatch.setitem(commands, "frobnicate", [])
    found = {(row.command, row.option) for row in table.rows() if row.verdict == "missing"}
    assert found == {("create", "--nonce"), ("frobnicate", "")}


def test_the_page_shows_the_table_as_it_is(table: ModuleType) -> None:
    assert table.page_with(table.table()) == table.PAGE.read_text(encoding="utf-8"), (
        "docs/borg.md is not up to date: run python tests/borg/table.py"
    )
