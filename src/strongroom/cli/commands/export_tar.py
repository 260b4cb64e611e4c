"""`strongroom export-tar`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.argument_groups import add_patterns
from strongroom.cli.arguments import ARCHIVE, Parser

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Write the files of an archive as a tar archive."

EPILOG = """
FILE may be - for standard output. By its name it is compressed with the program of that name:
.tar.gz .tgz (gzip), .tar.bz2 .tbz (bzip2), .tar.xz .txz (xz), .tar.zst .tar.zstd (zstd), .tar.lz4 (lz4).
--tar-filter names another program, with arguments, that reads standard input and writes standard output.

--tar-format:
    PAX   (default) everything: times to the nanosecond, extended attributes, access control lists, file
          flags, holes. "import-tar" makes the same archive of it; GNU tar and bsdtar read all but flags.
    GNU   what Borg 1 writes: type, permissions, owner, time in seconds, hard links, content.
    BORG  PAX, and Borg 2's own description of each file.

examples:
    strongroom export-tar --list ::monday monday.tar.zst
    strongroom export-tar --tar-filter 'zstd -19 -T0' ::monday monday.tar.zst home/me
    strongroom export-tar ::monday - | tar -x -C /mnt/restored --xattrs --acls
"""


def define(parser: Parser) -> None:
    parser.location(ARCHIVE, "archive to export")
    parser.add_argument(
        "tarfile", metavar="FILE", type=types.path, help='tar archive to write, "-" for standard output'
    )
    parser.paths("PATH", "paths to export; patterns are supported", type=types.path)
    parser.add_argument("--tar-filter", metavar="PROGRAM", default="auto", help="program that compresses")
    parser.add_argument(
        "--tar-format", choices=("PAX", "GNU", "BORG"), default="PAX", help="see below (default: PAX)"
    )
    parser.add_argument("--list", dest="output_list", action="store_true", help="list files and folders")
    add_patterns(parser, strip=True)


def run(session: "Session") -> None:
    from strongroom.cli import tar_files
    from strongroom.commands.tar_export import export_tar
    from strongroom.repository.keyfiles import Need

    args = session.args
    command = tar_files.chosen_filter(args.tarfile, args.tar_filter, reading=False)
    matcher = session.patterns.for_reading(args.paths)
    with session.open(Need.READ) as repository, tar_files.writing(args.tarfile, command) as out:
        export_tar(
            repository, session.archive, matcher, args.strip_components, args.tar_format, out, session.output
        )
