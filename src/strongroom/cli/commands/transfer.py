"""`strongroom transfer`."""

from typing import TYPE_CHECKING

from strongroom.cli.archive_format import archive_line
from strongroom.cli.argument_groups import add_archive_filters, archive_filter
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.commands.create import DEFAULT_COMPRESSION
from strongroom.cli.environment import OtherEnvironment
from strongroom.cli.options import add, option
from strongroom.cli.passphrase import EnvironmentPassphrases
from strongroom.cli.printable import printable

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.repository.repository import Repository

DESCRIPTION = "Bring archives over from another repository, with other keys, or from one that Borg made."

EPILOG = """
Every archive of the other repository that is not here yet is read, checked, cut and sealed anew, with
its name, times, comment and all metadata of its files. Content that several archives share is read
once. A run that was stopped is run again: it goes on where it stopped. An archive that is damaged
there is told and left out, exit code 1; --fallback names a copy of the other repository, for what is
damaged or gone there.

The other repository needs a key that reads; its passphrase comes from STRONGROOM_OTHER_PASSPHRASE,
STRONGROOM_OTHER_PASSCOMMAND or STRONGROOM_OTHER_PASSPHRASE_FD, or else from where this one's comes.

A repository that Borg 1.0 to 1.4 made is named by "borg:" before its location, and never written to; its
passphrase comes from the same variables, or from BORG_PASSPHRASE and its like. Checkpoints are left out.

To copy a repository as it is, without any key, use "strongroom replicate".

examples:
    strongroom transfer --from /mnt/old /mnt/new
    strongroom transfer --from ssh://backup@old/./laptop -a 'laptop-*' --compression zstd,9 /mnt/new
    strongroom transfer --progress --from borg:/mnt/borg-repository /mnt/new
    strongroom transfer --dry-run --list --from /mnt/old
"""

_OPTIONS = (
    option("--from", dest="source", metavar="REPO", required=True, help="repository to bring archives from"),
    option("-n", "--dry-run", action="store_true", help="change nothing"),
    option("--list", dest="output_list", action="store_true", help="list the archives"),
    option(
        "-C", "--compression", metavar="COMPRESSION", default=DEFAULT_COMPRESSION,
        help=f"how to compress (default: {DEFAULT_COMPRESSION})",
    ),
)  # fmt: skip


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to bring archives to")
    add(parser, _OPTIONS)
    add_archive_filters(parser)


def run(session: "Session") -> None:
    from strongroom.commands.opening import Need
    from strongroom.commands.transfer import transfer_archives
    from strongroom.repository.compression import parse_compression

    args, output = session.args, session.output
    compression = parse_compression(args.compression)
    wanted = archive_filter(args, session.placeholders)
    with session.open(Need.WRITE) as target, session.signals.graceful():
        place = session.second_location(args.source)
        with _open_source(session, place, target) as source:
            result = transfer_archives(source, target, wanted, compression, output, dry_run=args.dry_run)
    if args.output_list:
        brought = "Would bring over" if args.dry_run else "Brought over"
        for verdict, found in (
            (brought, result.carried),
            ("Is there", result.there),
            ("Failed", result.failed),
        ):
            for info in found:
                line = f"{verdict}: {printable(archive_line(info))}"
                output.emit("info", line, name="strongroom.output.list")


def _open_source(session: "Session", place: str, target: "Repository") -> "Repository":
    from strongroom.commands.opening import Need, open_repository
    from strongroom.commands.transfer import refuse_itself
    from strongroom.store.location import parse_location

    location = parse_location(place)
    if location.is_borg:
        return session.open_borg(location)
    fallback = session.fallback()
    refuse_itself(target, place, fallback)
    return open_repository(
        place,
        session.directories,
        EnvironmentPassphrases(OtherEnvironment(session.environment), session.questions),
        confirm=session.questions.confirm,
        need=Need.READ,
        reporter=session.output,
        fallback=fallback,
    )
