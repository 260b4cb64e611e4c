"""`strongroom list`."""

import textwrap
from typing import TYPE_CHECKING

from strongroom.cli import archive_format, item_format, reports
from strongroom.cli import argument_types as types
from strongroom.cli.argument_groups import (
    add_archive_filters,
    add_patterns,
    archive_filter,
    ignore_archive_filter,
)
from strongroom.cli.arguments import EITHER, Parser
from strongroom.cli.formats import CONSTANTS
from strongroom.errors import CommandError
from strongroom.reporting import Notice

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.repository.repository import Repository

DESCRIPTION = "List the archives of a repository, or the files of an archive."


def _keys(about: dict[str, str]) -> str:
    return "\n".join(f"  {key:<14} {text}" for key, text in about.items() if key not in item_format.HASHES)


EPILOG = f"""
--format is a text with {{KEY}} for each value: {{size:10}} pads to 10 columns, {{path:<40}} and
{{path:>40}} align left and right, {{mtime:%Y-%m-%d}} formats a time, {{path!r}} quotes, and \\n, \\t
and \\0 mean what they mean in C. On a terminal, control characters in {{path}} are shown as escapes.

keys for archives:
{_keys(archive_format.KEYS)}

keys for files:
{_keys(item_format.KEYS)}

keys for files, hashes of the content:
  {textwrap.fill(", ".join(item_format.HASHES), 90, subsequent_indent="  ")}

always: {", ".join(CONSTANTS)}

examples:
    strongroom list /mnt/backup
    strongroom list --short --last 3 --glob-archives 'laptop-*' /mnt/backup
    strongroom list /mnt/backup::monday home/me/documents
    strongroom list --format '{{size:10}} {{isomtime}} {{path}}{{NL}}' ::monday -e '*.o'
    strongroom list --deleted /mnt/backup
    strongroom list --json-lines --format '{{path}} {{sha256}}' /mnt/backup::monday
"""


def define(parser: Parser) -> None:
    parser.location(EITHER, "repository or archive to list")
    parser.paths("PATH", "paths to list; patterns are supported", type=types.path)
    parser.add_argument(
        "--consider-checkpoints",
        action="store_true",
        help="accepted for compatibility: there are no checkpoints",
    )
    parser.add_argument("--short", action="store_true", help="print only names")
    parser.add_argument("--format", metavar="FORMAT", default=None, help="what to print for each, see below")
    parser.add_argument("--json", action="store_true", help="print the archives of a repository as JSON")
    parser.add_argument(
        "--json-lines", action="store_true", help="print the files of an archive as JSON, one a line"
    )
    parser.add_argument(
        "--deleted",
        action="store_true",
        help="list the archives that were deleted, since when, and by which key",
    )
    add_archive_filters(parser)
    add_patterns(parser)


def run(session: "Session") -> None:
    from strongroom.repository.keyfiles import Need

    args = session.args
    if session.location.archive:
        if args.deleted:
            raise CommandError("--deleted lists archives: REPOSITORY is expected, without an archive.")
        if args.json:
            raise CommandError("--json lists archives; for the files of an archive use --json-lines.")
        ignore_archive_filter(session)
        with session.open(Need.READ) as repository:
            _files(session, repository, session.location.archive)
        return
    if args.json_lines:
        raise CommandError("--json-lines lists the files of an archive; for archives use --json.")
    if args.paths:
        raise CommandError("PATHs can be listed only of an archive: REPOSITORY::ARCHIVE is expected.")
    session.expect(Need.ANY)
    import strongroom.commands.distrust
    import strongroom.commands.listing  # noqa: F401  # what is needed later, while the key is derived

    with session.open(Need.ANY) as repository:
        _archives(session, repository)


def _archives(session: "Session", repository: "Repository") -> None:
    from strongroom.commands.distrust import mark_distrusted
    from strongroom.commands.listing import list_archives, list_deleted

    args, output = session.args, session.output
    text = args.format
    if args.deleted and text is None and not args.short:
        text = archive_format.DELETED
    formatter = archive_format.ArchiveFormatter(
        text, short=args.short, safe=output.stdout_is_terminal, as_json=args.json
    )
    choose = list_deleted if args.deleted else list_archives
    found = choose(repository, archive_filter(args, session.placeholders))
    mark_distrusted(repository, found)
    for info in found:
        if info.problem is not None:
            output.warn(Notice(info.problem, msgid="IntegrityError", code=90))
    if args.json:
        from strongroom.commands.info import repository_info

        record = reports.repository_record(repository_info(repository))
        session.print_json(record | {"archives": [formatter.record(info) for info in found]})
        return
    for info in found:
        output.write(formatter.line(info))


def _files(session: "Session", repository: "Repository", name: str) -> None:
    from strongroom.cli.contents import RepositoryContents
    from strongroom.commands.listing import find_archive, list_entries

    args, output = session.args, session.output
    archive = find_archive(repository, name)
    matcher = session.patterns.for_reading(args.paths)
    formatter = item_format.ItemFormatter(
        args.format,
        archive,
        RepositoryContents(repository, archive),
        short=args.short,
        safe=output.stdout_is_terminal,
        as_json=args.json_lines,
    )
    render = formatter.json_line if args.json_lines else formatter.line
    for path, entry in list_entries(repository, archive, matcher):
        output.write(render(path, entry))
