"""`strongroom create`."""

import os
import pwd
from argparse import Namespace
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli import reports
from strongroom.cli.argument_groups import add_patterns, attributes, ignore_statistics
from strongroom.cli.arguments import ARCHIVE, Parser
from strongroom.cli.formats import unescape
from strongroom.cli.options import add, octal, option
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from strongroom.archive.options import ScanOptions
    from strongroom.archive.patterns import PatternMatcher
    from strongroom.archive.scouting import Scout
    from strongroom.archive.sources import Sources
    from strongroom.cli.session import Session
    from strongroom.commands.create import CreateResult
    from strongroom.repository.repository import Repository

DEFAULT_COMPRESSION = "auto,zstd,2"

DESCRIPTION = "Back up files and folders, with all that is below them, into a new archive."

EPILOG = """
Paths are stored as they are given, without a leading slash. A /./ in a path marks where the
stored part begins: /mnt/snapshot/./home is stored as home. Data that the repository already
holds takes no space again, and files that did not change since the last archive are not read.

The archive's name may hold placeholders ("strongroom help placeholders"). For --exclude and
--pattern see "strongroom help patterns", for --compression "strongroom help compression".

What cannot be read is skipped with a warning, the rest is backed up, and the exit code is 1.
Ctrl-C stops cleanly: what was uploaded serves the next run. A second Ctrl-C stops at once.

--list shows a letter before each path, and --filter AME only those with one of these letters:
  A  file, added              d  folder             i  read from standard input
  M  file, modified           s  symbolic link      -  not backed up (dry run)
  U  file, unchanged          h  hard link          x  excluded
  C  file, changed while      b  block device       E  could not be read
     it was read              c  character device   ?  unknown
                              f  FIFO

--files-cache tells how an unchanged file is recognised: ctime,size,inode (default),
mtime,size,inode; without inode for network file systems that number files anew;
rechunk,ctime and rechunk,mtime read every file; disabled reads and remembers nothing.

A path of - stores standard input as a file called stdin (--stdin-name). --content-from-command
stores what a command prints, and makes no archive if the command fails. --paths-from-stdin and
--paths-from-command read the paths to back up, and go into no folder by themselves; what --exclude
and --pattern say does not count for them.

examples:
    strongroom create /mnt/backup::'{hostname}-{now:%Y-%m-%d}' ~/documents ~/pictures
    strongroom create --stats --list --filter AME --exclude-caches -e '*.o' ::'{now}' /home /etc
    mysqldump --all-databases | strongroom create --stdin-name all.sql ::'db-{now}' -
    strongroom create --content-from-command ::'db-{now}' -- mysqldump --all-databases
    find ~ -size -1000k -print0 | strongroom create --paths-from-stdin --paths-delimiter '\\0' ::small
"""

PLAIN_OPTIONS = (
    option(
        "-n", "--dry-run", action="store_true", help="create no archive, only show what would be backed up"
    ),
    option(
        "-s", "--stats", action="store_true", help="print statistics of the new archive and the repository"
    ),
    option("--quick-stats", action="store_true", help="print statistics of the new archive only"),
    option(
        "--list", dest="output_list", action="store_true", help="list files and folders with a status letter"
    ),
    option(
        "--filter",
        metavar="LETTERS",
        dest="output_filter",
        action=types.Once,
        help="list only what has one of these status letters",
    ),
    option("--json", action="store_true", help="print statistics as JSON (implies --stats)"),
    option(
        "--no-cache-sync",
        action="store_true",
        help="accepted for compatibility: there is nothing to synchronize",
    ),
    option(
        "--stdin-name",
        metavar="NAME",
        default="stdin",
        help='call the file of standard input NAME (default: "stdin")',
    ),
    option("--stdin-user", metavar="USER", default=None, help="let USER own that file (default: root)"),
    option("--stdin-group", metavar="GROUP", default=None, help="let GROUP own that file (default: root)"),
    option(
        "--stdin-mode",
        metavar="M",
        type=octal,
        default=0o660,
        help="give that file the permissions M (default: 0660)",
    ),
    option(
        "--content-from-command", action="store_true", help="take PATH as a command, and store what it prints"
    ),
    option("--paths-from-stdin", action="store_true", help="read the paths to back up from standard input"),
    option(
        "--paths-from-command",
        action="store_true",
        help="take PATH as a command that prints the paths to back up",
    ),
    option(
        "--paths-delimiter",
        metavar="DELIM",
        default=None,
        help="what stands between these paths (default: \\n)",
    ),
)

_KEPT = 1 << 20  # bytes of freed memory

_MORE_EXCLUDES = (
    option("--exclude-nodump", action="store_true", help="exclude files flagged NODUMP"),
    option("--exclude-dataless", action="store_true", help="accepted for compatibility (macOS only)"),
)

_FILE_SYSTEM = (
    option(
        "-x",
        "--one-file-system",
        action="store_true",
        help="do not enter folders that other file systems are mounted on",
    ),
    option("--numeric-owner", dest="numeric_ids", action="store_true", help="deprecated, use --numeric-ids"),
    option("--numeric-ids", action="store_true", help="store numbers of users and groups only"),
    option("--noatime", action="store_true", help="deprecated, this is the default"),
    option("--atime", action="store_true", help="store the time of last access"),
    option("--noctime", action="store_true", help="do not store the time of last status change"),
    option("--nobirthtime", action="store_true", help="do not store the time of creation"),
    option("--nobsdflags", dest="noflags", action="store_true", help="deprecated, use --noflags"),
    option("--noflags", action="store_true", help="do not store file flags (NODUMP, IMMUTABLE, ...)"),
    option("--noacls", action="store_true", help="do not store ACLs"),
    option("--noxattrs", action="store_true", help="do not store extended attributes"),
    option("--sparse", action="store_true", help="accepted for compatibility: holes are always found"),
    option(
        "--files-cache",
        metavar="MODE",
        dest="files_cache_mode",
        action=types.Once,
        type=types.files_cache_mode,
        default=None,
        help="how unchanged files are recognised (default: ctime,size,inode)",
    ),
    option(
        "--files-changed",
        metavar="MODE",
        action=types.Once,
        choices=("ctime", "mtime", "disabled"),
        default="ctime",
        help="accepted for compatibility: a file that changes while it is read is always noticed",
    ),
    option("--read-special", action="store_true", help="read devices and FIFOs as if they were files"),
)

ARCHIVE_OPTIONS = (
    option("--comment", metavar="COMMENT", default="", help="keep COMMENT with the archive"),
    option(
        "--timestamp",
        metavar="TIMESTAMP",
        type=types.timestamp,
        default=None,
        help="date the archive so: 2026-11-23T15:00:00 (UTC), or a file whose time is taken",
    ),
    option(
        "-c",
        "--checkpoint-interval",
        metavar="SECONDS",
        type=types.natural,
        default=1800,
        help="accepted for compatibility: what is uploaded is kept anyway",
    ),
    option(
        "--chunker-params",
        metavar="PARAMS",
        action=types.Once,
        type=types.chunker_params,
        default=None,
        help="accepted for compatibility: the repository decides how files are cut",
    ),
    option(
        "-C",
        "--compression",
        metavar="COMPRESSION",
        default=DEFAULT_COMPRESSION,
        help=f'how to compress, see "strongroom help compression" (default: {DEFAULT_COMPRESSION})',
    ),
)


def define(parser: Parser) -> None:
    parser.location(ARCHIVE, "archive to create")
    parser.paths("PATH", "paths to back up", type=types.path)
    add(parser, PLAIN_OPTIONS)
    add_patterns(parser, tags=True, more=_MORE_EXCLUDES)
    add(parser.add_argument_group("file system options"), _FILE_SYSTEM)
    add(parser.add_argument_group("archive options"), ARCHIVE_OPTIONS)


def run(session: "Session") -> None:
    _settle_stats(session)
    if session.args.dry_run:
        _preview(session)
        return
    from strongroom.archive.scouting import sent
    from strongroom.archive.sources import plant
    from strongroom.repository.keyfiles import Need

    matcher = session.patterns.for_writing()
    sources = _sources(session.args, session.patterns.roots)
    options = _scan_options(session.args)
    ways: AbstractContextManager[Scout | None] = nullcontext()
    if _has_use_for_scout(session, sources, options):
        ways = sent(plant(sources.paths), matcher, options)
    with ways as scout:
        session.expect(Need.WRITE)  # starts a thread: not before the scout
        _create(session, sources, matcher, options, scout)


def _has_use_for_scout(session: "Session", sources: "Sources", options: "ScanOptions") -> bool:
    """Whether some earlier run may have left what the scout's reports can be compared with."""
    if session.output.wants_files or sources.stream or sources.listed or not options.files_cache.read:
        return False
    from strongroom.repository.cache import Cache
    from strongroom.repository.places import Places

    known = Places(session.directories.security).repository_at(session.location.canonical())
    return known is not None and Cache.exists(session.directories.cache, known)


def _create(
    session: "Session",
    sources: "Sources",
    matcher: "PatternMatcher",
    options: "ScanOptions",
    scout: "Scout | None",
) -> None:
    from strongroom.archive.options import ArchiveOptions
    from strongroom.repository.compression import parse_compression
    from strongroom.repository.keyfiles import Need

    args, output = session.args, session.output
    compression = parse_compression(args.compression)
    archive = ArchiveOptions(
        name=session.archive,
        comment=session.placeholders.replace(args.comment),
        timestamp=args.timestamp,
        command_line=command_line(),
    )
    from strongroom.commands.allocating import give_freed_memory_back
    from strongroom.commands.create import create_archive

    give_freed_memory_back(_KEPT)
    with session.open(Need.WRITE) as repository, session.signals.graceful():
        output.info(f'Creating archive at "{session.location.canonical()}::{session.archive}"')
        result = create_archive(repository, archive, sources, matcher, compression, options, output, scout)
        if not output.stop.requested:
            print_result(session, repository, result)


def _preview(session: "Session") -> None:
    from strongroom.commands.preview import preview_archive
    from strongroom.repository.compression import parse_compression

    args, output = session.args, session.output
    sources = _sources(args, session.patterns.roots)
    parse_compression(args.compression)
    session.placeholders.replace(args.comment)
    mine = [str(session.directories.cache)]
    mine += [] if session.location.is_remote else [session.location.path]
    output.letters = {"d": "-"}  # a folder is not backed up either
    preview_archive(sources, session.patterns.for_writing(), _scan_options(args), mine, output)


def command_line() -> list[str]:
    """How this run was called, for the archive."""
    import sys

    return list(sys.argv)


def _settle_stats(session: "Session") -> None:
    args = session.args
    if args.stats and args.quick_stats:
        raise CommandError("--stats and --quick-stats exclude each other.")
    ignore_statistics(args, session.output)


def _sources(args: Namespace, roots: list[bytes]) -> "Sources":
    from strongroom.archive.options import PathSource, StreamFile
    from strongroom.archive.sources import Sources

    paths = [*map(os.fsencode, args.paths), *roots]
    chosen = [args.content_from_command, args.paths_from_stdin, args.paths_from_command]
    if sum(chosen) > 1:
        raise CommandError(
            "Only one of --content-from-command, --paths-from-stdin and --paths-from-command can be given."
        )
    if args.paths_from_stdin and args.paths:
        raise CommandError("With --paths-from-stdin no PATH can be given.")
    if (args.content_from_command or args.paths_from_command) and not args.paths:
        raise CommandError("No command is given: write it after the archive and --.")
    if args.paths_from_stdin or args.paths_from_command:
        delimiter = unescape(args.paths_delimiter) if args.paths_delimiter is not None else "\n"
        if not delimiter:
            raise CommandError("--paths-delimiter must not be empty.")
        command = args.paths if args.paths_from_command else None
        return Sources(listed=PathSource(os.fsencode(delimiter), command))
    stream = StreamFile(
        name=args.stdin_name,
        mode=args.stdin_mode,
        user=args.stdin_user or _root_user(),
        group=args.stdin_group or _root_group(),
        command=args.paths if args.content_from_command else None,
    )
    if args.content_from_command:
        return Sources(stream=stream)
    if not paths:
        raise CommandError("Nothing to back up: give at least one PATH, or an R line in a patterns file.")
    return Sources(
        paths=paths,
        stream=stream if b"-" in paths else None,
    )


def _scan_options(args: Namespace) -> "ScanOptions":
    from strongroom.archive.options import FilesCacheMode, ScanOptions

    return ScanOptions(
        exclude_caches=args.exclude_caches,
        exclude_if_present=[os.fsencode(name) for name in args.exclude_if_present],
        keep_exclude_tags=args.keep_exclude_tags,
        exclude_nodump=args.exclude_nodump,
        one_file_system=args.one_file_system,
        read_special=args.read_special,
        files_cache=args.files_cache_mode or FilesCacheMode(),
        attributes=attributes(args),
    )


def print_result(session: "Session", repository: "Repository", result: "CreateResult") -> None:
    args = session.args
    if not (args.json or args.stats or args.quick_stats):
        return
    from strongroom.commands.info import repository_info, totals
    from strongroom.commands.sizes import stored_size

    result.info.stats.compressed = stored_size(repository, result.info.id)
    if args.json:
        info = repository_info(repository)
        record = reports.repository_record(info) | {"archive": reports.created_record(result.info)}
        if not args.quick_stats:
            record["cache"] = reports.cache_record(info, info.totals)
        session.print_json(record)
        return
    everything = None if args.quick_stats else totals(repository)
    lines = reports.create_lines(session.location.canonical(), result.info, everything, iec=args.iec)
    session.output.block(lines)


def _root_user() -> str | None:
    try:
        return pwd.getpwuid(0).pw_name
    except KeyError:
        return None


def _root_group() -> str | None:
    import grp

    try:
        return grp.getgrgid(0).gr_name
    except KeyError:
        return None
