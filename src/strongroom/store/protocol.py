"""The key/value namespace that every repository lives in.

A name is a relative path of ASCII components, `packs/ab/ab34…`. Objects are immutable:
`put` never replaces one. A store keeps no state that the names do not show, and every
method may be called from several threads at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, runtime_checkable

from strongroom.store.reserve import Reserved

Buffer = bytes | bytearray | memoryview

CONNECTION = "strongroom-"
"""What the names of the threads begin with that carry a connection."""


class Listed(NamedTuple):
    name: str
    size: int  # bytes


class Range(NamedTuple):
    """A part of an object; `length` None reads to the end."""

    name: str
    offset: int = 0
    length: int | None = None


class Store(Protocol):
    """Errors: `ObjectMissing`, `ObjectExists`, `StoreRefused`, `StoreFull`, `StoreFailed`."""

    @property
    def uploads(self) -> int:
        """How many calls of `put` at a time are worth it."""

    @property
    def owner_key(self) -> bytes | None:
        """The public key, 32 bytes, by which the store's owner would thin out and compact repositories."""

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """The object's bytes, or a part of them. Shorter than asked only at the object's end."""

    def get_many(self, ranges: Iterable[Range]) -> Iterator[bytes]:
        """The parts in order, many requests in flight where the store is far away."""

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        """Store the concatenation of `parts`, durably: it is on disk when this returns.

        Raises `ObjectExists` if the name is taken, whatever it holds.
        """

    def mend(self, name: str, parts: Sequence[Buffer]) -> None:
        """Store an object that is named by its hash in the place of one that is missing or damaged.

        The store itself looks: raises `ObjectExists` where what is there is what its name says, and
        `Damaged` where `parts` are not. So nothing sound is ever replaced, whoever asks.
        """

    def mend_record(self, name: str, record: bytes) -> None:
        """Store a log record in the place of one that is damaged or missing, with the stamp that it had.

        Where nothing tells that stamp it is a later one, so that no quarantine ends too early. A server looks
        whether the record is the one that stood there: `LogBroken` if not, `StoreRefused` where nobody can
        tell. Raises `ObjectExists` where what is there is sound.
        """

    def append_record(self, name: str, record: bytes) -> bytes:
        """Store a log record, stamped with the store's own clock; returns the bytes as stored.

        Raises `ObjectExists` if the name is taken: that is what orders concurrent writers.
        """

    def append_records(self, name: str, records: Sequence[bytes]) -> None:
        """Store several records that follow one another, the first under `name`.

        They are judged together: an earlier one may name what a later one frees. Raises as `append_record`.
        """

    def list(self, prefix: str) -> Iterator[Listed]:
        """All objects whose name starts with `prefix` (a folder, ending in `/`), in name order."""

    def delete(self, name: str) -> None:
        """Remove the object. Raises `ObjectMissing`, or `StoreRefused` where policy forbids it."""

    def spending(self) -> AbstractContextManager[None]:
        """Around work that frees more than it takes: what is kept for a full disk may be used meanwhile."""

    def reserve(self) -> Reserved:
        """What is kept for a full disk."""

    def room(self) -> int:
        """Bytes that fit in now, by disk and quota."""

    def now(self) -> int:
        """By the clock that stamps records, in ns since 1970 UTC."""

    def describe(self) -> str:
        """The location in the user's words, for messages."""

    def close(self) -> None: ...


class Unnamed(Protocol):
    """An object on its way whose name is not known yet. Methods raise as `put` does."""

    def write(self, *parts: Buffer) -> None:
        """Append. Whole blocks of a disk, from memory that begins with a page, are best."""

    def drop(self) -> None:
        """Nothing is left of it, unless it was put."""


@runtime_checkable
class StoreInParts(Protocol):
    """What a store near by can do besides: it takes an object while that is being made."""

    def begin_unnamed(self) -> Unnamed: ...

    def put_begun(self, name: str, begun: Unnamed) -> None:
        """`put` of what was written; by the store that began it."""


@runtime_checkable
class StoreInto(Protocol):
    """What a store near by can do besides."""

    def get_into(self, name: str, offset: int, length: int, space: memoryview) -> memoryview:
        """`get` into memory at hand, which begins with a page and is two of them longer than `length`."""
