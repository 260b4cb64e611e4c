"""Files that were renamed, and what to: ransomware marks what it has encrypted by a suffix of its own."""

import mimetypes
from collections import Counter

_COMMON = frozenset(
    b"bak orig old new tmp swp log conf cfg ini save rpmnew rpmsave dpkg-old dpkg-new dpkg-dist ucf-dist gz "
    b"bz2 xz zst lz4 lzma zip tar deb rpm whl pyc pyo so py pyi md rst toml yaml yml lock db sqlite".split()
)
_KNOWN = _COMMON | {suffix[1:].encode() for suffix in (*mimetypes.types_map, *mimetypes.encodings_map)}


def suffix_of(name: bytes) -> bytes:
    """After the last dot, in small letters; empty if there is none."""
    stem, dot, suffix = name.rpartition(b".")
    return suffix.lower() if dot and stem else b""


def is_known(suffix: bytes) -> bool:
    """One that files commonly have, or a number, as of versions and rotated logs."""
    return not suffix or suffix in _KNOWN or suffix.isdigit() or suffix.endswith(b"~")


class Renames:
    """Of one folder at a time: which removed file became which added one, by their names."""

    def __init__(self) -> None:
        self.to: Counter[bytes] = Counter()  # suffix: files that got it

    def folder(self, removed: set[bytes], added: set[bytes], common: frozenset[bytes]) -> None:
        """`common` are suffixes that the old side had before."""
        stems = {name.rpartition(b".")[0]: name for name in removed if suffix_of(name)}
        for name in added:
            stem, suffix = name.rpartition(b".")[0], suffix_of(name)
            if (stem in removed or stem in stems) and not is_known(suffix) and suffix not in common:
                self.to[suffix] += 1
