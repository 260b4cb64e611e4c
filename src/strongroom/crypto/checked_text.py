"""Bytes as letters that people copy by hand, with a check that tells a mistake at once.

Five bits a letter in bech32's alphabet, which leaves out 1, B, I and O; six letters of bech32m's
check behind them. Within 89 letters the check finds any four wrong ones, and any other mistake but
one in 2^30. Sources: BIP-173 (alphabet, code and their proof), BIP-350 (the constant).
"""

import base64
import binascii
from collections.abc import Iterable

ALPHABET = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
CHECK_LETTERS = 6

_RFC4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_FROM_RFC = str.maketrans(_RFC4648, ALPHABET)
_TO_RFC = str.maketrans(ALPHABET, _RFC4648)
_VALUE = {letter: value for value, letter in enumerate(ALPHABET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32M = 0x2BC830A3


class CheckFailed(ValueError):
    """The letters are not the ones that were written; the message says as much as can be known."""


def encode(data: bytes) -> str:
    """Eight letters for five bytes, the last ones filled up with zero bits."""
    return base64.b32encode(data).decode().rstrip("=").translate(_FROM_RFC)


def decode(letters: str) -> bytes:
    """The inverse of `encode`; letters in upper case. Raises `CheckFailed`."""
    strange = sorted(set(letters) - set(ALPHABET))
    if strange:
        raise CheckFailed(f"{strange[0]!r} is never used in it")
    try:
        data = base64.b32decode(letters.translate(_TO_RFC) + "=" * (-len(letters) % 8))
    except binascii.Error as error:
        raise CheckFailed("a character is missing or too many") from error
    if encode(data) != letters:
        raise CheckFailed("its last character is wrong")
    return data


def check(context: Iterable[int], letters: str) -> str:
    """The six check letters over `context` (numbers of five bits, not written down) and `letters`."""
    values = [*context, *(_VALUE[letter] for letter in letters)]
    remainder = _remainder([*values, *[0] * CHECK_LETTERS]) ^ _BECH32M
    return "".join(ALPHABET[remainder >> 5 * place & 31] for place in reversed(range(CHECK_LETTERS)))


def open_checked(context: Iterable[int], letters: str, checked: str) -> bytes:
    """The bytes of `letters`, if `checked` fits to them. Raises `CheckFailed`."""
    data = decode(letters)
    if check(context, letters) != checked:
        raise CheckFailed("its check does not fit")
    return data


def five_bits(number: int, places: int) -> list[int]:
    """`number` in base 32, most significant first, as a context wants it."""
    if not 0 <= number < 1 << 5 * places:
        raise CheckFailed(f"{number} is out of range")
    return [number >> 5 * place & 31 for place in reversed(range(places))]


def _remainder(values: Iterable[int]) -> int:
    result = 1
    for value in values:
        top = result >> 25
        result = (result & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate(_GENERATOR):
            if top >> bit & 1:
                result ^= term
    return result
