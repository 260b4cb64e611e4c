"""`strongroom check`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.argument_groups import add_archive_filters, archive_filter, has_archive_filter
from strongroom.cli.arguments import EITHER, Parser
from strongroom.cli.printable import printable
from strongroom.errors import CommandError
from strongroom.reporting import Notice

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Verify a repository and its archives. Nothing is changed."

EPILOG = """
Two things are checked:

1. The repository: the log continues itself, every object that it names is there, and holds the
   bytes that its name promises; of packs, the size and the table of contents. This needs no key.
2. The archives: the folders of each can be read, and every chunk that a file uses exists.

With --verify-data the packs are read whole, and every chunk is opened and compared with its id:
the surest check, and the slowest. --repository-only and --archives-only do one of the two.
--repository-only --verify-data compares all bytes of packs with their names, without a key, so that
any machine can do it. --max-duration stops the check of the packs after a while; the next run with
it goes on from there.

The exit code is 1 if anything is wrong, and each finding is printed.

examples:
    strongroom check /mnt/backup
    strongroom check --verify-data --progress --last 1 /mnt/backup
    strongroom check --repository-only --verify-data --max-duration 3600 /mnt/backup
"""


def define(parser: Parser) -> None:
    parser.location(EITHER, "repository or archive to check")
    parser.add_argument(
        "--repository-only", dest="repo_only", action="store_true", help="check only what needs no key"
    )
    parser.add_argument("--archives-only", action="store_true", help="check only the archives")
    parser.add_argument(
        "--verify-data", action="store_true", help="read and open all data of the archives too"
    )
    parser.add_argument(
        "--repair", action="store_true", help="not supported: strongroom never repairs by deleting"
    )
    parser.add_argument("--save-space", action="store_true", help="accepted for compatibility")
    parser.add_argument(
        "--max-duration", metavar="SECONDS", type=types.natural, default=0,
        help="check part of the repository, for SECONDS at most (default: no limit)",
    )  # fmt: skip
    add_archive_filters(parser)


def run(session: "Session") -> None:
    from strongroom.commands.check import CheckOptions, check_repository
    from strongroom.commands.opening import Need

    args = session.args
    name = session.location.archive
    chosen = has_archive_filter(args) or name is not None
    if args.repair:
        raise CommandError(
            "--repair is not supported: what is damaged is told by check, and comes back from a replica."
        )
    if args.repo_only and (args.archives_only or chosen):
        raise CommandError("--repository-only contradicts --archives-only and choosing archives.")
    if args.max_duration and not args.repo_only:
        raise CommandError("--max-duration needs --repository-only.")
    if name is not None and has_archive_filter(args):
        raise CommandError("Archive filters go with a repository, not with a single archive.")
    options = CheckOptions(
        verify_data=args.verify_data,
        repository_only=args.repo_only,
        archives_only=args.archives_only,
        max_duration=args.max_duration or None,
        archive=name,
        archives=archive_filter(args, session.placeholders),
    )
    need = Need.STRUCTURE if args.repo_only else Need.READ
    with session.open(need) as repository:
        result = check_repository(repository, options, session.output)
    for problem in result.problems:
        text = f"{printable(problem.object)}: {printable(problem.what)}"
        session.output.warn(Notice(text, msgid="check"))
    if not result.finished:
        session.output.info("The time is up: the next run with --max-duration goes on from here.")
    if not result.problems:
        session.output.info("No problems found.")
