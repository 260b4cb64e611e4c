"""What is served: the archives of a repository, each under a name of its own, and what is in them."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from strongroom.archive.browsing import Browser, FixedFolder, Folder, Node, entries_of
from strongroom.archive.content import FileContent
from strongroom.archive.entries import Entry
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.reading import ArchiveTree
from strongroom.commands.browsing import archive_top, made_folder, named_archives
from strongroom.commands.listing import ArchiveFilter, find_archive
from strongroom.commands.results import ArchiveInfo
from strongroom.errors import Damaged, StrongroomError
from strongroom.ids import ArchiveId
from strongroom.reporting import IO_ERROR, Notice, Reporter
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.repository import Repository
from strongroom.repository.shared_reading import SharedChunks

_NEWS_EVERY = 30.0  # seconds: how often the list of archives looks for new ones
_LARGE = 1000  # entries whose order is remembered
_MOST_LINKS = 40  # one after the other, as in Linux
_EVERYTHING = PatternMatcher((), ())


class Shelved(msgspec.Struct, frozen=True):
    """One archive; `name` is what its addresses have, and no other archive of the repository."""

    name: bytes
    info: ArchiveInfo
    meta: ArchiveMeta
    tree: ArchiveTree


class Library:
    """For any thread."""

    def __init__(
        self,
        repository: Repository,
        chunks: SharedChunks,
        archive: str | None,
        wanted: ArchiveFilter,
        reporter: Reporter,
    ) -> None:
        """Of one archive, or of those that are wanted. The repository's index must be loaded.

        Raises `ArchiveMissing`, `Damaged`, `RoleInsufficient`, and the store's errors.
        """
        self.chunks = chunks
        self.location = repository.store.describe()
        self._repository = repository
        self._archive = archive
        self._wanted = wanted
        self._reporter = reporter
        self._news = threading.Lock()
        self._order: tuple[tuple[bytes, str], list[bytes]] | None = None
        self._read()

    def _read(self) -> None:
        repository, chunks = self._repository, self.chunks
        if self._archive is not None:
            # one that is asked for by name tells why it cannot be shown
            repository.archive_meta(find_archive(repository, self._archive).id)
        shelves: dict[bytes, Shelved] = {}
        nodes: dict[bytes, Node] = {}
        for name, info, meta in named_archives(repository, self._wanted, self._reporter):
            if self._archive is None or meta.name == self._archive:
                shelves[name] = Shelved(name, info, meta, ArchiveTree(chunks, meta))
                nodes[name] = archive_top(chunks, info, meta, _EVERYTHING, 0)
        self._shelves = shelves
        self._by_id = {shelf.info.id: shelf for shelf in shelves.values()}
        self._browser = Browser(FixedFolder(made_folder(time.time_ns()), repository.id, nodes))
        self._state = repository.state.head.seq
        self._read_at = time.monotonic()

    def look_for_news(self) -> None:
        """Take in what was archived and deleted since. Raises the store's errors, and those of the log."""
        with self._news:
            if time.monotonic() - self._read_at < _NEWS_EVERY:
                return
            with self.chunks.exclusive:
                self._repository.history.sync()
                self._read_at = time.monotonic()
                if self._repository.state.head.seq != self._state:
                    self._repository.load_index()
                    self._read()

    def archives(self) -> list[Shelved]:
        """Oldest first."""
        return sorted(self._shelves.values(), key=lambda one: (one.meta.start, one.info.seq))

    def archive(self, name: bytes) -> Shelved:
        """Raises `FileNotFoundError`."""
        shelf = self._shelves.get(name)
        if shelf is None:
            raise FileNotFoundError(name)
        return shelf

    def by_id(self, archive: ArchiveId) -> Shelved:
        """Raises `FileNotFoundError`."""
        shelf = self._by_id.get(archive)
        if shelf is None:
            raise FileNotFoundError(archive.hex())
        return shelf

    def node(self, parts: Sequence[bytes]) -> Node:
        """The first part is an archive's name; no part is a folder of all of them.

        Raises FileNotFoundError, NotADirectoryError, `Damaged`, and the store's errors.
        """
        return self._browser.find(b"".join(b"/" + part for part in parts))

    def followed(self, parts: Sequence[bytes]) -> Node | None:
        """Where links lead, as if the archive were a disk of its own; None if to nothing in it.

        Of parts that are there. Raises what `node` raises, but for a target that is missing or damaged.
        """
        # what they are in is no link: it is there under these very names
        above = max(1, len(parts) - 1)
        place, ahead, links = list(parts[:above]), list(parts[above:]), 0
        try:
            while ahead:
                name = ahead.pop()
                if name == b"..":
                    del place[max(1, len(place) - 1) :]
                if name in (b"", b".", b".."):
                    continue
                target = self.node((*place, name)).entry.target
                if target is None:
                    place.append(name)
                    continue
                links += 1
                if links > _MOST_LINKS:
                    return None
                if target.startswith(b"/"):
                    del place[1:]
                ahead += reversed(target.split(b"/"))
            return self.node(place)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Damaged as error:
            self._reporter.warn(Notice(f"{os.fsdecode(b'/'.join(parts))}: {error}", *IO_ERROR))
            return None

    def children(self, folder: Folder) -> Mapping[bytes, Node]:
        """Raises `Damaged`, and the store's errors."""
        return self._browser.children(folder)

    def order(
        self, folder: Folder, how: str, sort: Callable[[Iterable[tuple[bytes, Entry]]], list[bytes]]
    ) -> list[bytes]:
        """Names sorted by `sort`, called `how`. Of the last large folder it is kept: pages follow pages.

        Raises what `children` raises.
        """
        kept = self._order
        if kept is not None and kept[0] == (folder.key, how):
            return kept[1]
        names = sort(entries_of(self.children(folder)))
        if len(names) >= _LARGE:
            self._order = (folder.key, how), names
        return names

    def tell(self, error: StrongroomError) -> None:
        """In the terminal, of what a page could show no further."""
        self._reporter.warn(Notice(str(error), error.msgid))

    def content(self, entry: Entry) -> FileContent:
        """Of a regular file."""
        return FileContent(entry, self.chunks)
