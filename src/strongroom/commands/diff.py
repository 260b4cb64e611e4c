"""What changed from one archive to another, in time proportional to the change."""

from collections.abc import Iterator

import msgspec

from strongroom.archive.changes import Appeared, Change, Concerns, Vanished, changes_of
from strongroom.archive.differences import Pair, different
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.reading import ArchiveTree
from strongroom.archive.same_content import ContentComparison, Modified
from strongroom.commands.listing import tell_unmatched
from strongroom.reporting import Reporter
from strongroom.repository.repository import Repository


class Difference(msgspec.Struct, frozen=True):
    """A path, its entries (None where it does not exist), and what changed."""

    pair: Pair
    changes: list[Change]

    @property
    def added(self) -> int:
        """Bytes of content that only the new side has, as far as is known."""
        return sum(
            one.size if isinstance(one, Appeared) else one.added or 0
            for one in self.changes
            if isinstance(one, Appeared | Modified)
        )

    @property
    def removed(self) -> int:
        return sum(
            one.size if isinstance(one, Vanished) else one.removed or 0
            for one in self.changes
            if isinstance(one, Vanished | Modified)
        )


def diff_archives(
    repository: Repository,
    old: str,
    new: str,
    matcher: PatternMatcher,
    concerns: Concerns,
    reporter: Reporter,
    *,
    same_chunker: bool = False,
) -> Iterator[Difference]:
    """Folders before what they hold, in the order of names.

    `same_chunker`: take it for granted that both archives were cut by the same parameters.
    Raises `ArchiveMissing`, `RoleInsufficient`, `Damaged`, and the store's errors.
    """
    metas = [repository.archive_meta(repository.archive_by_name(name).id) for name in (old, new)]
    comparable = same_chunker or metas[0].chunker == metas[1].chunker
    if not comparable:
        reporter.info("The archives were cut by different parameters: their files are read to compare them.")
    repository.load_index()
    chunks = repository.chunk_reader()
    trees = [ArchiveTree(chunks, meta) for meta in metas]
    contents = ContentComparison(repository.chunk_reader().read, comparable=comparable)
    for pair in different(trees[0], trees[1], matcher.may_match_below):
        if not matcher.is_trivial and not matcher.match(pair.path):
            continue
        found = changes_of(pair.old, pair.new, contents.compare, concerns)
        if found:
            yield Difference(pair, found)
    _look_for_unchanged(trees, matcher)
    tell_unmatched(matcher, reporter)


def _look_for_unchanged(trees: list[ArchiveTree], matcher: PatternMatcher) -> None:
    """A PATH may well be there, and have been passed by because nothing in it changed."""
    for tree in trees:
        for path, entry in tree.walk(enters=matcher.may_match_below):
            if not matcher.unmatched_includes():
                return
            if not entry.implied:
                matcher.match(path)
