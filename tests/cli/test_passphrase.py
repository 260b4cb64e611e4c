"""Passphrases and questions: where answers come from, and how often they are asked for."""

import io
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.cli.environment import Environment
from strongroom.cli.output import Output
from strongroom.cli.passphrase import EnvironmentPassphrases
from strongroom.cli.questions import Questions
from strongroom.errors import NoPassphrase, PasscommandFailed, PassphraseTriesExceeded, PassphraseWrong


def never(question: str) -> str:
    raise AssertionError(f"asked: {question}")


def typing(*answers: str) -> tuple[Callable[[str], str], list[str]]:
    asked: list[str] = []
    rest = iter(answers)

    def prompt(question: str) -> str:
        asked.append(question)
        return next(rest)

    return prompt, asked


def make(prompt: Callable[[str], str] = never, typed: str = "", **variables: str) -> EnvironmentPassphrases:
    return EnvironmentPassphrases(Environment(variables), questions(typed, **variables)[0], prompt)


def questions(typed: str, log_json: bool = False, **variables: str) -> tuple[Questions, io.StringIO]:
    stderr = io.StringIO()
    output = Output(stdout=io.BytesIO(), stderr=stderr, log_json=log_json)
    return Questions(Environment(variables), output, io.StringIO(typed)), stderr


def command(text: str, code: int = 0) -> str:
    return shlex.join([sys.executable, "-c", f"import sys; sys.stdout.write({text!r}); sys.exit({code})"])


def test_sources_in_borgs_order() -> None:
    both = {"BORG_PASSPHRASE": "variable", "BORG_PASSCOMMAND": command("command\n")}
    assert make(**both).existing("key", 1) == "variable"
    del both["BORG_PASSPHRASE"]
    assert make(**both).existing("key", 1) == "command"


def test_a_descriptor_is_read_once_and_serves_all_uses() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"from pipe\n")
    os.close(writing)
    source = make(STRONGROOM_PASSPHRASE_FD=str(reading))
    assert source.existing("key", 1) == "from pipe"
    assert source.existing("other key", 1) == "from pipe"
    assert source.new("key") == "from pipe"


def test_a_wrong_unattended_passphrase_is_not_tried_again() -> None:
    with pytest.raises(PassphraseWrong, match="BORG_PASSPHRASE"):
        make(BORG_PASSPHRASE="x").existing("key", 2)


def test_an_empty_passphrase_is_a_passphrase() -> None:
    assert make(STRONGROOM_PASSPHRASE="").existing("key", 1) == ""


def test_commands_run_without_a_shell(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    source = make(BORG_PASSCOMMAND=f"echo x; touch {marker}")
    assert source.existing("key", 1) == f"x; touch {marker}"
    assert not marker.exists()


@pytest.mark.parametrize("text", ["/nonexistent/command", "'unbalanced", "", command("x", 3)])
def test_failing_commands_are_told(text: str) -> None:
    with pytest.raises(PasscommandFailed):
        make(BORG_PASSCOMMAND=text).existing("key", 1)


@pytest.mark.parametrize("number", ["x", "-1", "9999"])
def test_unreadable_descriptors_are_told(number: str) -> None:
    with pytest.raises(NoPassphrase):
        make(BORG_PASSPHRASE_FD=number).existing("key", 1)


def test_bytes_that_are_no_text_are_told() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"\xff\n")
    os.close(writing)
    with pytest.raises(NoPassphrase):
        make(BORG_PASSPHRASE_FD=str(reading)).existing("key", 1)


def test_prompting_names_the_key_and_says_what_was_wrong() -> None:
    prompt, asked = typing("a", "b")
    source = make(prompt)
    assert [source.existing("key laptop", 1), source.existing("key laptop", 2)] == ["a", "b"]
    assert asked[0] == "Enter passphrase for key laptop: "
    assert asked[1].startswith("Wrong passphrase")


def test_a_passphrase_is_asked_for_three_times() -> None:
    prompt, asked = typing("a", "b", "c")
    source = make(prompt)
    for attempt in (1, 2, 3):
        source.existing("key laptop", attempt)
    with pytest.raises(PassphraseTriesExceeded, match="key laptop") as refused:
        source.existing("key laptop", 4)
    assert refused.value.code == 53 and len(asked) == 3


def test_new_passphrases_are_typed_twice_and_never_blank(capsys: pytest.CaptureFixture[str]) -> None:
    prompt, asked = typing("", "a", "b", "secret", "secret")
    assert make(prompt, STRONGROOM_DISPLAY_PASSPHRASE="no").new("key") == "secret"
    assert len(asked) == 5
    said = capsys.readouterr().err
    assert "must not be blank" in said and "do not match" in said and "secret" not in said


def test_new_passphrases_are_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    prompt, _ = typing("gehäim", "gehäim")
    make(prompt, BORG_DISPLAY_PASSPHRASE="y").new("key")
    said = capsys.readouterr().err
    assert '"gehäim"' in said and "gehäim".encode().hex() in said


def test_typing_a_new_passphrase_ends_somewhere() -> None:
    prompt, asked = typing(*["a", "b"] * 20)
    with pytest.raises(NoPassphrase):
        make(prompt).new("key")
    assert len(asked) == 20


def test_new_passphrase_variable_wins() -> None:
    assert make(BORG_NEW_PASSPHRASE="new", BORG_PASSPHRASE="old").new("key") == "new"
    assert make(BORG_PASSPHRASE="old").new("key") == "old"


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("y\n", True),
        ("YES\n", True),
        ("1\n", True),
        ("n\n", False),
        ("\n", False),
        ("", False),
        ("x\ny\n", False),
    ],
)
def test_confirmations_take_one_answer(typed: str, answer: bool) -> None:
    assert questions(typed)[0].confirm("Sure? ", "X") is answer


def test_questions_ask_until_the_answer_is_one() -> None:
    asker, stderr = questions("what\ny\n")
    assert asker.ask("Sure? ")
    assert stderr.getvalue().count("Sure? ") == 2


@pytest.mark.parametrize(
    ("typed", "answer"), [("YES\n", True), ("yes\n", False), ("y\n", False), ("", False)]
)
def test_danger_needs_the_whole_word(typed: str, answer: bool) -> None:
    assert questions(typed)[0].confirm_danger("Sure? ", "X") is answer


@pytest.mark.parametrize("prefix", ["BORG_", "STRONGROOM_"])
def test_variables_answer_and_are_named(prefix: str) -> None:
    asker, stderr = questions("", **{f"{prefix}RELOCATED_REPO_ACCESS_IS_OK": "yes"})
    assert asker.confirm("Sure? ", "RELOCATED_REPO_ACCESS_IS_OK")
    assert f"yes (from {prefix}RELOCATED_REPO_ACCESS_IS_OK)" in stderr.getvalue()


def test_a_wrong_variable_is_used_once() -> None:
    asker, _ = questions("y\n", BORG_X="nonsense")
    assert asker.ask("Sure? ", "X")
    asker, _ = questions("y\n", BORG_X="nonsense")
    assert not asker.confirm("Sure? ", "X")


def test_json_questions_are_borgs() -> None:
    asker, stderr = questions("", log_json=True, BORG_X="no")
    assert not asker.confirm("Sure? ", "X")
    kinds = [json.loads(line)["type"] for line in stderr.getvalue().splitlines()]
    assert kinds == ["question_prompt", "question_env_answer", "question_accepted_false"]


def test_no_to_a_question_that_nothing_hangs_on_says_nothing_more() -> None:
    asked, stderr = questions("n\n")
    assert not asked.ask("Show it? [yN]: ")
    assert stderr.getvalue() == "Show it? [yN]: "
    asked, stderr = questions("n\n")
    assert not asked.confirm("Go on? [yN] ", "RELOCATED_REPO_ACCESS_IS_OK")
    assert stderr.getvalue() == "Go on? [yN] Aborting.\n"
