"""In which archives a path exists, in which versions, and since when it is gone."""

import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Sequence

import msgspec

from strongroom.archive.changes import Kind, kind_of
from strongroom.archive.entries import Entry
from strongroom.archive.histories import History, histories, history_of
from strongroom.archive.local_content import LocalContent
from strongroom.archive.patterns import PatternMatcher, Style, Verb, parse_pattern
from strongroom.archive.reading import ArchiveTree
from strongroom.commands.listing import ArchiveFilter, in_time, list_archives
from strongroom.commands.results import ArchiveInfo
from strongroom.reporting import Reporter
from strongroom.repository.repository import Repository


class Version(msgspec.Struct):
    """A path that stayed as it was over one or more archives of a machine that follow each other."""

    entry: Entry
    first: ArchiveInfo
    last: ArchiveInfo
    archives: int = 1
    gone: ArchiveInfo | None = None  # the first archive afterwards that does not have the path any more


class Found(msgspec.Struct):
    """A path on one machine, and those of its versions that were asked for, oldest first."""

    path: bytes
    host: str
    versions: list[Version] = []


class Wanted(msgspec.Struct, frozen=True):
    """What to find; the conditions are combined. Sizes in bytes, times in ns since the epoch."""

    patterns: tuple[str, ...] = ()  # any of them; none: every path
    kinds: frozenset[Kind] = frozenset()  # none: all
    least: int | None = None
    most: int | None = None
    after: int | None = None  # mtime
    before: int | None = None
    content: LocalContent | None = None
    gone: bool = False  # only what the newest archive that could have it does not have

    def has(self, entry: Entry) -> bool:
        return (
            (not self.kinds or kind_of(entry) in self.kinds)
            and ((self.least is None and self.most is None) or entry.is_regular)
            and (self.least is None or entry.size >= self.least)
            and (self.most is None or entry.size <= self.most)
            and (self.after is None or entry.mtime >= self.after)
            and (self.before is None or entry.mtime < self.before)
            and (self.content is None or self.content.is_content_of(entry))
        )


def find_paths(
    repository: Repository, chosen: ArchiveFilter, wanted: Wanted, reporter: Reporter
) -> Iterator[Found]:
    """Folders before what they hold, in the order of names; a path once for each machine that has it.

    Raises `CommandError`, `RoleInsufficient`, `Damaged`, and the store's errors.
    """
    infos = in_time(list_archives(repository, chosen), reporter)
    repository.load_index()
    chunks = repository.chunk_reader()
    trees = [ArchiveTree(chunks, repository.archive_meta(info.id)) for info in infos]
    matches, enters = _matcher(wanted.patterns)
    yield from find_in(trees, infos, wanted, matches, enters)


def find_in(
    trees: Sequence[ArchiveTree],
    infos: Sequence[ArchiveInfo],
    wanted: Wanted,
    matches: Callable[[bytes], bool],
    enters: Callable[[bytes], bool],
) -> Iterator[Found]:
    """The same in trees that are open, oldest first, for paths that match; `wanted.patterns` do not count."""
    for history in histories(trees, enters):
        if matches(history.path) and any(wanted.has(entry) for entry, _ in history.states):
            yield from _found(history, infos, wanted)


def find_path_in(trees: Sequence[ArchiveTree], infos: Sequence[ArchiveInfo], path: bytes) -> list[Found]:
    """One path, in trees that are open, oldest first. Raises `Damaged`, and the store's errors."""
    history = history_of(trees, path)
    return list(_found(history, infos, Wanted())) if history is not None else []


def _found(history: History, infos: Sequence[ArchiveInfo], wanted: Wanted) -> Iterator[Found]:
    entries = {number: entry for entry, numbers in history.states for number in numbers}
    hosts: dict[str, list[int]] = {}
    for number in sorted(entries):
        hosts.setdefault(infos[number].hostname, [])
    for number in sorted(history.covering | entries.keys()):
        if infos[number].hostname in hosts:
            hosts[infos[number].hostname].append(number)
    for host, numbers in hosts.items():
        versions = list(_versions(numbers, entries, infos))
        if wanted.gone and versions[-1].gone is None:
            continue
        versions = [version for version in versions if wanted.has(version.entry)]
        if versions:
            yield Found(history.path, host, versions)


def _versions(
    numbers: list[int], entries: dict[int, Entry], infos: Sequence[ArchiveInfo]
) -> Iterator[Version]:
    version: Version | None = None
    for number in numbers:
        entry = entries.get(number)
        if version is not None:
            if entry is not None and is_same_version(version.entry, entry):
                version.last = infos[number]
                version.archives += 1
                continue
            if entry is None:
                version.gone = infos[number]
            yield version
            version = None
        if entry is not None:
            version = Version(entry, infos[number], infos[number])
    if version is not None:
        yield version


def is_same_version(one: Entry, other: Entry) -> bool:
    """A folder is what it is called, allowed and owned; what happens in it is its files' history."""
    return one is other or _looks(one) == _looks(other)


def _looks(entry: Entry) -> tuple[object, ...]:
    looks = (
        entry.mode, entry.uid, entry.gid, entry.user, entry.group, entry.target, entry.rdev,
        entry.xattrs, entry.acl_access, entry.acl_default, entry.flags or 0,
    )  # fmt: skip
    return looks if entry.is_dir else (*looks, entry.mtime, entry.size, entry.content, entry.sizes)


def _matcher(
    patterns: Sequence[str],
) -> tuple[Callable[[bytes], bool], Callable[[bytes], bool]]:
    """Whether a path matches, and whether a folder may hold such paths.

    A pattern without a selector and without a slash is a glob for the name alone; with a slash it is
    a path, and matches all below it too.
    """
    if not patterns:
        return lambda _: True, lambda _: True
    names, paths = [], []
    for text in patterns:
        if "/" in text or text[2:3] == ":":
            paths.append(parse_pattern(text, Style.PREFIX, Verb.INCLUDE))
        else:
            names.append(fnmatch.translate(text))
    matcher = PatternMatcher((), paths) if paths else None
    if not names:
        assert matcher is not None
        return matcher.match, matcher.may_match_below
    by_name = re.compile("|".join(names)).match

    def matches(path: bytes) -> bool:
        name = os.fsdecode(path.rpartition(b"/")[2])
        return by_name(name) is not None or (matcher is not None and matcher.match(path))

    return matches, lambda _: True
