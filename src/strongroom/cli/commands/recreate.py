"""`strongroom recreate`."""

import os
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli import reports
from strongroom.cli.argument_groups import add_patterns, ignore_statistics
from strongroom.cli.arguments import EITHER, Parser
from strongroom.cli.commands.create import DEFAULT_COMPRESSION
from strongroom.cli.options import add, option
from strongroom.cli.printable import printable
from strongroom.errors import CommandError
from strongroom.store.location import check_archive_name

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.recreate import RecreateOptions
    from strongroom.repository.repository import Repository

DESCRIPTION = "Make archives anew: without some of their files, with another comment or time."

EPILOG = """
Only paths that PATH and the exclude options let through stay in the archive; all other metadata stays
as it is. Without an archive's name all archives of the repository are made anew. It needs an admin key.

The new archive takes the old one's name and place in one step. The old one is deleted as by
"strongroom delete": it stays until "strongroom compact" frees it after the quarantine, and until then
comes back by "strongroom undelete", once the new one is renamed or deleted. With --target it stays
anyway, beside the new one.

--recompress stores the data of the archives anew, compressed as --compression says: with if-different
(the default when no MODE is given) only what another algorithm compresses now. All archives that share
the data use the new copy, with --target the old archive, too. The next "strongroom compact" frees the
old copy.

When in doubt, look first: --dry-run --list. For --exclude and --pattern see "strongroom help patterns".

examples:
    strongroom recreate --dry-run --list -e '*.iso' /mnt/backup::monday
    strongroom recreate -e '*.iso' /mnt/backup
    strongroom recreate --comment 'before the upgrade' /mnt/backup::monday
    strongroom recreate --recompress if-different -C zstd,19 /mnt/backup
    strongroom recreate --target documents-only /mnt/backup::monday home/anna/documents
"""

_OPTIONS = (
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
    option("-n", "--dry-run", action="store_true", help="change nothing"),
    option("-s", "--stats", action="store_true", help="print statistics at the end"),
)

_ARCHIVE = (
    option(
        "--target",
        metavar="NAME",
        default=None,
        help="call the new archive NAME, and leave the old one alone",
    ),
    option(
        "-c",
        "--checkpoint-interval",
        metavar="SECONDS",
        type=types.natural,
        default=1800,
        help="accepted for compatibility: what is stored is kept anyway",
    ),
    option("--comment", metavar="COMMENT", default=None, help="give the archive this comment"),
    option(
        "--timestamp",
        metavar="TIMESTAMP",
        type=types.timestamp,
        default=None,
        help="date the archive so: 2026-11-23T15:00:00 (UTC), or a file whose time is taken",
    ),
    option(
        "-C",
        "--compression",
        metavar="COMPRESSION",
        default=DEFAULT_COMPRESSION,
        help=f"how to compress what is written (default: {DEFAULT_COMPRESSION})",
    ),
    option(
        "--recompress",
        metavar="MODE",
        nargs="?",
        default="never",
        const="if-different",
        choices=("never", "if-different", "always"),
        help="compress data anew: if-different, always, or never, the default",
    ),
    option(
        "--chunker-params",
        metavar="PARAMS",
        action=types.Once,
        type=types.chunker_params,
        default=None,
        help="accepted for compatibility: the repository decides how files are cut",
    ),
)


def define(parser: Parser) -> None:
    parser.location(EITHER, "archive to make anew, or the repository of all that are")
    parser.paths("PATH", "paths to keep; patterns are supported", type=types.path)
    add(parser, _OPTIONS)
    add_patterns(parser, tags=True)
    add(parser.add_argument_group("archive options"), _ARCHIVE)


def run(session: "Session") -> None:
    from strongroom.repository.compression import parse_compression
    from strongroom.repository.keyfiles import Need

    args, output = session.args, session.output
    name = session.location.archive
    if args.target is not None and name is None:
        raise CommandError("--target needs a single archive: REPOSITORY::ARCHIVE.")
    ignore_statistics(args, output)
    options = _options(session)
    parse_compression(args.compression)
    with session.open(Need.ADMIN) as repository, session.signals.graceful():
        names = [name] if name is not None else _all(repository)
        for one in names:
            if name is None:
                output.write(f"Processing {printable(one)}\n")
                output.flush()
            _recreate(session, repository, one, options)


def _options(session: "Session") -> "RecreateOptions":
    from strongroom.archive.options import ScanOptions
    from strongroom.commands.recompress import Recompression
    from strongroom.commands.recreate import RecreateOptions

    args, fill = session.args, session.placeholders.replace
    return RecreateOptions(
        comment=None if args.comment is None else fill(args.comment),
        timestamp=args.timestamp,
        target=None if args.target is None else check_archive_name(fill(args.target)),
        scan=ScanOptions(
            exclude_caches=args.exclude_caches,
            exclude_if_present=[os.fsencode(name) for name in args.exclude_if_present],
            keep_exclude_tags=args.keep_exclude_tags,
        ),
        recompression=None if args.recompress == "never" else Recompression(args.recompress),
        dry_run=args.dry_run,
    )


def _all(repository: "Repository") -> list[str]:
    """Names of all archives, those that cannot be read left alone."""
    from strongroom.commands.listing import ArchiveFilter, list_archives

    found = list_archives(repository, ArchiveFilter())
    return [info.name for info in found if info.name is not None and info.problem is None]


def _recreate(session: "Session", repository: "Repository", name: str, options: "RecreateOptions") -> None:
    from strongroom.commands.info import totals
    from strongroom.commands.recreate import recreate_archive
    from strongroom.commands.sizes import stored_size
    from strongroom.repository.compression import parse_compression

    args, output = session.args, session.output
    compression = parse_compression(args.compression)
    matcher = session.patterns.for_reading(args.paths)
    info = recreate_archive(repository, name, matcher, compression, options, output)
    if options.dry_run:
        return
    if info is None:
        output.info(f"Skipped archive {name}: nothing to do.")
    elif args.stats:
        info.stats.compressed = stored_size(repository, info.id)
        lines = reports.create_lines(session.location.canonical(), info, totals(repository), iec=args.iec)
        output.block(lines)
