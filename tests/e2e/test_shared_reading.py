"""Chunks for many threads: right bytes, a bounded cache, and news of what others did to the repository."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from program import Program, patterned
from strongroom.archive.reading import ArchiveTree
from strongroom.commands.opening import Directories, Need, open_repository
from strongroom.errors import ChunkMissing, PackDamaged
from strongroom.ids import ChunkId
from strongroom.repository.repository import Repository
from strongroom.repository.shared_reading import SharedChunks

KiB = 1024


class Passphrases:
    def existing(self, subject: str, attempt: int) -> str:
        return "a secret"

    def new(self, subject: str) -> str:
        return "a secret"

    def at_hand(self) -> str:
        return "a secret"


@contextmanager
def opened(program: Program) -> Iterator[Repository]:
    base = Path(program.env["STRONGROOM_BASE_DIR"])
    config = base / ".config" / "strongroom"
    places = Directories(config, base / ".cache" / "strongroom", config / "keys", config / "security")
    with open_repository(
        str(program.repo), places, Passphrases(), confirm=lambda *_: True, need=Need.READ
    ) as repository:
        repository.load_index()
        yield repository


def contents(repository: Repository, chunks: SharedChunks, archive: str) -> dict[bytes, list[ChunkId]]:
    """The chunks of each file."""
    meta = repository.archive_meta(repository.archive_by_name(archive).id)
    tree = ArchiveTree(chunks, meta)
    return {entry.name: [chunk for chunk, _ in entry.chunks()] for _, entry in tree.walk() if entry.size}


@pytest.fixture
def files(sr: Program, src: Path) -> dict[bytes, bytes]:
    made = {b"%03d" % number: patterned(700 * KiB + number, number) for number in range(12)}
    for name, data in made.items():
        (src / name.decode()).write_bytes(data)
    sr("create", "-C", "none", "::a", "src").ok()
    return made


def test_many_threads_read_through_a_small_cache(sr: Program, files: dict[bytes, bytes]) -> None:
    with opened(sr) as repository, SharedChunks(repository, cache_bytes=2000 * KiB) as chunks:
        wanted = contents(repository, chunks, "a")
        assert wanted.keys() == files.keys()
        wrong: list[bytes] = []
        held: list[int] = []

        def run(step: int) -> None:
            names = sorted(wanted)[step:] + sorted(wanted)[:step]
            for name in names * 3:
                chunks.ahead(wanted[names[0]])
                data = b"".join(bytes(chunks.read(chunk)) for chunk in wanted[name])
                if data != files[name]:
                    wrong.append(name)
                held.append(chunks._held)

        threads = [threading.Thread(target=run, args=(step,)) for step in range(0, 12, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        # each thread may hold one more that is being opened
        assert max(held) <= (2000 + 6 * 1100) * KiB and chunks._held <= 2000 * KiB


def counted(get: Callable[..., Any], fetched: Counter[tuple[str, int]]) -> Callable[..., Any]:
    def counting(name: str, offset: int = 0, *how: Any) -> Any:
        fetched[name, offset] += 1
        return get(name, offset, *how)

    return counting


def test_what_many_ask_for_at_once_is_fetched_once(
    sr: Program, files: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(sr) as repository, SharedChunks(repository) as chunks:
        wanted = contents(repository, chunks, "a")[b"007"]
        fetched: Counter[tuple[str, int]] = Counter()
        all_there = threading.Barrier(8)
        for way in ("get", "get_into"):
            monkeypatch.setattr(repository.store, way, counted(getattr(repository.store, way), fetched))

        def run() -> None:
            all_there.wait()
            for chunk in wanted:
                chunks.read(chunk)

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert fetched and set(fetched.values()) == {1}


def test_what_others_wrote_since_is_found(sr: Program, files: dict[bytes, bytes], src: Path) -> None:
    with opened(sr) as repository, SharedChunks(repository) as chunks:
        before = contents(repository, chunks, "a")
        (src / "new").write_bytes(patterned(700 * KiB, 99))
        other = sr.another("other")
        other("create", "-C", "none", "::b", "src").ok()
        with opened(other) as theirs, SharedChunks(theirs) as their_chunks:
            wanted = contents(theirs, their_chunks, "b")
        (new,) = wanted.keys() - before.keys()
        assert b"".join(bytes(chunks.read(chunk)) for chunk in wanted[new]) == patterned(700 * KiB, 99)
        with pytest.raises(ChunkMissing):
            chunks.read(ChunkId(b"\1" * 32))


def test_damage_is_told_each_time_and_asks_for_news_once(
    sr: Program, files: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(sr) as repository, SharedChunks(repository) as chunks:
        wanted = contents(repository, chunks, "a")
        for pack in sr.repo.glob("packs/*/*"):
            blob = bytearray(pack.read_bytes())
            for at in range(100 * KiB, len(blob) - 100 * KiB, 100 * KiB):
                blob[at] ^= 1
            pack.chmod(0o600)
            pack.write_bytes(blob)
        synced: list[int] = []
        sync = repository.history.sync
        monkeypatch.setattr(repository.history, "sync", lambda: (synced.append(1), sync())[1])
        for name in wanted:
            chunks.ahead(wanted[name])
            for _ in range(2):
                with pytest.raises(PackDamaged):
                    for chunk in wanted[name]:
                        chunks.read(chunk)
        assert synced == [1]
