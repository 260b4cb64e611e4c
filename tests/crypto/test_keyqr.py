import random
import re
from html.parser import HTMLParser

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.keybackup import export_file, export_paper
from strongroom.crypto.keyformat import MAX_KEY_FILE
from strongroom.crypto.keyqr import export_html, parse_any, parse_payloads, payloads
from strongroom.errors import KeyForeign, KeyInvalid, NotAKeyBackup, StrongroomError
from strongroom.ids import RepositoryId

REPOSITORY = RepositoryId(bytes(range(32)))
OTHER = RepositoryId(bytes(range(1, 33)))
KEY = random.Random(1).randbytes(1712)


@pytest.mark.parametrize("size", [1, 419, 420, 421, 1712, MAX_KEY_FILE])
def test_codes_give_the_key_back_in_any_order(size):
    key = random.Random(size).randbytes(size)
    texts = payloads(key, REPOSITORY)
    assert len(texts) == -(-(size + 30) // 450)
    random.Random(3).shuffle(texts)
    assert parse_payloads("\n".join(texts), REPOSITORY) == key
    assert parse_payloads("".join(texts)) == key


def test_scanners_may_wrap_repeat_and_prefix():
    texts = payloads(KEY, REPOSITORY)
    wrapped = "\r\n".join(f"QR-Code:{text[:300]}\n{text[300:].lower()}" for text in [*texts, texts[0]])
    assert parse_payloads(wrapped) == KEY


def test_every_code_is_one_that_a_telephone_reads():
    for text in payloads(KEY, REPOSITORY):
        code = segno.make(text, mode="alphanumeric", error="m", boost_error=False, micro=False)
        assert code.version <= 18


@given(st.data())
def test_a_wrong_character_is_found_in_its_own_code(data):
    texts = payloads(KEY, REPOSITORY)
    number = data.draw(st.integers(0, len(texts) - 1))
    text = texts[number]
    place = data.draw(st.integers(text.index(":", 6) + 1, len(text) - 1))
    letter = data.draw(st.sampled_from("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L1B-:"))
    if letter == text[place]:
        return
    texts[number] = text[:place] + letter + text[place + 1 :]
    with pytest.raises(KeyInvalid, match=f"code {number + 1} of 4|number {number + 1} is missing"):
        parse_payloads("\n".join(texts))


def test_missing_codes_are_named():
    texts = payloads(KEY, REPOSITORY)
    with pytest.raises(KeyInvalid, match="Of 4 QR codes, number 2, 4 is missing"):
        parse_payloads(texts[0] + texts[2])


def test_codes_of_two_pages_do_not_mix():
    texts, others = payloads(KEY, REPOSITORY), payloads(KEY[::-1], REPOSITORY)
    with pytest.raises(KeyInvalid, match="belong together"):
        parse_payloads("".join([*texts[:3], others[3]]))
    with pytest.raises(KeyInvalid, match="different key backups"):
        parse_payloads("".join([*texts, others[3]]))
    with pytest.raises(KeyInvalid, match="different key backups"):
        parse_payloads("".join([*texts, *payloads(KEY[:100], REPOSITORY)]))


def test_codes_for_another_repository_are_foreign():
    with pytest.raises(KeyForeign):
        parse_payloads("".join(payloads(KEY, REPOSITORY)), OTHER)


@pytest.mark.parametrize("text", ["", "https://example.org", "SRKEY:", "SRKEY:1/1:QQ"])
def test_other_codes_are_no_key_backup(text):
    with pytest.raises(NotAKeyBackup):
        parse_payloads(text)


@pytest.mark.parametrize("place", ["0/0", "0/1", "1/0", "2/1", "1/999", "999/999"])
def test_an_impossible_number_is_refused(place):
    with pytest.raises(KeyInvalid):
        parse_payloads(f"SRKEY:{place}:QQQQ:QQQQQQ")


@given(st.text(st.sampled_from("SRKEY:1/2QPZ \n"), max_size=60))
def test_any_text_is_refused_clearly(text):
    with pytest.raises(StrongroomError):
        parse_any(text)


def test_any_form_is_told_by_its_beginning():
    for text in (
        export_file(KEY, REPOSITORY),
        export_paper(KEY, REPOSITORY),
        "\n".join(payloads(KEY, REPOSITORY)),
        "\n\n" + export_file(KEY, REPOSITORY),
    ):
        assert parse_any(text, REPOSITORY) == KEY
        with pytest.raises(KeyForeign):
            parse_any(text, OTHER)


class _Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = [""]
        self.links: list[str] = []
        self.texts: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.texts[self.tags[-1]] = self.texts.get(self.tags[-1], "") + data


def test_the_page_has_all_codes_and_the_paper_form_and_needs_nothing_else():
    page = _Page(export_html(KEY, REPOSITORY, title="<laptop> & key"))
    assert page.tags.count("svg") == page.tags.count("figure") == 4
    assert page.links == [] and "script" not in page.tags
    assert page.texts["pre"].startswith(export_paper(KEY, REPOSITORY))
    assert page.texts["h1"].strip() == "<laptop> & key"


def test_the_pages_codes_are_those_of_the_payloads():
    page = export_html(KEY, REPOSITORY)
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    for picture, text in zip(drawn, payloads(KEY, REPOSITORY), strict=True):
        code = segno.make(text, mode="alphanumeric", error="m", boost_error=False, micro=False)
        assert picture == code.svg_inline(border=4, omitsize=True)
