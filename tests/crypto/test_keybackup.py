import random
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.checked_text import ALPHABET
from strongroom.crypto.keybackup import (
    PaperReader,
    export_file,
    export_paper,
    parse_file,
    parse_paper,
    parse_paper_line,
)
from strongroom.crypto.keyformat import MAX_KEY_FILE
from strongroom.errors import KeyForeign, KeyInvalid, NotAKeyBackup, StrongroomError, VersionUnknown
from strongroom.ids import RepositoryId

REPOSITORY = RepositoryId(bytes(range(32)))
OTHER = RepositoryId(bytes(range(1, 33)))
KEY = random.Random(1).randbytes(1712)

keys = st.one_of(st.binary(min_size=1, max_size=200), st.just(KEY))


def lines_of(paper: str) -> list[str]:
    return paper.split("\n\n", 1)[1].splitlines()


# --- the file ---


@given(keys)
def test_a_file_gives_the_key_back(key):
    text = export_file(key, REPOSITORY)
    assert parse_file(text) == (REPOSITORY, key)
    assert parse_file(text, REPOSITORY) == (REPOSITORY, key)


def test_a_file_is_lines_of_64_letters_behind_its_title():
    first, *rest = export_file(KEY, REPOSITORY).split("\n")
    assert first == "STRONGROOM_KEY " + REPOSITORY.hex()
    assert rest[-1] == ""
    assert all(len(line) == 64 for line in rest[:-2]) and 0 < len(rest[-2]) <= 64


def test_a_file_survives_the_line_ends_of_other_systems():
    text = export_file(KEY, REPOSITORY)
    assert parse_file(text.replace("\n", "\r\n")) == (REPOSITORY, KEY)
    assert parse_file(text.rstrip("\n")) == (REPOSITORY, KEY)


@pytest.mark.parametrize(
    "text", ["", "\n", "BORG_KEY " + REPOSITORY.hex() + "\nAAAA\n", "STRONGROOM_KEYS x", "\0"]
)
def test_what_is_no_key_backup_is_named_so(text):
    with pytest.raises(NotAKeyBackup):
        parse_file(text)


def test_a_file_for_another_repository_is_foreign():
    with pytest.raises(KeyForeign, match=OTHER.hex()):
        parse_file(export_file(KEY, REPOSITORY), OTHER)


@pytest.mark.parametrize(
    "text",
    [
        "STRONGROOM_KEY\nAAAA\n",
        "STRONGROOM_KEY 0123\nAAAA\n",
        f"STRONGROOM_KEY {REPOSITORY.hex().upper()}\nAAAA\n",
        f"STRONGROOM_KEY {REPOSITORY.hex()} x\nAAAA\n",
        f"STRONGROOM_KEY {REPOSITORY.hex()}\n",
        f"STRONGROOM_KEY {REPOSITORY.hex()}\nAAA\n",
        f"STRONGROOM_KEY {REPOSITORY.hex()}\nAA!A\n",
        f"STRONGROOM_KEY {REPOSITORY.hex()}\nAA é A\n",
        f"STRONGROOM_KEY {REPOSITORY.hex()}\nAB==\n",  # bits set behind the end
        f"STRONGROOM_KEY {REPOSITORY.hex()}\nAA==AAAA\n",
        f"STRONGROOM_KEY {REPOSITORY.hex()}\n" + "A" * (MAX_KEY_FILE * 2),
        f"STRONGROOM_KEY {REPOSITORY.hex()}\nAAAA\n" + "\n" * (MAX_KEY_FILE * 5),
    ],
)
def test_a_damaged_file_is_refused(text):
    with pytest.raises(KeyInvalid):
        parse_file(text)


@given(st.text(max_size=200))
def test_any_text_is_a_key_or_a_clear_refusal(text):
    for parse in (parse_file, parse_paper):
        with pytest.raises(StrongroomError):
            parse(text)


# --- paper ---


@given(keys)
def test_paper_gives_the_key_back(key):
    paper = export_paper(key, REPOSITORY)
    assert parse_paper(paper) == key
    assert parse_paper(paper, REPOSITORY) == key


def test_paper_fits_a_page_and_80_columns():
    paper = export_paper(KEY, REPOSITORY)
    assert len(paper.splitlines()) <= 64
    assert max(map(len, paper.splitlines())) <= 80
    assert all(re.fullmatch(r"[ \d]{3}: ([A-Z0-9]{1,4} )+- [A-Z0-9]{6}", line) for line in lines_of(paper))
    assert f"Repository {REPOSITORY.hex()}\n" in paper


def test_the_biggest_key_file_has_a_paper_form():
    key = random.Random(2).randbytes(MAX_KEY_FILE)
    assert parse_paper(export_paper(key, REPOSITORY)) == key


def test_the_paper_form_stays_what_it_is():
    paper = export_paper(b"a key that is opaque to its backups", REPOSITORY)
    assert lines_of(paper) == [
        "  0: QYQQ QGCQ QYPQ XPQ9 QCRS SZVL 9TWH WW6N 3ZRU 0UKR C6PZ QGJ8 - EJ60WG",
        "  1: VYSX KETE YP6X SCT5 YP5H XGR0 WPSH ZAT9 YP6X 7GRF W3EJ QCNP - SF2X4G",
        "  2: VD4H 2URN - L27AAJ",
    ]


def test_lines_are_read_as_people_type_them():
    line = lines_of(export_paper(KEY, REPOSITORY))[7]
    for typed in (line, line.lower(), line.split(":")[1], line.replace(" ", ""), f"  {line}  \n"):
        assert parse_paper_line(typed, 7) == KEY[180:210]


@given(st.data())
def test_a_single_wrong_character_is_found_in_its_own_line(data):
    lines = lines_of(export_paper(KEY, REPOSITORY))
    number = data.draw(st.integers(0, len(lines) - 1))
    line = lines[number]
    place = data.draw(st.integers(0, len(line) - 1))
    typed = data.draw(st.sampled_from(string.ascii_letters + string.digits + string.punctuation + "é"))
    wrong = line[:place] + typed + line[place + 1 :]
    if typed.upper() == line[place].upper():
        assert parse_paper_line(wrong, number) == parse_paper_line(line, number)
        return
    with pytest.raises(KeyInvalid, match=f"^Line {number} "):
        parse_paper_line(wrong, number)
    paper = export_paper(KEY, REPOSITORY).replace(line, wrong)
    with pytest.raises(KeyInvalid, match=f"^Line {number} "):
        parse_paper(paper)


@given(st.data())
def test_a_lost_added_or_swapped_character_is_found_in_its_own_line(data):
    lines = lines_of(export_paper(KEY, REPOSITORY))
    number = data.draw(st.integers(0, len(lines) - 1))
    line = "".join(lines[number].split()).partition(":")[2]
    place = data.draw(st.integers(0, len(line) - 2))
    changed = data.draw(
        st.sampled_from(
            [
                line[:place] + line[place + 1 :],
                line[:place] + data.draw(st.sampled_from(ALPHABET)) + line[place:],
                line[:place] + line[place + 1] + line[place] + line[place + 2 :],
            ]
        )
    )
    if changed == line:
        assert parse_paper_line(changed, number)
        return
    with pytest.raises(KeyInvalid, match=f"^Line {number} "):
        parse_paper_line(changed, number)


def test_a_line_at_another_ones_place_is_found():
    lines = lines_of(export_paper(KEY, REPOSITORY))
    with pytest.raises(KeyInvalid, match=r"^Line 4 "):
        parse_paper_line(lines[5], 4)
    with pytest.raises(KeyInvalid, match=r"^Line 4 "):
        parse_paper_line(lines[5].partition(":")[2], 4)


def test_interactive_reading_asks_again_for_the_bad_line_only():
    lines = lines_of(export_paper(KEY, REPOSITORY))
    reader = PaperReader(REPOSITORY)
    assert reader.last is None
    for number, line in enumerate(lines):
        assert reader.wanted == number and not reader.complete
        for bad in ("", line[:-1], lines[number - 1]):
            with pytest.raises(KeyInvalid, match=f"Line {number} "):
                reader.feed(bad)
        with pytest.raises(KeyInvalid, match=f"ends before line {number}"):
            reader.key()
        reader.feed(line)
    assert reader.complete and reader.last == len(lines) - 1
    assert reader.key() == KEY


def test_a_missing_or_surplus_line_is_named():
    paper = export_paper(KEY, REPOSITORY)
    lines = lines_of(paper)
    with pytest.raises(KeyInvalid, match=r"^Line 9 "):
        parse_paper(paper.replace(lines[9] + "\n", ""))
    with pytest.raises(KeyInvalid, match=f"ends before line {len(lines) - 1}"):
        parse_paper(paper.replace(lines[-1] + "\n", ""))
    with pytest.raises(KeyInvalid, match="goes on"):
        parse_paper(paper + lines[-1] + "\n")


def test_lines_of_two_keys_do_not_mix():
    one, other = (export_paper(key, REPOSITORY) for key in (KEY, KEY[::-1]))
    mixed = one.replace(lines_of(one)[3], lines_of(other)[3])
    with pytest.raises(KeyInvalid, match="belong together"):
        parse_paper(mixed)
    short = lines_of(export_paper(KEY[:31], REPOSITORY))  # its last line has one byte
    reader = PaperReader()
    reader.feed(lines_of(one)[0])
    reader.feed(lines_of(one)[1])
    with pytest.raises(KeyInvalid, match=r"^Line 2 has not the length"):
        reader.feed(short[2])


def test_paper_for_another_repository_is_foreign_at_its_first_line():
    paper = export_paper(KEY, REPOSITORY)
    with pytest.raises(KeyForeign):
        parse_paper(paper, OTHER)
    with pytest.raises(KeyForeign):
        PaperReader(OTHER).feed(lines_of(paper)[0])


def test_paper_of_another_kind_or_version_is_named_so():
    with pytest.raises(NotAKeyBackup):
        parse_paper("BORG PAPER KEY v1\nid: 1\n")
    with pytest.raises(VersionUnknown):
        parse_paper(export_paper(KEY, REPOSITORY).replace("PAPER KEY 1", "PAPER KEY 2"))


def test_no_refusal_repeats_what_was_typed():
    lines = lines_of(export_paper(KEY, REPOSITORY))
    with pytest.raises(KeyInvalid) as caught:
        parse_paper_line(lines[5], 4)
    assert not set(lines[5].split()[1:-2]) & set(re.findall(r"\w+", str(caught.value)))


@pytest.mark.parametrize("key", [b"", bytes(MAX_KEY_FILE + 1)])
def test_a_key_of_impossible_size_is_not_exported(key):
    for export in (export_file, export_paper):
        with pytest.raises(KeyInvalid):
            export(key, REPOSITORY)
