"""Chunks end where the content says, however it is read and whatever is passed over quickly."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyfastcdc import FastCDC

from economy import times
from strongroom.archive import chunking
from strongroom.archive.chunking import AVERAGE, MAXIMUM, MINIMUM, ChunkedReader, Content
from strongroom.crypto import hashing

KIB = 1024
name = hashing.chunk_hasher(bytes(32))


class Recorder:
    """The pipeline's face: names each chunk, and keeps what it got."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def add(self, kind: int, chunk: Any, done: Any = None) -> Any:
        self.got.append(bytes(chunk))
        if done is not None:
            done()
        return name(chunk)


def chunked(data: bytes, seed: int, most: int) -> tuple[Content, Recorder]:
    """As a stream that gives at most so many bytes at a time."""
    recorder, content, at = Recorder(), Content(), 0

    def read(view: memoryview) -> int:
        nonlocal at
        piece = data[at : at + min(most, len(view))]
        view[: len(piece)] = piece
        at += len(piece)
        return len(piece)

    ChunkedReader(recorder, seed).add_stream(read, content, lambda _: None)  # type: ignore[arg-type]
    return content, recorder


def plainly(data: bytes, seed: int) -> list[bytes]:
    cutter = FastCDC(AVERAGE, min_size=MINIMUM, max_size=MAXIMUM, seed=seed)
    return [data[one.offset : one.offset + one.length] for one in cutter.cut_buf(data)] if data else []


piece = st.tuples(st.booleans(), st.integers(0, 9 * 1024 * KIB), st.integers(0, 9))


@settings(max_examples=times(12), deadline=None)
@given(st.lists(piece, max_size=4), st.integers(0, 2**63 - 1), st.sampled_from([64 * KIB, 1 << 30]))
def test_runs_of_zeros_are_cut_as_everything_is(
    pieces: list[tuple[bool, int, int]], seed: int, most: int
) -> None:
    data = b"".join(
        bytes(size) if zeros else random.Random(dice).randbytes(size) for zeros, size, dice in pieces
    )
    wanted = plainly(data, seed)
    content, recorder = chunked(data, seed, most)
    assert content.sizes == list(map(len, wanted))
    assert content.ids == list(map(name, wanted))
    assert set(recorder.got) == set(wanted)


@pytest.mark.parametrize("length", [MINIMUM, 300 * KIB, MAXIMUM])
def test_zeros_are_cut_where_the_seed_says(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most seeds never cut them; one that does must not cut them otherwise than the cutter."""

    class Cutter(FastCDC):  # type: ignore[misc]
        def cut_buf(self, data: Any) -> Any:
            for at in range(0, len(data), length):
                yield Chunk(at, min(length, len(data) - at))

    class Chunk:
        def __init__(self, offset: int, length: int) -> None:
            self.offset, self.length = offset, length

    monkeypatch.setattr(chunking, "FastCDC", Cutter)
    content, recorder = chunked(bytes(10 * MAXIMUM + 5), 1, 1 << 30)
    assert set(content.sizes[:-1]) == {length} and sum(content.sizes) == 10 * MAXIMUM + 5
    assert len(recorder.got) == 2  # each kind once
