"""What goes to standard error: log, lists, progress, JSON; and the exit codes that follow from it."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.cli import progress
from strongroom.cli.exits import classify, return_code_line, warning_code
from strongroom.cli.output import Output, OutputClosed
from strongroom.cli.printable import path_text, printable
from strongroom.reporting import FILE_CHANGED, FILE_VANISHED, Notice, Progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def make(**more: Any) -> tuple[Output, io.StringIO, Clock]:
    stderr, clock = more.pop("stderr", io.StringIO()), Clock()
    return Output(stdout=io.BytesIO(), stderr=stderr, clock=clock, **more), stderr, clock


def records(stderr: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("level", "shown"),
    [("critical", ""), ("error", "E"), ("warning", "WE"), ("info", "IWE"), ("debug", "DIWE")],
)
def test_log_levels(level: str, shown: str) -> None:
    output, stderr, _ = make(level=level)
    for name, text in (("debug", "D"), ("info", "I"), ("warning", "W"), ("error", "E")):
        output.log(name, text)
    assert stderr.getvalue().replace("\n", "") == shown


def test_a_hidden_warning_still_counts() -> None:
    output, stderr, _ = make(level="error")
    output.warn(Notice("x", *FILE_CHANGED))
    assert stderr.getvalue() == ""
    assert [notice.code for notice in output.notices] == [100]


def test_lists_are_filtered_and_harmless() -> None:
    output, stderr, _ = make(list_files=True, statuses="AM", level="error")
    for status, path in (("A", b"a\x1b[2Jb\nc"), ("U", b"u"), ("M", b"\xff"), ("d", b"d")):
        output.file(status, path)
    assert stderr.getvalue() == "A a\\x1b[2Jb\\nc\nM ?\n"
    assert output.wants_files


def test_without_list_nothing_is_listed() -> None:
    output, stderr, _ = make()
    output.file("A", b"a")
    assert not output.wants_files
    assert stderr.getvalue() == ""


def test_json_messages_are_borgs() -> None:
    output, stderr, _ = make(log_json=True, list_files=True)
    output.file("A", b"n\xff\nl")
    output.warn(Notice("gone", *FILE_VANISHED))
    output.question("prompt", "Sure?", prompt=True, msgid="X")
    output.file("", b"extracted")
    listed, warned, asked, extracted = records(stderr)
    assert listed == {"type": "file_status", "status": "A", "path": "n\ufffd\nl"}
    assert warned.pop("time") > 0
    assert warned == {
        "type": "log_message", "levelname": "WARNING", "message": "gone", "name": "strongroom",
        "msgid": "BackupFileNotFoundError",
    }  # fmt: skip
    assert asked == {"type": "question_prompt", "message": "Sure?", "msgid": "X"}
    assert extracted["message"] == "extracted" and extracted["type"] == "log_message"


def test_json_progress_of_create_is_borgs_and_throttled() -> None:
    output, stderr, clock = make(log_json=True, show_progress=True)
    state = Progress(files=1, original=10, compressed=5, new=3, path=b"a")
    for _ in range(5):
        output.progress("create", state)
    clock.now += 1
    output.progress("create", state)
    output.progress("create", state, finished=True)
    found = records(stderr)
    assert len(found) == 3
    assert {key: found[0][key] for key in found[0] if key != "time"} == {
        "type": "archive_progress", "finished": False, "original_size": 10, "compressed_size": 5,
        "deduplicated_size": 3, "nfiles": 1, "path": "a",
    }  # fmt: skip
    assert set(found[2]) == {"type", "finished", "time"} and found[2]["finished"] is True


def test_json_progress_of_other_operations() -> None:
    output, stderr, clock = make(log_json=True, show_progress=True)
    output.progress("extract", Progress(original=1, total=4, path=b"p"))
    output.progress("extract", Progress(), finished=True)
    clock.now += 1
    output.progress("check", Progress(path=b"q"))
    percent, done, message = records(stderr)
    assert (percent["type"], percent["current"], percent["total"]) == ("progress_percent", 1, 4)
    assert percent["message"] == " 25.0% Extracting: p" and percent["info"] == ["p"]
    assert done["finished"] and done["operation"] == percent["operation"] == 1
    assert message["type"] == "progress_message" and message["operation"] == 2


def test_statistics_are_one_json_message_a_line() -> None:
    output, stderr, _ = make(log_json=True)
    output.block(["---", "", "All archives: 3"])
    assert [one["message"] for one in records(stderr)] == ["---", "", "All archives: 3"]
    output, stderr, _ = make()
    output.block(["---", "", "All archives: 3"])
    assert stderr.getvalue() == "---\n\nAll archives: 3\n"


@pytest.mark.parametrize(
    ("operation", "state", "words"),
    [
        (
            "create",
            Progress(files=3, original=2000, compressed=900, new=800),
            "2.00 kB O 900 B C 800 B D 3 N",
        ),
        ("recreate", Progress(files=3, original=2000, new=800), "2.00 kB O 800 B C 800 B D 3 N"),
        ("extract", Progress(original=1, total=3), " 33.3% Extracting"),
        ("export-tar", Progress(original=3, total=3), "100.0% Processing"),
        ("check.packs", Progress(original=1, total=8), "Checking segments 12.5%"),
        ("check.archives", Progress(original=1, total=8), "Checking archives 12.5%"),
        ("compact", Progress(original=1, total=4), "Compacting segments  25%"),
        ("transfer", Progress(original=1, total=4), "Transfer 25.0%"),
        ("analyze", Progress(), "Analyze"),
    ],
)
def test_a_line_of_progress_begins_with_borgs_words(operation: str, state: Progress, words: str) -> None:
    assert progress.lead(operation, state, iec=False) == words
    assert progress.frame(operation, state, None, 200, iec=False).startswith(words)
    assert progress.plain_line(operation, state, None, iec=False).startswith(words)


def test_progress_in_a_log_file_is_rare_lines() -> None:
    output, stderr, clock = make(show_progress=True)
    state = Progress(files=1)
    for second in range(25):
        clock.now = 100.0 + second
        state.original = second * 1_000_000
        output.progress("create", state)
    output.progress("create", state, finished=True)
    assert len(stderr.getvalue().splitlines()) == 3
    assert "/s" in stderr.getvalue()


def test_progress_on_a_terminal_shows_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    output, stderr, clock = make(show_progress=True, list_files=True, stderr=Terminal())
    output.progress("create", Progress(files=3, original=10, path=b"a\x1b]0;evil\x07"))
    output.file("A", b"listed\x1b[2J")
    clock.now += 1
    output.progress("create", Progress(files=4), finished=True)
    output.close()
    said = stderr.getvalue()
    assert "10 B O 0 B C 0 B D 3 N" in said and "A listed\\x1b[2J" in said
    assert "\x1b]0;" not in said and "\x1b[2J" not in said
    assert output._live is None


def test_without_progress_nothing_is_shown_but_signals_can_ask() -> None:
    output, stderr, _ = make()
    output.show_now()
    output.progress("create", Progress(files=7, original=10, path=b"here"))
    assert stderr.getvalue() == ""
    output.show_now()
    assert stderr.getvalue() == "10 B O 0 B C 0 B D 7 N · here\n"


@given(st.binary(max_size=300), st.integers(1, 200), st.none() | st.integers(1, 10**12))
def test_frames_fit_any_terminal(path: bytes, width: int, total: int | None) -> None:
    from rich.cells import cell_len

    state = Progress(files=123456, original=10**10, compressed=10**9, new=10**8, total=total, path=path)
    shown = progress.frame("create", state, 1e8, width, iec=False)
    for line in shown.split("\n"):
        assert cell_len(line) <= width
        assert printable(line) == line


def test_counts_are_not_shown_as_bytes() -> None:
    shown = progress.plain_line("check.archives", Progress(original=3, total=6), None, iec=False)
    assert shown == "Checking archives 50.0% · 3 of 6 archives"


def test_frames_show_what_matters_first() -> None:
    state = Progress(files=2, original=500, total=1000)
    assert progress.frame("extract", state, 100.0, 200, iec=False) == (
        " 50.0% Extracting · 500 B of 1.00 kB · 2 files · 100 B/s · 0:05 left"
    )
    assert progress.frame("extract", state, 100.0, 20, iec=False) == " 50.0% Extracting"


@given(st.binary())
def test_printable_text_cannot_act_on_a_terminal(name: bytes) -> None:
    shown = path_text(name)
    assert not any(
        ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in shown
    )
    shown.encode()


def test_bidirectional_tricks_are_shown() -> None:
    assert printable("a\u202egpj.exe") == "a\\u202egpj.exe"


class Closed(io.BytesIO):
    def write(self, data: Any) -> int:
        raise BrokenPipeError


def test_a_closed_pipe_is_not_an_error_of_ours() -> None:
    output = Output(stdout=Closed(), stderr=io.StringIO())
    with pytest.raises(OutputClosed):
        output.write("x")
    with pytest.raises(OutputClosed):
        output.stream.write(b"x")


def test_surrogates_become_their_bytes() -> None:
    stdout = io.BytesIO()
    output = Output(stdout=stdout, stderr=io.StringIO())
    output.write("a\udcff\n")
    assert output.stream.write(memoryview(b"bulk")) == 4
    assert stdout.getvalue() == b"a\xff\nbulk"


@pytest.mark.parametrize(
    ("codes", "modern", "expected"),
    [
        ([], True, 0), ([], False, 0), ([100], False, 1), ([100], True, 100), ([100, 100], True, 100),
        ([100, 107], True, 1), ([1], True, 1), ([1, 107], True, 1),
    ],
)  # fmt: skip
def test_warnings_become_borgs_exit_code(codes: list[int], modern: bool, expected: int) -> None:
    assert warning_code(codes, modern=modern) == expected


def test_classes_of_exit_codes() -> None:
    assert [classify(code) for code in (0, 1, 100, 127, 2, 3, 99, 128, 130, 255, 256, -1)] == [
        "success", "warning", "warning", "warning", "error", "error", "error", "signal", "signal", "signal",
        "abnormal", "abnormal",
    ]  # fmt: skip
    assert return_code_line(0) == ("info", "terminating with success status, rc 0")
    assert return_code_line(1) == ("warning", "terminating with warning status, rc 1")
    assert return_code_line(130) == ("error", "terminating with signal status, rc 130")
