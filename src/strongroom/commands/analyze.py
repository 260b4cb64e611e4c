"""Which folders make a repository grow, from one archive to the next."""

from collections.abc import Iterator

import msgspec

from strongroom.archive.differences import Pair, different
from strongroom.archive.entries import HOLE, Entry
from strongroom.archive.reading import ArchiveTree
from strongroom.commands.listing import ArchiveFilter, in_time, list_archives
from strongroom.commands.results import ArchiveInfo
from strongroom.commands.sizes import chunks_beyond, stored_share
from strongroom.errors import CommandError
from strongroom.ids import ChunkId
from strongroom.reporting import Progress, Reporter
from strongroom.repository.repository import Repository


class Growth(msgspec.Struct):
    """What happened in a folder, at any depth or, with no limit to the depth, directly; in bytes."""

    path: bytes
    stored: int = 0  # that came to the repository with chunks which the archive before did not have
    added: int = 0  # of content, in chunks that the file did not have before
    removed: int = 0
    files: int = 0  # how often one was added, changed or removed


def analyze_archives(
    repository: Repository, chosen: ArchiveFilter, depth: int | None, reporter: Reporter
) -> list[Growth]:
    """Sums over all archives that fit, each compared with the one before it of the same machine.

    Folders deeper than `depth` count for the one at that depth. What moved is no growth. Raises
    `CommandError` for less than two archives, `RoleInsufficient`, `Damaged`, and the store's errors.
    """
    pairs = list(_neighbours(in_time(list_archives(repository, chosen), reporter)))
    if not pairs:
        raise CommandError("Two archives of one machine are needed: their difference is analyzed.")
    repository.load_index()
    chunks = repository.chunk_reader()
    found: dict[bytes, Growth] = {}
    progress = Progress()
    for old, new in pairs:
        progress.path = (new.name or "").encode("utf-8", "surrogateescape")
        reporter.progress("analyze", progress)
        trees = [ArchiveTree(chunks, repository.archive_meta(info.id)) for info in (old, new)]
        fresh = chunks_beyond(repository, [new.id], [old.id])
        for pair in different(trees[0], trees[1], lambda _: True):
            _count(repository, pair, depth, fresh, found)
    reporter.progress("analyze", progress, finished=True)
    return list(found.values())


def _neighbours(infos: list[ArchiveInfo]) -> Iterator[tuple[ArchiveInfo, ArchiveInfo]]:
    last: dict[str, ArchiveInfo] = {}
    for info in infos:
        if info.hostname in last:
            yield last[info.hostname], info
        last[info.hostname] = info


def _count(
    repository: Repository, pair: Pair, depth: int | None, fresh: set[bytes], found: dict[bytes, Growth]
) -> None:
    before, after = _chunks(pair.old), _chunks(pair.new)
    if before == after:
        return
    folder = pair.path.split(b"/")[:-1]
    path = b"/".join(folder if depth is None else folder[:depth]) or b"."
    growth = found.setdefault(path, Growth(path))
    growth.files += 1
    growth.added += sum(size for chunk, size in after.items() if chunk not in before)
    growth.removed += sum(size for chunk, size in before.items() if chunk not in after)
    for chunk in after.keys() & fresh:
        growth.stored += stored_share(repository, ChunkId(chunk))
        fresh.discard(chunk)  # it came once, however many files have it


def _chunks(entry: Entry | None) -> dict[bytes, int]:
    if entry is None or not entry.is_regular:
        return {}
    return {chunk: size for chunk, size in entry.chunks() if chunk != HOLE}
