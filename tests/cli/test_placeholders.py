import os
import re
import socket
from datetime import UTC, datetime

import pytest

from strongroom import __version__
from strongroom.cli.environment import Environment
from strongroom.cli.placeholders import Placeholders
from strongroom.errors import InvalidPlaceholder, PlaceholderError

MOMENT = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)


def fill(text: str, **variables: str) -> str:
    return Placeholders(Environment(variables), MOMENT).replace(text)


def test_times() -> None:
    assert fill("{utcnow}") == "2026-11-23T15:04:05"
    assert fill("{utcnow:%Y-%m-%d_%H:%M:%S}") == "2026-11-23_15:04:05"
    assert fill("{now}") == MOMENT.astimezone().strftime("%Y-%m-%dT%H:%M:%S")
    assert fill("{unixtime}") == str(int(MOMENT.timestamp()))


def test_names_of_machine_and_user() -> None:
    assert fill("{hostname}") == socket.gethostname().split(".")[0]
    assert fill("{hostname}-{user}", BORG_HOSTNAME="h", STRONGROOM_USERNAME="u") == "h-u"
    assert fill("{hostname:>4}|", BORG_HOSTNAME="h") == "   h|"
    assert fill("{reverse-fqdn}").split(".") == fill("{fqdn}").split(".")[::-1]


def test_numbers_of_process_and_program() -> None:
    assert fill("{pid}") == str(os.getpid())
    assert fill("{strongroomversion}") == __version__
    assert fill("{borgversion} {borgmajor} {borgminor} {borgpatch}") == "1.4.5 1 1.4 1.4.5"
    assert re.fullmatch(r"[0-9a-f-]{36}", fill("{uuid4}"))


def test_braces_and_plain_text() -> None:
    assert fill("{{literal_text}}") == "{literal_text}"
    assert fill("plain") == "plain"
    assert fill("") == ""


@pytest.mark.parametrize("text", ["{nope}", "{}", "{0}", "{now!r}", "{now.year}", "{user[0]}", "{__class__}"])
def test_unknown_placeholders_have_borgs_code(text: str) -> None:
    with pytest.raises(InvalidPlaceholder) as refusal:
        fill(text)
    assert refusal.value.code == 6
    assert text in str(refusal.value)


@pytest.mark.parametrize("text", ["{", "a}", "{now", "{pid:%Y}"])
def test_bad_syntax_has_borgs_code(text: str) -> None:
    with pytest.raises(PlaceholderError) as refusal:
        fill(text)
    assert refusal.value.code == 5
