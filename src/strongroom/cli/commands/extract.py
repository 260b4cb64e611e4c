"""`strongroom extract`."""

from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.argument_groups import add_patterns, attributes
from strongroom.cli.arguments import ARCHIVE, Parser
from strongroom.cli.options import add, option
from strongroom.errors import CommandError
from strongroom.reporting import BACKUP_ERROR, Notice

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Restore the files of an archive into the current folder."

EPILOG = """
Everything is restored, or only the PATHs and what is below them; PATHs may be patterns
("strongroom help patterns"), and --exclude leaves out more. Nothing is ever written outside of the
current folder (or of --to DIR), whatever the archive says. What cannot be restored, such as owners
when you are not root, is told by a warning, and the exit code is 1.

With --continue, files that are there are compared with the archive by content: what is the same
stays, only the rest is fetched and written. A file that has other names, or belongs to somebody
else, is made anew.

Where --strip-components makes one path of several, the later entry of the archive replaces the
earlier one. Folders are merged; one that is not empty stays where a file would replace it, with a warning.

With --dry-run the data is read and verified, but no file is written. With --stdout the content of
all chosen files is written to standard output, in the order of the archive.

examples:
    cd /mnt/restore && strongroom extract --progress /mnt/backup::monday
    strongroom extract ::monday home/me/documents
    strongroom extract ::monday 'sh:home/*/.ssh' --exclude '*/known_hosts'
    strongroom extract --stdout ::db-monday all.sql | mysql
    strongroom extract --dry-run ::monday
    strongroom extract --to /mnt/restore --continue --verify ::monday
"""

_OPTIONS = (
    option("--list", dest="output_list", action="store_true", help="list files and folders"),
    option("-n", "--dry-run", action="store_true", help="change no files"),
    option("--numeric-owner", dest="numeric_ids", action="store_true", help="deprecated, use --numeric-ids"),
    option("--numeric-ids", action="store_true", help="restore users and groups by number, not by name"),
    option("--nobsdflags", dest="noflags", action="store_true", help="deprecated, use --noflags"),
    option("--noflags", action="store_true", help="do not restore file flags (NODUMP, IMMUTABLE, ...)"),
    option("--noacls", action="store_true", help="do not restore ACLs"),
    option("--noxattrs", action="store_true", help="do not restore extended attributes"),
    option("--stdout", action="store_true", help="write the files' content to standard output"),
    option("--sparse", action="store_true", help="make holes of zeros"),
    option(
        "--continue",
        dest="resume",
        action="store_true",
        help="go on where an interrupted extract stopped: keep what is there and sound",
    ),
    option(
        "--verify",
        action="store_true",
        help="read everything back afterwards and compare it with the archive",
    ),
    option("--to", metavar="DIR", type=types.path, help="restore into DIR instead of the current folder"),
)


def define(parser: Parser) -> None:
    parser.location(ARCHIVE, "archive to restore from")
    parser.paths("PATH", "paths to restore; patterns are supported", type=types.path)
    add(parser, _OPTIONS)
    add_patterns(parser, strip=True)


def run(session: "Session") -> None:
    from strongroom.archive.options import RestoreOptions
    from strongroom.repository.keyfiles import Need

    args, output = session.args, session.output
    name = session.archive
    if args.to is not None and args.stdout:
        raise CommandError("--stdout writes to no folder: leave out --to.")
    if args.verify and (args.stdout or args.dry_run or args.strip_components):
        raise CommandError(
            "--verify compares restored files: not with --stdout, --dry-run, --strip-components."
        )
    matcher = session.patterns.for_reading(args.paths)
    options = RestoreOptions(
        attributes=attributes(args),
        strip_components=args.strip_components,
        sparse=args.sparse,
        dry_run=args.dry_run,
        resume=args.resume,
    )
    session.expect(Need.READ)
    if args.stdout and not args.dry_run:
        from strongroom.commands.streaming import extract_to_stream

        with session.open(Need.READ) as repository:
            extract_to_stream(repository, name, matcher, output.stream, output)
        return
    from strongroom.cli.diff_format import DiffFormatter
    from strongroom.commands.extract import extract_archive, verify_extracted

    with session.open(Need.READ) as repository, session.signals.graceful():
        place = destination(args.to)
        extract_archive(repository, name, matcher, options, place, output)
        if not args.verify:
            return
        shown = DiffFormatter(None, iec=args.iec, safe=True)
        again = session.patterns.for_reading(args.paths)
        differing = 0
        for one in verify_extracted(repository, name, again, options, place, output):
            output.warn(Notice(f"not as in the archive: {shown.line(one).strip()}", *BACKUP_ERROR))
            differing += 1
        if not differing:
            output.info("Read back and compared: all is as in the archive.")


def destination(to: str | None) -> Path:
    """The folder to restore into, made if it is missing. Raises `CommandError`."""
    if to is None:
        return Path()
    path = Path(to)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"--to {path}: cannot be made a folder to restore into: {error.strerror}"
        ) from None
    return path
