"""Archives as folders: one archive, all of a repository, or all versions of each file."""

import os
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from blake3 import blake3

from strongroom.archive.browsing import (
    ArchiveFolder,
    Browser,
    FixedFolder,
    Node,
    Top,
    VersionsFolder,
    View,
    child_key,
)
from strongroom.archive.entries import Entry
from strongroom.archive.patterns import PatternMatcher
from strongroom.archive.reading import ArchiveTree
from strongroom.commands.listing import ArchiveFilter, find_archive, list_archives, unmatched
from strongroom.commands.results import ArchiveInfo
from strongroom.errors import Damaged
from strongroom.reporting import IO_ERROR, Notice, Reporter
from strongroom.repository.archives import ArchiveMeta
from strongroom.repository.repository import Repository
from strongroom.repository.shared_reading import SharedChunks

MOST_NAME = 255  # bytes of a file name that every program can take
_FORBIDDEN = {b"", b".", b".."}


def browse_archive(
    repository: Repository,
    chunks: SharedChunks,
    name: str,
    matcher: PatternMatcher,
    strip: int,
    reporter: Reporter,
) -> Browser:
    """A PATH that is not there is told: nothing would be seen, and nothing say why.

    Raises `ArchiveMissing`, `Damaged`, `RoleInsufficient`, and the store's errors.
    """
    info = find_archive(repository, name)
    meta = repository.archive_meta(info.id)
    tree = ArchiveTree(chunks, meta)
    for source, path in matcher.places():
        try:
            if tree.find(path) is None:
                reporter.warn(unmatched(source))
        except Damaged as error:  # what else is wanted may be sound
            reporter.warn(Notice(f"{source}: {error}", *IO_ERROR))
    return Browser(archive_top(chunks, info, meta, matcher, strip))


def browse_repository(
    repository: Repository,
    chunks: SharedChunks,
    wanted: ArchiveFilter,
    matcher: PatternMatcher,
    strip: int,
    reporter: Reporter,
) -> Browser:
    """Archives as folders, `by-name`, `by-host`, `by-date` and `latest` as links to them.

    Damaged archives are told and left out.
    """
    nodes: dict[bytes, Node] = {}
    shown: list[tuple[bytes, ArchiveInfo]] = []
    for name, info, meta in named_archives(repository, wanted, reporter):
        nodes[name] = archive_top(chunks, info, meta, matcher, strip)
        shown.append((name, info))
    key = blake3(repository.id).digest(16)
    for name, node in _views(key, shown).items():
        nodes.setdefault(name, node)  # an archive of that name comes first
    return Browser(FixedFolder(made_folder(_newest(shown)), key, nodes))


def browse_versions(
    repository: Repository,
    chunks: SharedChunks,
    wanted: ArchiveFilter,
    matcher: PatternMatcher,
    strip: int,
    reporter: Reporter,
) -> Browser:
    """The files of all archives in one tree, each a folder of its versions."""
    found = _readable(repository, wanted, reporter)
    found.sort(key=lambda one: (one[1].start, one[0].seq))
    views = [View(ArchiveTree(chunks, meta), matcher, info.id) for info, meta in found]
    entry = made_folder(max((meta.start for _, meta in found), default=time.time_ns()))
    key = blake3(repository.id + b"versions").digest(16)
    return Browser(Top(entry, key, VersionsFolder, views, strip))


def named_archives(
    repository: Repository, wanted: ArchiveFilter, reporter: Reporter
) -> Iterator[tuple[bytes, ArchiveInfo, ArchiveMeta]]:
    """Each under a name that a folder can have, and that no other has; damaged ones are told and left out."""
    taken: set[bytes] = set()
    for info, meta in _readable(repository, wanted, reporter):
        name = folder_name(os.fsencode(meta.name))
        if name in taken:
            name = folder_name(name[: MOST_NAME - 17] + b"." + info.id.hex()[:16].encode())
        taken.add(name)
        yield name, info, meta


def _readable(
    repository: Repository, wanted: ArchiveFilter, reporter: Reporter
) -> list[tuple[ArchiveInfo, ArchiveMeta]]:
    infos = list_archives(repository, wanted)
    metas = repository.archive_metas([repository.state.archives[info.id] for info in infos])
    found = []
    for info, meta in zip(infos, metas, strict=True):
        if isinstance(meta, ArchiveMeta):
            found.append((info, meta))
        else:
            reporter.warn(Notice(f"An archive cannot be shown: {meta}", "IntegrityError", 90))
    return found


def archive_top(
    chunks: SharedChunks, info: ArchiveInfo, meta: ArchiveMeta, matcher: PatternMatcher, strip: int
) -> Top:
    """An archive as a folder."""
    tree = ArchiveTree(chunks, meta)
    entry = made_folder(meta.start) if tree.root.implied or strip else tree.root
    key = blake3(info.id).digest(16)
    return Top(entry, key, ArchiveFolder, [View(tree, matcher, key)], strip)


def _views(key: bytes, shown: list[tuple[bytes, ArchiveInfo]]) -> dict[bytes, Node]:
    if not shown:
        return {}
    now = _newest(shown)
    names: dict[bytes, bytes] = {}
    hosts: dict[bytes, dict[bytes, bytes]] = {}
    dates: dict[bytes, dict[bytes, bytes]] = {}
    for name, info in shown:
        names[name] = b"../" + name
        host = folder_name(os.fsencode(info.hostname) or b"unknown")
        hosts.setdefault(host, {})[name] = b"../../" + name
        day = f"{_moment(info).astimezone():%Y-%m-%d}".encode()
        dates.setdefault(day, {})[name] = b"../../" + name
    latest, _ = max(shown, key=lambda one: (_moment(one[1]), one[1].seq))
    found: dict[bytes, Node] = {
        b"by-name": _links(child_key(key, b"by-name"), names, now),
        b"latest": _link(child_key(key, b"latest"), latest, now),
    }
    for view, groups in ((b"by-host", hosts), (b"by-date", dates)):
        inner = child_key(key, view)
        nodes: dict[bytes, Node] = {
            group: _links(child_key(inner, group), links, now) for group, links in groups.items()
        }
        found[view] = FixedFolder(made_folder(now), inner, nodes)
    return found


def _links(key: bytes, targets: dict[bytes, bytes], now: int) -> FixedFolder:
    nodes: dict[bytes, Node] = {
        name: _link(child_key(key, name), target, now) for name, target in targets.items()
    }
    return FixedFolder(made_folder(now), key, nodes)


def _link(key: bytes, target: bytes, now: int) -> Node:
    uid, gid = os.getuid(), os.getgid()
    return Node(Entry(b"", stat.S_IFLNK | 0o777, uid, gid, None, None, now, 0, b"", target=target), key)


def made_folder(time_ns: int) -> Entry:
    """A folder that is in no archive: its owner is who looks."""
    return Entry(b"", stat.S_IFDIR | 0o755, os.getuid(), os.getgid(), None, None, time_ns, 0, b"")


def folder_name(name: bytes) -> bytes:
    """A hostile client names archives and hosts: what no file can be called is written otherwise."""
    safe = name.replace(b"%", b"%25") if b"/" in name or b"\0" in name else name
    safe = safe.replace(b"/", b"%2F").replace(b"\0", b"%00")
    if safe in _FORBIDDEN:
        safe = b"%2E" * len(safe) or b"%"
    if len(safe) > MOST_NAME:
        safe = safe[: MOST_NAME - 17] + b"~" + blake3(name).hexdigest()[:16].encode()
    return safe


def _moment(info: ArchiveInfo) -> datetime:
    return info.start or datetime.fromtimestamp(0, UTC)


def _newest(shown: list[tuple[bytes, ArchiveInfo]]) -> int:
    if not shown:
        return time.time_ns()
    return int(max(_moment(info) for _, info in shown).timestamp()) * 10**9
