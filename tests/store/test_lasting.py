"""A store that connects again reads on where it was, and writes nothing twice."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from strongroom.errors import ConnectionLost
from strongroom.store import lasting
from strongroom.store.lasting import LastingStore
from strongroom.store.local import LocalStore
from strongroom.store.protocol import Buffer, Listed, Range

NAMES = [f"index/{number:064x}" for number in range(5)]


class Frail(LocalStore):
    """Its connection is lost after so many answers."""

    answers = 8

    def _count(self) -> None:
        if not self.answers:
            raise ConnectionLost("lost")
        self.answers -= 1

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self._count()
        return super().get(name, offset, length)

    def get_many(self, ranges: Iterable[Range]) -> Iterator[bytes]:
        return (self.get(*part) for part in ranges)

    def list(self, prefix: str) -> Iterator[Listed]:
        for found in super().list(prefix):
            self._count()
            yield found

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        self._count()
        super().put(name, parts)


@pytest.fixture
def store(tmp_path: Path) -> LastingStore:
    made = LocalStore.create(str(tmp_path / "repo"))
    for number, name in enumerate(NAMES):
        made.put(name, [b"%d" % number])
    return LastingStore(lambda: Frail(made.path))


def test_reading_goes_on(store: LastingStore) -> None:
    assert [store.get(name) for name in NAMES * 3] == [b"0", b"1", b"2", b"3", b"4"] * 3
    assert [one.name for one in store.list("index/")] == NAMES
    assert list(store.get_many(Range(name) for name in NAMES)) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_write_is_not_tried_again(store: LastingStore) -> None:
    for _ in range(Frail.answers):
        store.get(NAMES[0])
    with pytest.raises(ConnectionLost):
        store.put("index/" + "f" * 64, [b"x"])


def test_a_server_that_is_gone_is_not_asked_by_every_reader(store: LastingStore) -> None:
    tried: list[int] = []

    def connect() -> LocalStore:
        tried.append(1)
        raise ConnectionLost("still gone")

    store._connect = connect
    for _ in range(Frail.answers):
        store.get(NAMES[0])
    for _ in range(5):
        with pytest.raises(ConnectionLost):
            store.get(NAMES[0])
    assert tried == [1]
    store._failed -= lasting.RETRY_AFTER
    with pytest.raises(ConnectionLost):
        store.get(NAMES[0])
    assert tried == [1, 1]
