"""Repositories of any size within minutes: files whose content was never there.

Log, refs, index, packs, trees and archive objects are genuine and written by the program's own code.
Only the bundles of files' content hold random bytes, and chunk ids are random: whatever opens no file works
as on a true repository.
"""

import itertools
import os
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from strongroom.archive import trees
from strongroom.archive.entries import Entry
from strongroom.commands.opening import Directories, open_repository
from strongroom.crypto import hashing
from strongroom.crypto.sealing import DATA, OVERHEAD, TREE
from strongroom.ids import ID_SIZE, NameTag, PackId, RefsId
from strongroom.repository import archives, packs, refs
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.bundles import BundleEncoder
from strongroom.repository.compression import parse_compression
from strongroom.repository.keyfiles import Need
from strongroom.repository.log import ArchiveBody
from strongroom.repository.packs import BundleEntry, IndexedPack, Trailer
from strongroom.repository.repository import Repository

BUNDLE_CHUNKS = 250  # of content
BUNDLE_BYTES = 64
PACK_CHUNKS = 10_000  # of content
TREE_TARGET = 1 << 20  # bytes of plaintext in a bundle of trees
CHUNK = 20_000  # bytes that a file is said to have for each of its chunks
DAY = 24 * 3600 * 10**9  # ns


@dataclass
class Shape:
    """Of a folder at the top: how many folders are in it, files in each of these, chunks in each file."""

    folders: int
    files: int
    chunks: int


@dataclass
class Folder:
    tree: bytes
    uses: bytes  # what the archive's refs list for it, its own tree's segments last


@dataclass
class _Pack:
    body: list[bytes] = field(default_factory=lambda: [packs.HEADER])
    used: int = len(packs.HEADER)
    bundles: list[BundleEntry] = field(default_factory=list)
    chunks: int = 0  # of content


class Filler:
    """Makes archives, one after the other, from folders that `folder` has made."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._session = repository.session_writer()
        self._encoder = BundleEncoder(parse_compression("zstd,1"))
        self._chunk_id = repository.chunk_hasher()
        self._trees: dict[bytes, bytes] = {}  # segments that wait for their bundle
        self._waiting = 0  # bytes of them
        self._stored: set[bytes] = set()  # segments that are in a bundle
        self._pack = _Pack()
        self._tables: list[IndexedPack] = []
        self._refs: set[RefsId] = set()
        self._now = time.time_ns()

    def folder(self, number: int, shape: Shape) -> tuple[list[Folder], Callable[[int, int], None]]:
        """The folders below a new one, and what makes one of them anew, with another first file."""
        inner = [self._inner(number, one, shape) for one in range(shape.folders)]

        def change(one: int, serial: int) -> None:
            inner[one] = self._inner(number, one, shape, inner[one].uses, serial)

        return inner, change

    def _inner(self, number: int, one: int, shape: Shape, before: bytes = b"", serial: int = 0) -> Folder:
        step = ID_SIZE * shape.chunks
        fresh = os.urandom(step if before else step * shape.files)
        content = fresh + before[step : step * shape.files]
        self._add_content(fresh)
        entries = [
            _entry(b"file %07d" % at, stat.S_IFREG | 0o644, content[at * step : (at + 1) * step], serial)
            for at in range(shape.files)
        ]
        tree = self._add_tree(entries)
        return Folder(tree, content + tree)

    def archive(self, name: str, tops: list[list[Folder]], files: int, age: int) -> None:
        """Of these folders; it is `age` ns old by its own word."""
        writer = refs.RefsWriter(self._put_refs, self._repository.is_freed_refs)
        root = []
        for number, inner in enumerate(tops):
            names = (b"%03d" % at for at in range(len(inner)))
            rows = [_entry(one, stat.S_IFDIR | 0o755, of.tree) for one, of in zip(names, inner, strict=True)]
            tree = self._add_tree(rows)
            for of in inner:
                writer.add_all(of.uses)
            writer.add_all(tree)
            root.append(_entry(b"%06d" % number, stat.S_IFDIR | 0o755, tree))
        tree = self._add_tree(root)
        writer.add_all(tree)
        self._flush_trees()
        self._end_pack()
        start = self._now - age
        top = trees.encode_root(_entry(b"", stat.S_IFDIR | 0o755, tree))
        self._commit(ArchiveMeta(name, start, start + 10**9, top, files=files), writer)

    def _add_content(self, joined: bytes) -> None:
        step = ID_SIZE * BUNDLE_CHUNKS
        for at in range(0, len(joined), step):
            self._add_bundle(DATA, joined[at : at + step], os.urandom(BUNDLE_BYTES))

    def _add_tree(self, entries: list[Entry]) -> bytes:
        ids = []
        for segment in trees.encode_tree(entries):
            one = self._chunk_id(segment)
            ids.append(one)
            if one not in self._stored:
                self._stored.add(one)
                self._trees[one] = segment
                self._waiting += len(segment)
        if self._waiting >= TREE_TARGET:
            self._flush_trees()
        return b"".join(ids)

    def _flush_trees(self) -> None:
        if self._trees:
            plain = self._encoder.encode(list(self._trees.values()))
            sealed = bytearray(len(plain) + OVERHEAD)
            self._session.encrypt_into(TREE, plain, memoryview(sealed))
            self._add_bundle(TREE, b"".join(self._trees), bytes(sealed))
            self._trees, self._waiting = {}, 0

    def _add_bundle(self, kind: int, ids: bytes, sealed: bytes) -> None:
        pack = self._pack
        pack.bundles.append(BundleEntry(pack.used, len(sealed), kind, 0, ids))
        pack.body.append(sealed)
        pack.used += len(sealed)
        pack.chunks += len(ids) // ID_SIZE
        if pack.chunks >= PACK_CHUNKS:
            self._end_pack()

    def _end_pack(self) -> None:
        pack = self._pack
        if not pack.bundles:
            return
        self._pack = _Pack()
        trailer = packs.encode_trailer(Trailer([self._session.sealed], pack.bundles))
        blob = b"".join((*pack.body, trailer))
        one = PackId(hashing.plain_hash(blob))
        self._repository.put_if_new(packs.name(one), blob)
        self._tables.append(IndexedPack(one, len(blob), pack.bundles))

    def _put_refs(self, block: RefsId, blob: bytes) -> None:
        if block not in self._refs:
            self._refs.add(block)
            self._repository.put_if_new(refs.name(block), blob)

    def _commit(self, meta: ArchiveMeta, writer: refs.RefsWriter) -> None:
        repository = self._repository
        tables, self._tables = self._tables, []
        indexes = []
        for group in packs.index_groups(tables):
            index, blob = packs.encode_index(group)
            repository.put_if_new(packs.index_name(index), blob)
            indexes.append(index)
        root = RefsId(writer.finish())
        archive, blob = archives.encode(meta, root, repository.session_writer())
        repository.put_if_new(archives.name(archive), blob)
        body = ArchiveBody(
            archive,
            NameTag(hashing.name_tag(repository.require_key().id_key, meta.name)),
            b"".join(table.pack for table in tables),
            b"".join(indexes),
            sum(table.size for table in tables),
            sum(len(bundle.chunks) // ID_SIZE for table in tables for bundle in table.bundles),
            writer.count,
        )
        repository.commit("archive", lambda _: body)


def _entry(name: bytes, mode: int, content: bytes, serial: int = 0) -> Entry:
    count = len(content) // ID_SIZE if stat.S_ISREG(mode) else 0
    sizes = [CHUNK] * count if count > 1 else None
    return Entry(
        name, mode, 1000, 1000, "me", "us", 1_700_000_000 * 10**9 + serial, CHUNK * count, content, sizes
    )


def many_chunks(filler: Filler, chunks: int) -> int:
    """Ten archives, each with all that is in the one before and as much again; returns how many."""
    shape = Shape(10, 10, 100)
    tops: list[list[Folder]] = []
    for number in range(10):
        for _ in range(max(1, chunks // 100_000)):
            tops.append(filler.folder(len(tops), shape)[0])
        filler.archive(f"archive-{number:05}", tops, 100 * len(tops), (10 - number) * DAY)
    return 10


def many_files(filler: Filler, files: int) -> int:
    """Two archives that differ in a file of one folder in ten; returns how many."""
    shape = Shape(100, 100, 1)
    made = [filler.folder(number, shape) for number in range(max(1, files // 10_000))]
    tops = [inner for inner, _ in made]
    filler.archive("archive-00000", tops, files, 2 * DAY)
    for _, change in itertools.islice(made, 0, None, max(1, len(made) // 10)):
        change(7, 1)
    filler.archive("archive-00001", tops, files, DAY)
    return 2


def many_archives(filler: Filler, count: int) -> int:
    """Of 200 files, one of which is another one than in the archive before; returns how many."""
    inner, change = filler.folder(0, Shape(10, 20, 1))
    for number in range(count):
        change(number % 10, number)
        filler.archive(f"archive-{number:05}", [inner], 200, (count - number) * DAY // 4)
    return count


AXES: dict[str, Callable[[Filler, int], int]] = {
    "chunks": many_chunks,
    "files": many_files,
    "archives": many_archives,
}


class Passphrases:
    def at_hand(self) -> str:
        return "x"

    def existing(self, subject: str, attempt: int) -> str:
        return "x"

    def new(self, subject: str) -> str:
        return "x"


def fill(repository: str, base: Path, make: Callable[[Filler], int]) -> int:
    """What `make` returns, called for a repository whose passphrase is x; `base` has what is known of it."""
    with (
        mock.patch("os.fsync"),  # what is lost is made again
        tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as memory,
    ):
        directories = Directories(base, Path(memory), base / "keys", base / "security")
        with open_repository(
            repository, directories, Passphrases(), confirm=lambda *_: True, need=Need.WRITE
        ) as opened:
            return make(Filler(opened))
