"""How long a whole restore would take, by what a part of it took."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.commands.estimating import Part, estimate

NOTHING = Part()


def costing(
    file: float, byte: float, files: int, size: int, all_files: int, all_size: int, start: float = 0.0
) -> Part:
    return Part(files, size, start + file * files + byte * size if files else 0.0, all_files, all_size)


def test_small_files_are_told_by_their_number_and_large_ones_by_their_bytes() -> None:
    """A thousand small ones say nothing of a hundred gigabytes, by themselves."""
    small = costing(0.001, 1e-8, 1000, 10**7, 10**6, 10**10)
    large = costing(0.001, 1e-8, 20, 10**9, 1000, 10**11)
    told = estimate(small, large, 0.05)
    truth = 0.001 * 1_001_000 + 1e-8 * 1.1e11
    assert told is not None and 0.85 * truth < told[0] <= truth * 1.05 and truth <= told[1] < 1.1 * truth


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (Part(1, 300, 0.06, 10**6, 10**9), NOTHING),  # one file, which took what the start takes
        (Part(20, 6000, 0.1, 15_000, 4_500_000), NOTHING),
        (Part(3, 900, 0.4, 15_000, 4_500_000), NOTHING),  # the machine was busy just then
        (Part(1000, 10**6, 2.0, 10**5, 10**8), Part(0, 0, 0.0, 500, 10**12)),  # large ones were too large
        (Part(1000, 10**6, 2.0, 10**5, 10**8), Part(1, 2**20, 0.08, 500, 10**12)),
        (Part(1000, 0, 2.0, 10**5, 0), Part(0, 0, 0.0, 500, 10**12)),
        (Part(0, 0, 0.0, 10**6, 10**9), Part(1, 10**9, 9.0, 2, 10**9)),
        (Part(0, 0, 0.0, 10, 10), Part(0, 0, 0.0, 2, 10**9)),
    ],
)
def test_too_little_is_no_estimate(small: Part, large: Part) -> None:
    assert estimate(small, large, 0.05) is None


def test_what_takes_moments_is_told_by_the_smallest_sample() -> None:
    told = estimate(Part(20, 6000, 0.1, 134, 40_000), Part(1, 3 * 2**20, 0.1, 2, 6 * 2**20), 0.05)
    assert told is not None and 0 < told[0] <= told[1] < 2


def test_all_of_it_took_what_it_took() -> None:
    assert estimate(Part(5, 50, 1.5, 5, 50), Part(1, 10**7, 0.5, 1, 10**7), 0.05) == (2.0, 2.0)
    assert estimate(NOTHING, NOTHING, 0.05) == (0.0, 0.0)


@given(
    st.floats(0, 0.01), st.floats(0, 1e-7), st.integers(1, 1000), st.integers(1, 10**6),
    st.integers(1, 1000), st.floats(0.001, 0.5),
)  # fmt: skip
def test_a_start_is_never_taken_for_what_files_cost(
    file: float, byte: float, files: int, size: int, times: int, start: float
) -> None:
    """Of files that are like the sample, the truth is within what is told."""
    part = costing(file, byte, files, size, files * times, size * times, start)
    told = estimate(part, NOTHING, start)
    if told is not None:
        truth = start + (part.seconds - start) * times
        assert told[0] <= truth * 1.001 and truth <= told[1] * 1.001 + start
