"""An archive is the same whichever archives were read before it, and what they share is read once."""

import random
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.archive import trees
from strongroom.archive.entries import Entry
from strongroom.borg import packing
from strongroom.borg.planting import Planter
from strongroom.borg.runs import Runs
from strongroom.borg.scratch import Scratch
from strongroom.crypto import hashing
from strongroom.errors import Damaged
from strongroom.ids import ID_SIZE, ChunkId

_FILE, _FOLDER = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
Item = dict[str, Any]


class Shelf:
    """Lists of items, cut into chunks."""

    def __init__(self) -> None:
        self._chunks: dict[ChunkId, bytes] = {}
        self.fetched: list[ChunkId] = []

    def add(self, items: list[Item], cut: int) -> list[ChunkId]:
        data = b"".join(map(packing.pack, items))
        ids = []
        for at in range(0, len(data), cut):
            part = data[at : at + cut]
            ids.append(ChunkId(hashing.plain_hash(part)))
            self._chunks[ids[-1]] = part
        return ids

    def fetch(self, chunks: Iterable[ChunkId]) -> Iterator[bytes]:
        for chunk in chunks:
            self.fetched.append(chunk)
            yield self._chunks[chunk]


class Plot:
    """A planter with its working space."""

    def __init__(self, base: Path, shelf: Shelf) -> None:
        self.scratch = Scratch(base)
        self._planter = Planter(self.scratch, Runs(self.scratch, shelf.fetch, lambda _: True))

    def plant(self, chunks: list[ChunkId]) -> tuple[object, ...]:
        told: list[str] = []
        planted = self._planter.plant(chunks, "The list", told.append)
        return dict(self._walk(planted.root, b"")), planted.files, planted.size, told

    def _walk(self, folder: Entry, path: bytes) -> Iterator[tuple[bytes, Entry]]:
        yield path, folder
        for at in range(0, len(folder.content), ID_SIZE):
            chunk = ChunkId(folder.content[at : at + ID_SIZE])
            for entry in trees.decode_segment(self.scratch.get("trees", chunk) or b"", chunk):
                below = path + b"/" + entry.name
                if entry.is_dir:
                    yield from self._walk(entry, below)
                else:
                    yield below, entry


def item(path: str, version: int = 0, **more: object) -> Item:
    chunks = [[hashing.plain_hash(b"%d" % version), 10 + version, 5]]
    return {"path": path, "mode": _FILE, "mtime": version, "chunks": chunks, **more}


def folder(path: str, version: int = 0) -> Item:
    return {"path": path, "mode": _FOLDER, "mtime": version}


_paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
_versions = st.integers(0, 2)
_items = st.one_of(
    st.builds(item, _paths, _versions),
    st.builds(folder, _paths, _versions),
    st.builds(lambda path, version: item(path, version, hardlink_master=True), _paths, _versions),
    st.builds(
        lambda path, source: {"path": path, "mode": _FILE, "mtime": 1, "source": source}, _paths, _paths
    ),
    st.builds(lambda path: {"path": path, "mode": _FILE, "mtime": "never"}, _paths),
    st.builds(lambda version: folder(".", version), _versions),
)


@settings(max_examples=60, deadline=None)
@given(
    archives=st.lists(st.lists(_items, max_size=12), min_size=2, max_size=7),
    cut=st.sampled_from([40, 150, 700]),
)
def test_what_was_read_before_changes_nothing(
    archives: list[list[Item]], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base, shelf = tmp_path_factory.mktemp("plot"), Shelf()
    together = Plot(base, shelf)
    for items in archives:
        chunks = shelf.add(items, cut)
        alone = Plot(base, shelf)
        assert together.plant(chunks) == alone.plant(chunks)
        alone.scratch.close()
    together.scratch.close()


def test_days_that_differ_a_little_and_machines_that_take_turns(tmp_path: Path) -> None:
    chance, shelf = random.Random(1), Shelf()
    together = Plot(tmp_path, shelf)
    machines = [
        {f"{name}/d{n % 9}/f{n}": item(f"{name}/d{n % 9}/f{n}", n) for n in range(300)} for name in "xyz"
    ]
    for _ in range(8):
        for files in machines:
            for path in chance.sample(sorted(files), 5):
                files[path] = item(path, chance.randrange(1000))
            files.pop(chance.choice(sorted(files)))
            chunks = shelf.add([files[path] for path in sorted(files)], 2000)
            alone = Plot(tmp_path, shelf)
            assert together.plant(chunks) == alone.plant(chunks)
            alone.scratch.close()
    together.scratch.close()


def test_of_an_archive_that_differs_a_little_the_new_chunks_alone_are_read(tmp_path: Path) -> None:
    shelf = Shelf()
    plot = Plot(tmp_path, shelf)
    items = [item(f"d/f{number:04}", number % 7) for number in range(1000)]
    first = shelf.add(items, 1000)
    plot.plant(first)
    items[500] = item("d/f0500", 6)
    second = shelf.add(items, 1000)
    shelf.fetched.clear()
    plot.plant(second)
    assert set(shelf.fetched) == set(second) - set(first)
    assert len(shelf.fetched) <= 2
    plot.scratch.close()


def test_a_list_that_is_cut_off_is_refused_and_the_next_archive_is_whole(tmp_path: Path) -> None:
    shelf = Shelf()
    plot = Plot(tmp_path, shelf)
    whole = shelf.add([item(f"f{number}") for number in range(50)], 500)
    expected = plot.plant(whole)
    with pytest.raises(Damaged, match="The list is cut off"):
        plot.plant(whole[:-1])
    assert plot.plant(whole) == expected
    plot.scratch.close()
