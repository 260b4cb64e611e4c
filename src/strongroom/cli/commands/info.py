"""`strongroom info`."""

from typing import TYPE_CHECKING

from strongroom.cli import reports
from strongroom.cli.argument_groups import (
    add_archive_filters,
    archive_filter,
    has_archive_filter,
    ignore_archive_filter,
)
from strongroom.cli.arguments import EITHER, Parser

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.repository.repository import Repository

DESCRIPTION = "Show facts about a repository, or about archives: times, sizes, the command that made them."

EPILOG = """
Of an archive, the deduplicated size is what only this archive uses. Of all archives, it is what
the repository stores. The sizes of the single archives do not add up to it, as archives share
data.

examples:
    strongroom info /mnt/backup
    strongroom info /mnt/backup::monday
    strongroom info --json --last 1 /mnt/backup
"""


def define(parser: Parser) -> None:
    parser.location(EITHER, "repository or archive to show")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_archive_filters(parser)


def run(session: "Session") -> None:
    from strongroom.repository.keyfiles import Need

    args = session.args
    ignore_archive_filter(session)
    of_archives = bool(session.location.archive) or has_archive_filter(args)
    with session.open(Need.READ if of_archives else Need.ANY) as repository:
        if session.location.archive or has_archive_filter(args):
            _archives(session, repository)
        else:
            _repository(session, repository)


def _repository(session: "Session", repository: "Repository") -> None:
    from strongroom.commands.info import repository_info

    info = repository_info(repository)
    if session.args.json:
        record = reports.repository_record(info) | {
            "cache": reports.cache_record(info, info.totals),
            "security_dir": info.security_path,
            "quarantine_days": info.quarantine,
            "reserve": {"kept": info.reserve.left, "wanted": info.reserve.wanted},
        }
        session.print_json(record)
    else:
        session.print_lines(reports.repository_lines(info, iec=session.args.iec))


def _archives(session: "Session", repository: "Repository") -> None:
    from strongroom.commands.distrust import mark_distrusted
    from strongroom.commands.info import archive_infos, repository_info, with_sizes
    from strongroom.commands.listing import ArchiveFilter, find_archive

    name = session.location.archive
    if name:
        found = with_sizes(repository, [find_archive(repository, name)])
    else:
        chosen: ArchiveFilter = archive_filter(session.args, session.placeholders)
        found = archive_infos(repository, chosen)
    mark_distrusted(repository, found)
    info = repository_info(repository)
    if session.args.json:
        record = reports.repository_record(info) | {
            "archives": [reports.archive_record(archive) for archive in found],
            "cache": reports.cache_record(info, info.totals),
        }
        session.print_json(record)
        return
    for number, archive in enumerate(found):
        if number:
            session.output.write("\n")
        session.print_lines(reports.archive_lines(archive, info.totals, iec=session.args.iec))
