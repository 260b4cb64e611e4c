"""`strongroom import-tar`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import ARCHIVE, Parser
from strongroom.cli.commands.create import ARCHIVE_OPTIONS, PLAIN_OPTIONS, command_line, print_result
from strongroom.cli.options import add, option
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Make an archive of a tar archive."

EPILOG = """
TARFILE may be - for standard input. By its name it is decompressed with gzip, bzip2, xz, zstd or lz4, as
"export-tar" compresses it; --tar-filter names another program.

All that "export-tar" writes is taken over, and what other programs write in the PAX format: times to the
nanosecond, extended attributes, access control lists, holes; Borg 2's descriptions too. Paths lose a
leading slash and ../ at their front. A tar archive that breaks off is not archived; --ignore-zeros reads
on behind its end mark, where several were joined with "cat".

examples:
    strongroom import-tar --stats ::old-server server.tar.xz
    ssh old tar -C / -cf - etc home | strongroom import-tar ::old-etc -
    strongroom import-tar --comment 'from Borg' ::monday monday.tar.gz
"""

_OPTIONS = (
    option("--tar-filter", metavar="PROGRAM", default="auto", help="program that decompresses"),
    *(
        one
        for one in PLAIN_OPTIONS
        if one.flags[-1] in ("--stats", "--quick-stats", "--list", "--filter", "--json")
    ),
    option("--ignore-zeros", action="store_true", help="read on behind the end mark of a tar archive"),
)


def define(parser: Parser) -> None:
    parser.location(ARCHIVE, "archive to create")
    parser.add_argument(
        "tarfile", metavar="TARFILE", type=types.path, help='tar archive, "-" for standard input'
    )
    add(parser, _OPTIONS)
    add(parser.add_argument_group("archive options"), ARCHIVE_OPTIONS)


def run(session: "Session") -> None:
    from strongroom.archive.options import ArchiveOptions
    from strongroom.cli import tar_files
    from strongroom.commands.tar_import import import_tar
    from strongroom.repository.compression import parse_compression
    from strongroom.repository.keyfiles import Need

    args, output = session.args, session.output
    if args.stats and args.quick_stats:
        raise CommandError("--stats and --quick-stats exclude each other.")
    compression = parse_compression(args.compression)
    archive = ArchiveOptions(
        name=session.archive,
        comment=session.placeholders.replace(args.comment),
        timestamp=args.timestamp,
        command_line=command_line(),
    )
    command = tar_files.chosen_filter(args.tarfile, args.tar_filter, reading=True)
    with (
        session.open(Need.WRITE) as repository,
        session.signals.graceful(),
        tar_files.reading(args.tarfile, command) as (stream, finished),
    ):
        result = import_tar(
            repository,
            archive,
            stream,
            compression,
            output,
            ignore_zeros=args.ignore_zeros,
            finished=finished,
        )
        print_result(session, repository, result)
