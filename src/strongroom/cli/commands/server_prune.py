"""`strongroom server prune`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import Parser
from strongroom.cli.commands.server import chosen_clients, define_clients, define_folder, only_successes
from strongroom.cli.printable import printable
from strongroom.cli.retention import add_retention_rules, retention_rules
from strongroom.reporting import counted

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.prune import PrunePlan

DESCRIPTION = "Delete all archives of clients that no retention rule keeps, without any key of theirs."

EPILOG = """
The rules are those of "strongroom prune", applied to each repository as a whole: names of archives
are sealed here. What counts is when an archive was complete, by this server's clock, so that a
client that fell cannot date archives to push others out. It can still make archives on the days
that it has: so give rules that reach back, like --keep-weekly and --keep-monthly, and not
--keep-last alone.

Each repository must name this server's key. Those founded by "strongroom init" over ssh do; others
admit it by "strongroom key add --role server". What is deleted is one record in the repository's
log, signed by that key: "strongroom undelete" with an admin key takes it back, until "strongroom
server compact" frees it after the quarantine.

When in doubt, look first: --dry-run --list.

examples:
    strongroom server prune laptop --dry-run --list --keep-daily 7 --keep-weekly 4 --keep-monthly 6
    strongroom server prune --all --keep-within 2d --keep-daily 14 --keep-monthly 12
"""


def define(parser: Parser) -> None:
    define_clients(parser)
    parser.add_argument("-n", "--dry-run", action="store_true", help="change nothing")
    parser.add_argument(
        "--list",
        dest="output_list",
        action="store_true",
        help="list what is kept, by which rule, and what not",
    )
    add_retention_rules(parser)
    define_folder(parser)


def run(session: "Session") -> None:
    from strongroom.cli.commands.server import folder_of
    from strongroom.server.retention import prune

    args, output = session.args, session.output
    found = prune(
        folder_of(session),
        chosen_clients(session),
        retention_rules(args),
        session.directories,
        output,
        dry_run=args.dry_run,
    )
    for place, plan in only_successes(session, found):
        gone, whole = len(plan.pruned), counted(plan.archives, "archive")
        verb = "would delete" if args.dry_run else "deleted"
        session.print_lines([f"{printable(place.name):<24} {verb} {gone} of {whole}"])
        if args.output_list:
            session.print_lines(list(_lines(plan, dry_run=args.dry_run)))


def _lines(plan: "PrunePlan", *, dry_run: bool) -> list[str]:
    from strongroom.cli.formats import archive_moment

    lines = []
    for one in plan.judged:
        if one.reason is not None:
            verdict = f"kept (rule: {one.reason})"
        else:
            verdict = "would be deleted" if dry_run else "deleted"
        by = f"by {printable(one.archive.written_by)}"
        lines.append(
            f"  {verdict:<36} {archive_moment(one.archive.arrived)}  {one.archive.id.hex()[:16]}  {by}"
        )
    return lines
