import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.checked_text import (
    ALPHABET,
    CheckFailed,
    check,
    decode,
    encode,
    five_bits,
    open_checked,
)


@pytest.mark.parametrize(
    ("part", "data", "expected"),
    [
        ("a", "", "LQFN3A"),
        ("?", "", "V759AA"),
        ("abcdef", ALPHABET[::-1], "ZD3RYX"),
        ("split", "CHECKUPSTAGEHANDSHAKEUPSTREAMERRANTERREDCAPERRED", "LC445V"),
    ],
)
def test_checks_are_those_of_bip_350(part, data, expected):
    # BIP-350's vectors; its human-readable part is our context.
    context = [*(ord(c) >> 5 for c in part), 0, *(ord(c) & 31 for c in part)]
    assert check(context, data) == expected


@given(st.binary(max_size=100))
def test_bytes_come_back(data):
    letters = encode(data)
    assert decode(letters) == data
    assert set(letters) <= set(ALPHABET)
    assert len(letters) == -(-len(data) * 8 // 5)


@given(st.text(st.sampled_from(ALPHABET + "1BIO0 q"), max_size=20))
def test_only_what_encode_writes_is_read(letters):
    try:
        assert encode(decode(letters)) == letters
    except CheckFailed:
        pass
    else:
        assert set(letters) <= set(ALPHABET)


@given(st.data())
def test_up_to_four_wrong_letters_are_found(data):
    letters = encode(data.draw(st.binary(min_size=5, max_size=45)))
    context = five_bits(data.draw(st.integers(0, 32767)), 3)
    written = letters + check(context, letters)
    places = data.draw(st.sets(st.integers(0, len(written) - 1), min_size=1, max_size=4))
    wrong = list(written)
    for place in places:
        wrong[place] = data.draw(st.sampled_from(ALPHABET.replace(wrong[place], "")))
    text = "".join(wrong)
    with pytest.raises(CheckFailed):
        open_checked(context, text[:-6], text[-6:])


def test_a_number_that_does_not_fit_is_refused():
    assert five_bits(1023, 2) == [31, 31]
    for number in (-1, 1024):
        with pytest.raises(CheckFailed):
            five_bits(number, 2)
