"""What is in a huge folder, kept as it is stored: a sixth of the memory that its nodes would take.

A look-up by name decodes some twenty entries. Names are asked for in any order: `find`, `du` and
their like sort the entries of a large folder by inode number.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

import msgspec

from strongroom.archive.entries import Entry

FROM = 16
"""Segments that make a folder huge: some 10,000 entries."""

Made = TypeVar("Made")


class _Named(msgspec.Struct, array_like=True, gc=False):
    name: bytes  # the first field of an entry; the others are passed over


_encode_into = msgspec.msgpack.Encoder().encode_into
_decode = msgspec.msgpack.Decoder(Entry).decode
_decode_name = msgspec.msgpack.Decoder(_Named).decode


class _Items(ItemsView[bytes, Made], Generic[Made]):
    """One behind the other, each decoded once; by themselves they would be looked up by name."""

    def __init__(self, folder: "CompactFolder[Made]") -> None:
        super().__init__(folder)
        self._folder = folder

    def __iter__(self) -> Iterator[tuple[bytes, Made]]:
        return self._folder.since(0)


class CompactFolder(Mapping[bytes, Made], Generic[Made]):
    """Entries by name, each made into something by `make` whenever it is asked for. For any thread."""

    def __init__(self, entries: Iterable[Entry], make: Callable[[Entry], Made]) -> None:
        """`entries` in the order of their names."""
        self._make = make
        packed = bytearray()
        self._ends = array("Q", [0])
        for entry in entries:
            _encode_into(entry, packed, -1)
            self._ends.append(len(packed))
        self._packed = memoryview(packed)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[bytes]:
        return map(self._name, range(len(self)))

    def __getitem__(self, name: bytes) -> Made:
        at = bisect_left(range(len(self)), name, key=self._name)
        if at == len(self) or self._name(at) != name:
            raise KeyError(name)
        return self._make(_decode(self._part(at)))

    def items(self) -> ItemsView[bytes, Made]:
        return _Items(self)

    def since(self, position: int) -> Iterator[tuple[bytes, Made]]:
        """Names with what they lead to, in order, from this position on."""
        for at in range(position, len(self)):
            entry = _decode(self._part(at))
            yield entry.name, self._make(entry)

    def entries(self) -> Iterator[tuple[bytes, Entry]]:
        """Names with entries of which nothing is made."""
        for at in range(len(self)):
            entry = _decode(self._part(at))
            yield entry.name, entry

    def _name(self, position: int) -> bytes:
        return _decode_name(self._part(position)).name

    def _part(self, position: int) -> memoryview:
        return self._packed[self._ends[position] : self._ends[position + 1]]
