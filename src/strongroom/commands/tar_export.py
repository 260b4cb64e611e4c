"""An archive's files as a tar archive."""

import os
from collections.abc import Callable, Iterator

from strongroom.archive.entries import HOLE, Entry
from strongroom.archive.lookahead import Lookahead
from strongroom.archive.overlays import Names
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.pieces import Out
from strongroom.archive.reading import ArchiveTree
from strongroom.archive.tar_writing import TarFormat, TarWriter
from strongroom.commands.listing import tell_unmatched
from strongroom.errors import Damaged
from strongroom.ids import ChunkId
from strongroom.reporting import BACKUP_ERROR, Notice, Progress, Reporter
from strongroom.repository.repository import Repository
from strongroom.repository.shared_reading import SharedChunks

_ZEROS = memoryview(bytes(1 << 20))


def export_tar(
    repository: Repository,
    name: str,
    matcher: PatternMatcher,
    strip_components: int,
    form: TarFormat,
    out: Out,
    reporter: Reporter,
) -> None:
    """What is lost reads as zeros, with a warning: the rest must not be lost with it.

    Raises `ArchiveMissing`, `RoleInsufficient`, the store's errors, and OSError of `out`.
    """
    meta = repository.archive_meta(repository.archive_by_name(name).id)
    repository.load_index()
    progress = Progress()
    writer = TarWriter(out, form)
    firsts: dict[bytes, bytes] = {}
    names = Names(firsts) if strip_components else None

    def lost(folder: bytes, error: Damaged) -> None:
        _warn(reporter, folder, f"what is in this folder cannot be read: {error}")

    def chosen() -> Iterator[tuple[bytes, Entry]]:
        for path, entry in ArchiveTree(chunks, meta).walk(lost, matcher.may_match_below):
            if not entry.implied and path.count(b"/") >= strip_components and matcher.match(path):
                yield path, entry

    with SharedChunks(repository) as chunks:
        files = Lookahead(chosen(), chunks)
        for path, entry in files:
            if reporter.wants_files:
                reporter.file("", path)
            progress.files, progress.path = progress.files + 1, path
            stripped = b"/".join(path.split(b"/")[strip_components:])
            if names is not None:
                if entry.link is not None and entry.link == names.group(stripped):
                    continue  # another name of the same file became the same
                names.remove(stripped)  # whoever unpacks it replaces what came before
            first = None if entry.link is None else firsts.setdefault(entry.link, stripped)
            if names is not None and entry.link is not None:
                names.add(stripped, entry.link)
            if first is not None and first != stripped:
                writer.add_link(stripped, entry, first)
            else:
                writer.add(stripped, entry, _content(path, entry, files.read, reporter, progress))
            reporter.progress("export-tar", progress)
    writer.finish()
    reporter.progress("export-tar", progress, finished=True)
    tell_unmatched(matcher, reporter)


def _content(
    path: bytes, entry: Entry, read: Callable[[ChunkId], memoryview], reporter: Reporter, progress: Progress
) -> Iterator[memoryview]:
    at = 0
    for chunk, size in entry.chunks() if entry.is_regular else ():
        data = None
        if chunk != HOLE:
            try:
                data = read(chunk)
            except Damaged as error:
                _warn(reporter, path, f"bytes {at} to {at + size - 1} are lost, they are zeros: {error}")
            if data is not None and len(data) != size:
                _warn(reporter, path, f"bytes {at} to {at + size - 1} are lost, they are zeros: wrong size")
                data = None
        if data is not None:
            yield data
        else:
            for start in range(0, size, len(_ZEROS)):
                yield _ZEROS[: size - start]
        at += size
        progress.original += size


def _warn(reporter: Reporter, path: bytes, what: str) -> None:
    reporter.warn(Notice(f"{os.fsdecode(path)}: {what}", *BACKUP_ERROR))
