"""Send the content of an archive's files to a stream."""

import os
from collections.abc import Iterator

from strongroom.archive.entries import Entry
from strongroom.archive.lookahead import Lookahead
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.pieces import Out, pieces
from strongroom.archive.reading import ArchiveTree
from strongroom.commands.listing import tell_unmatched
from strongroom.errors import Damaged
from strongroom.reporting import Reporter
from strongroom.repository.repository import Repository
from strongroom.repository.shared_reading import SharedChunks


def extract_to_stream(
    repository: Repository, name: str, matcher: PatternMatcher, out: Out, reporter: Reporter
) -> None:
    """The content of all regular files that match, one behind the other, in the order of the archive."""
    meta = repository.archive_meta(repository.archive_by_name(name).id)
    repository.load_index()

    def chosen() -> Iterator[tuple[bytes, Entry]]:
        for path, entry in ArchiveTree(chunks, meta).walk():
            if entry.is_regular and matcher.match(path):
                yield path, entry

    with SharedChunks(repository) as chunks:
        files = Lookahead(chosen(), chunks)
        for path, entry in files:
            if reporter.wants_files:
                reporter.file("", path)
            try:
                for piece in pieces(entry, files.read):
                    out.write(piece)
            except Damaged as error:
                raise Damaged(f"{os.fsdecode(path)}: {error}") from error
    tell_unmatched(matcher, reporter)
