"""Parity heals exactly what it promises, bit by bit, and says so where it cannot."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from economy import times
from program import patterned
from strongroom.crypto import hashing
from strongroom.errors import Damaged
from strongroom.ids import PackId
from strongroom.repository import parity
from strongroom.repository.parity import BLOCK
from strongroom.store.local import LocalStore


def protected(size: int, percent: int = 5) -> tuple[PackId, bytes, bytes]:
    blob = patterned(size, size)
    pack = PackId(hashing.plain_hash(blob))
    return pack, blob, b"".join(parity.encode(pack, blob, percent))


def spoilt(blob: bytes, places: list[tuple[int, int]]) -> bytes:
    """With bytes from each place on changed."""
    changed = bytearray(blob)
    for start, length in places:
        for at in range(start, min(start + length, len(blob))):
            changed[at] ^= 0x5A
    return bytes(changed)


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 400_000, 1_000_001])
def test_a_sound_pack_stays_as_it_is(size: int) -> None:
    pack, blob, made = protected(size)
    found = parity.heal(pack, memoryview(bytearray(blob)), made)
    assert (found.blob, found.damaged) == (blob, 0)


@settings(deadline=None, max_examples=times(30))
@given(st.integers(1, 2_000_000), st.integers(1, 30), st.randoms(use_true_random=False))
def test_as_many_blocks_of_each_row_as_there_are_extra_shares_are_healed(
    size: int, percent: int, chooser: random.Random
) -> None:
    pack, blob, made = protected(size, percent)
    head, skip = parity.decode_head(made, pack)
    rows = head.length // BLOCK
    places, more = [], []
    for row in range(rows):
        for share in chooser.sample(range(head.data + head.extra), head.extra):
            at = share * head.length + row * BLOCK
            if share < head.data:
                places.append((at + chooser.randrange(BLOCK), chooser.randrange(1, 300)))
            else:
                more.append((skip + at - head.data * head.length, BLOCK))
    places = [(at, min(length, BLOCK - at % BLOCK)) for at, length in places]
    found = parity.heal(pack, memoryview(bytearray(spoilt(blob, places))), spoilt(made, more))
    assert found.blob == blob and found.worst <= head.extra


@pytest.mark.parametrize("how", ["erased", "cut off", "missing in front"])
def test_a_run_of_damage_as_long_as_the_extra_shares_is_healed(how: str) -> None:
    pack, blob, made = protected(3_000_000)
    head, _ = parity.decode_head(made, pack)
    run = head.extra * head.length - BLOCK  # a run that begins within a block touches one more
    if how == "erased":
        damaged = blob[:777_777] + bytes(run) + blob[777_777 + run :]
    elif how == "cut off":
        damaged = blob[: -run // 2]
    else:
        damaged = bytes(run) + blob[run:]
    found = parity.heal(pack, memoryview(bytearray(damaged)), made)
    assert found.blob == blob and found.damaged


def test_one_block_more_is_told_and_nothing_false_comes_out() -> None:
    pack, blob, made = protected(3_000_000)
    head, _ = parity.decode_head(made, pack)
    places = [(share * head.length + 3 * BLOCK, 1) for share in range(head.extra + 1)]
    found = parity.heal(pack, memoryview(bytearray(spoilt(blob, places))), made)
    assert found.blob is None and found.worst == head.extra + 1 > found.extra
    assert parity.heal(pack, memoryview(bytearray(spoilt(blob, places[1:]))), made).blob == blob


@pytest.mark.parametrize("size", [1, 5_000, 50_000])
@pytest.mark.parametrize("at_once", [0, 8 << 20], ids=["in pieces", "at once"])
def test_whatever_rots_in_it_is_told_without_the_pack(
    size: int, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "_AT_ONCE", at_once)
    pack, _, made = protected(size)
    store = LocalStore.create(str(tmp_path / "repo"), make_parents=False)
    path = tmp_path / "repo" / parity.name(pack)
    path.parent.mkdir()

    def flaw(blob: bytes) -> str | None:
        path.write_bytes(blob)
        return parity.flaw_of(store, pack, len(blob))

    whole = bytearray(made)
    assert flaw(bytes(whole)) is None
    heads = [*range(300), *range(len(whole) - 300, len(whole))]
    for at in [*heads, *random.Random(size).sample(range(len(whole)), 200)]:
        whole[at] ^= 1
        assert flaw(bytes(whole)) is not None, at
        whole[at] ^= 1
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        assert flaw(bytes(whole[:cut])) is not None
    assert flaw(bytes(whole) + b"x") is not None


def test_either_head_will_do_and_without_both_it_is_damage() -> None:
    pack, blob, made = protected(300_000)
    _, length = parity.decode_head(made, pack)
    damaged = spoilt(blob, [(5_000, 10)])
    assert parity.heal(pack, memoryview(bytearray(damaged)), spoilt(made, [(length // 2, 1)])).blob == blob
    assert (
        parity.heal(pack, memoryview(bytearray(damaged)), spoilt(made, [(len(made) - length // 2, 1)])).blob
        == blob
    )
    assert parity.heal(pack, memoryview(bytearray(damaged)), spoilt(made, [(len(made) - 2, 2)])).blob == blob
    with pytest.raises(Damaged):
        parity.heal(
            pack,
            memoryview(bytearray(damaged)),
            spoilt(made, [(length // 2, 1), (len(made) - length // 2, 1)]),
        )


@settings(deadline=None, max_examples=times(200))
@given(st.binary(max_size=300), st.integers(0, 5))
def test_rubbish_is_damage(rubbish: bytes, shape: int) -> None:
    pack, blob, made = protected(5_000)
    planted = [rubbish, made[: len(rubbish)], rubbish + made, made + rubbish, b"SRPARIT\x01" + rubbish, b""]
    try:
        found = parity.heal(pack, memoryview(bytearray(blob[:-1])), planted[shape])
    except Damaged:
        return
    assert found.blob in (None, blob)


def test_parity_of_another_pack_or_with_impossible_numbers_is_damage() -> None:
    pack, blob, made = protected(50_000)
    other, _, _ = protected(50_001)
    with pytest.raises(Damaged):
        parity.heal(other, memoryview(bytearray(blob)), made)
    head, _ = parity.decode_head(made, pack)
    for change in (
        {"data": 0},
        {"extra": 0},
        {"extra": 255},
        {"length": 0},
        {"length": 1 << 40},
        {"size": 0},
    ):
        fields = {name: getattr(head, name) for name in head.__struct_fields__} | change
        planted = parity._encode_head(parity.Head(**fields))
        with pytest.raises(Damaged):
            parity.heal(pack, memoryview(bytearray(blob)), planted)


# --- the arithmetic, from docs/format.md alone ---

_EXP = [1]
for _ in range(254):
    doubled = _EXP[-1] << 1
    _EXP.append(doubled ^ 0x11D if doubled > 255 else doubled)
_LOG = {value: power for power, value in enumerate(_EXP)}


def _times(a: int, b: int) -> int:
    return _EXP[(_LOG[a] + _LOG[b]) % 255] if a and b else 0


def _over(a: int, b: int) -> int:
    return _EXP[(_LOG[a] - _LOG[b]) % 255] if a else 0


def _point(share: int) -> int:
    return _EXP[share - 1] if share else 0


def interpolated(known: dict[int, bytes], wanted: int) -> bytes:
    """The share `wanted` out of as many others as there are shares of data (Lagrange)."""
    out = bytearray(len(next(iter(known.values()))))
    x = _point(wanted)
    for number, share in known.items():
        factor = 1
        for other in known.keys() - {number}:
            factor = _times(factor, _over(x ^ _point(other), _point(number) ^ _point(other)))
        for at, value in enumerate(share):
            out[at] ^= _times(factor, value)
    return bytes(out)


@pytest.mark.parametrize(("size", "percent"), [(100, 5), (9_000, 50), (5 * BLOCK, 60)])
def test_the_page_is_enough_to_make_parity(size: int, percent: int) -> None:
    pack, blob, made = protected(size, percent)
    head, skip = parity.decode_head(made, pack)
    padded = blob.ljust(head.data * head.length, b"\0")
    shares = [padded[at : at + head.length] for at in range(0, len(padded), head.length)]
    for number in range(head.extra):
        start = skip + number * head.length
        known = dict(enumerate(shares))
        assert interpolated(known, head.data + number) == made[start : start + head.length]
        known = dict(list(known.items())[1:]) | {head.data + number: made[start : start + head.length]}
        assert interpolated(known, 0) == shares[0]
