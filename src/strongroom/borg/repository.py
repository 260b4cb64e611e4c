"""A Borg repository in the shape of ours, so that every command that reads works on it. Read-only."""

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from strongroom.archive import trees
from strongroom.archive.reading import ArchiveTree
from strongroom.borg.hollow import HollowStore
from strongroom.borg.keys import Opener
from strongroom.borg.manifest import Metadata, Named, read_manifest, read_metadata
from strongroom.borg.objects import MANIFEST, Objects, expected
from strongroom.borg.planting import Planted, Planter
from strongroom.borg.promises import Promises
from strongroom.borg.reading import BorgBundleReader, BorgIndex
from strongroom.borg.runs import Runs
from strongroom.borg.scratch import Scratch
from strongroom.crypto.keys import Protection
from strongroom.errors import ArchiveMissing, Damaged, StrongroomError, VersionUnknown
from strongroom.ids import ArchiveId, ChunkId, KeyId, RefsId
from strongroom.reporting import Reporter
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.founding import Founding
from strongroom.repository.log import ArchiveBody, ArchiveState
from strongroom.repository.reading import ChunkReader
from strongroom.repository.refs import RefsWriter
from strongroom.repository.repository import Repository

_USES = b"uses-"
_HOLDS = b"holds-"
_NOBODY = KeyId(bytes(16))


class BorgRepository(Repository):
    """Archives are turned into trees when they are first looked into, in working space on the disk."""

    def __init__(
        self,
        objects: Objects,
        opener: Opener,
        scratch: Scratch,
        location: str,
        cache: Path,
        security: Path,
        reporter: Reporter,
        *,
        with_checkpoints: bool,
        with_parts: bool,
    ) -> None:
        """Takes `objects` and `scratch` over. Raises `Damaged`, `VersionUnknown`."""
        self._objects = objects
        self._opener = opener
        self._scratch = scratch
        self._planting = threading.Lock()
        self._planted: dict[ArchiveId, ArchiveMeta] = {}
        self._roots: dict[ArchiveId, RefsId] = {}
        self._metadata: dict[ArchiveId, Metadata] = {}
        self.manifest = read_manifest(
            objects, opener, location, lambda text: reporter.outcome(text, unexpected=True)
        )
        named = self.manifest.archives
        created = named[0].time if named else 0  # Borg does not keep it: no later than the oldest archive
        super().__init__(HollowStore(location), objects.id, _founding(opener, created), cache, security)
        self.reporter = reporter
        self._promises = Promises(
            lambda archive: trees.decode_root(self.archive_meta(archive).root),
            lambda chunk: self.bundle_reader().tree(chunk),
        )
        self.index = BorgIndex(objects, scratch, self._promises)
        self._planter = Planter(
            scratch, Runs(scratch, self._fetch, lambda chunk: chunk in self.index, with_parts=with_parts)
        )
        self._named = {one.name: one for one in named}
        self._by_id = {one.id: one for one in named}
        for seq, one in enumerate(named, start=1):
            if with_checkpoints or not one.is_checkpoint:
                self.state.archives[one.id] = _state(one, seq, self._known_uses(one))
        self.state.stored = objects.stored_bytes()
        self.state.last_time = max((one.time for one in named), default=0)

    # --- what our own repositories ask their log, cache and keys ---

    @property
    def can_open(self) -> bool:
        return True

    @property
    def mode(self) -> str:
        """As for `borg init --encryption`."""
        return self._opener.mode.name

    def load_index(self) -> None:
        """There is nothing to load: objects are looked up where they lie."""

    def forked_reader(self) -> None:
        """They come by one connection, and through what was read before."""
        return

    def bundle_reader(self, opened: Callable[[int], None] = lambda _: None) -> BorgBundleReader:
        return BorgBundleReader(self._objects, self._opener, self._scratch, self._promises)

    def chunk_reader(self) -> ChunkReader:
        return ChunkReader(self.index, self.bundle_reader(), lambda: None)

    def chunk_hasher(self) -> Callable[[bytes | bytearray | memoryview], ChunkId]:
        return self._opener.chunk_id

    # --- archives ---

    def archive_by_name(self, name: str) -> ArchiveState:
        """Raises `ArchiveMissing`."""
        one = self._named.get(name)
        if one is None:
            raise ArchiveMissing(f"Archive {name} does not exist in {self.store.describe()}.")
        if one.id not in self.state.archives:  # a checkpoint that was named
            self.state.archives[one.id] = _state(one, len(self._named), self._known_uses(one))
        return self.state.archives[one.id]

    def archive_metas(self, states: list[ArchiveState]) -> list[ArchiveMeta | StrongroomError]:
        """Their files are not read yet: the root promises them. One that cannot be read gives its error.

        Before Borg 1.2 an archive did not say how much it holds: that shows once its files were counted.
        """
        found: list[ArchiveMeta | StrongroomError] = []
        for state in states:
            try:
                found.append(self._meta(self._by_id[state.id], None))
            except (Damaged, VersionUnknown) as error:
                found.append(error)
        return found

    def archive_meta(self, archive: ArchiveId) -> ArchiveMeta:
        """With its root: all items of the archive are read. Raises `Damaged`, `VersionUnknown`."""
        with self._planting:
            known = self._planted.get(archive)
            if known is None:
                known = self._planted[archive] = self._plant(self._by_id[archive])
            return known

    def _meta(self, one: Named, planted: Planted | None) -> ArchiveMeta:
        about = self._metadata.get(one.id)
        if about is None:
            about = self._metadata[one.id] = read_metadata(self._objects, self._opener, one)
        files, size = about.files, about.size
        if files is None or size is None:
            files, size = self._known_sizes(one) if planted is None else (planted.files, planted.size)
        return ArchiveMeta(
            name=one.name,
            start=about.start,
            end=about.end,
            root=trees.encode_root(self._promises.root(one.id) if planted is None else planted.root),
            hostname=about.hostname,
            username=about.username,
            comment=about.comment,
            command_line=about.command_line,
            cwd=about.cwd,
            files=files,
            original=size,
            chunker=about.chunker,
            interrupted=one.is_checkpoint,
        )

    def _plant(self, one: Named) -> ArchiveMeta:
        about = self._meta(one, None)
        planted = self._planter.plant(
            self._metadata[one.id].items,
            f"The list of files of archive {about.name}",
            lambda text: self.tell_damage(f"Archive {about.name}: {text}"),
        )
        with self.cache.writing() as txn:
            self.cache.note(txn, _HOLDS + one.id, b"%d %d" % (planted.files, planted.size))
        return self._meta(one, planted)

    def _known_sizes(self, one: Named) -> tuple[int, int]:
        """Files and their bytes, if they were counted before: until 1.2 Borg kept neither."""
        with self.cache.reading("meta") as txn:
            files, size = (self.cache.noted(txn, _HOLDS + one.id) or b"0 0").split()
        return int(files), int(size)

    def _known_uses(self, one: Named) -> int:
        """How many chunks the archive uses, if an earlier run has counted: its size is remembered, too."""
        with self.cache.reading("meta") as txn:
            return int(self.cache.noted(txn, _USES + one.id) or b"0")

    def _fetch(self, chunks: Iterable[ChunkId]) -> Iterator[bytes]:
        """Parts of lists of items."""
        wanted = list(chunks)
        for chunk, stored in zip(wanted, self._objects.get_many(wanted), strict=True):
            self._scratch.put_all("sizes", [(chunk, len(stored).to_bytes(4, "big"))])
            yield self._opener.open(chunk, stored)

    # --- for a check ---

    def name_of(self, archive: ArchiveId) -> str:
        return self._by_id[archive].name

    def holds(self, chunk: ChunkId) -> bool:
        """Whether the object is there, whole or not."""
        return self._objects.holds(chunk)

    def verify_stored(self) -> Iterator[str]:
        """For each entry or object what is wrong with it, empty if nothing is. Raises the store's errors."""
        return self._objects.verify()

    def verify_opened(self) -> Iterator[tuple[ChunkId, str]]:
        """Every object, and what is wrong with it when it is opened, empty if nothing is."""
        for chunk in expected(self._objects):
            try:
                self._opener.open(chunk, self._objects.get(chunk), is_manifest=chunk == MANIFEST)
                yield chunk, ""
            except Damaged as error:
                yield chunk, str(error)

    def refs_root(self, archive: ArchiveId) -> RefsId:
        """Of the chunks of its lists and of its files. Raises as `archive_meta` does."""
        if archive not in self._roots:
            self._roots[archive] = self._count_uses(self._by_id[archive])
        return self._roots[archive]

    def _count_uses(self, one: Named) -> RefsId:
        tree = ArchiveTree(self.chunk_reader(), self.archive_meta(one.id))
        blocks: list[tuple[bytes, bytes]] = []
        refs = RefsWriter(lambda block, blob: blocks.append((block, blob)), lambda _: False)
        refs.add_all(one.id + b"".join(self._metadata[one.id].items))
        for _, entry in tree.walk():
            if entry.is_regular:
                refs.add_all(entry.content)
        root = refs.finish()
        self._scratch.put_all("refs", sorted(set(blocks)))
        state = self.state.archives[one.id]
        state.body = _state(one, state.seq, refs.count).body
        with self.cache.writing() as txn:
            self.cache.note(txn, _USES + one.id, b"%d" % refs.count)
        return root

    def refs_block(self, block: RefsId) -> bytes:
        blob = self._scratch.get("refs", block)
        assert blob is not None, "only what was worked out is asked for"
        return blob

    def close(self) -> None:
        self._objects.close()
        self._scratch.close()
        super().close()


def _founding(opener: Opener, created: int) -> Founding:
    mode = opener.mode
    protection: Protection = "none"
    if mode.storage != "none":
        protection = "sealed" if mode.encrypted else "authenticated"
    return Founding(
        nonce="",
        created=max(0, created),
        protection=protection,
        key_location="keyfile" if mode.storage == "keyfile" else "repokey",
        admin_key="",
        sealing_key="",
    )


def _state(one: Named, seq: int, chunks: int = 0) -> ArchiveState:
    body = ArchiveBody(one.id, bytes(32), b"", b"", 0, 0, chunks)
    return ArchiveState(one.id, seq, one.time, _NOBODY, body)
