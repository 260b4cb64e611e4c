"""How long a whole restore would take, told by a part of it.

What a file costs and what a byte costs are told apart by restoring small and large files one after the
other: of the large ones bytes count, of the small ones both may. What the start costs is in neither.
"""

import msgspec

LARGE = 1 << 20
"""Bytes from which on a file takes its time for its bytes. Chosen: ten times what opening it costs."""

_FAR = 3  # a restore that took less than so many starts tells nothing of what it restored,
_FEW = 30  # nor do fewer files,
_LONG = 1.0  # unless they took so many seconds
_WIDE = 5  # nor does a range whose end is so many times its beginning,
_SOON = 10.0  # unless it ends after so many seconds


class Part(msgspec.Struct):
    """Files that are alike: what was restored of them, in how many seconds, and what there is."""

    files: int = 0
    size: int = 0  # bytes that are not in holes
    seconds: float = 0.0
    all_files: int = 0
    all_size: int = 0


def estimate(small: Part, large: Part, start: float) -> tuple[float, float] | None:
    """From so many seconds to so many for all; None where too little was restored to tell.

    `start` is what restoring hardly anything took.
    """
    parts = small, large
    if all(part.files == part.all_files for part in parts):
        whole = sum(part.seconds for part in parts)
        return whole, whole
    low = high = start
    for part, other in ((small, large), (large, small)):
        if not part.all_files:
            continue
        if part.files:
            times = [part.all_size / part.size] if part.size else []
            if part is small or not times:
                times.append(part.all_files / part.files)
            low += min(times) * (part.seconds - start if _tells(part, start) else 0.0)
            high += max(times) * part.seconds
        elif part is small and other.files:  # at the most what a large one costs
            high += part.all_files * other.seconds / other.files
        elif part is large and other.size:  # at the most what the bytes of small ones cost
            high += part.all_size * other.seconds / other.size
        else:
            return None
    return (low, high) if high <= max(_SOON, _WIDE * low) else None


def _tells(part: Part, start: float) -> bool:
    return part.seconds > _FAR * start and (part.files >= _FEW or part.seconds >= _LONG)
