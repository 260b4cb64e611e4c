"""`strongroom prune`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli import reports
from strongroom.cli.archive_format import archive_line
from strongroom.cli.argument_groups import add_archive_filters, archive_filter
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.printable import printable
from strongroom.cli.retention import add_retention_rules, retention_rules

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.prune import PrunePlan

DESCRIPTION = "Delete all archives that no retention rule keeps."

EPILOG = """
Each rule keeps the newest archive of each of its periods, for so many periods that have archives:
--keep-daily 7 keeps the last archive of each of the last 7 days on which there was one. Periods
are those of the local time zone, weeks begin on Monday; what counts is when an archive was begun.
The rules choose one after the other, from secondly to yearly, and what one keeps does not count
for the next. A negative number means no limit. A rule that finds too few archives keeps the oldest
one as well, so that it can age. --keep-within 2d keeps all of the past 48 hours, whatever the other
rules say; its units are H, d, w, m (31 days) and y.

Without --glob-archives the rules look at all archives of the repository, whatever they are of: if
several machines back up to it, prune once for each.

Pruning frees no space, and can be taken back: it is one record in the repository's log, and
"strongroom undelete" brings archives back. Space is freed later, by "strongroom compact", and only
after the quarantine of the repository. A backup key can ask for it too; it cannot read the names
and dates inside of archives, and goes by the times at which they were finished.

When in doubt, look first: --dry-run --list.

examples:
    strongroom prune --dry-run --list --keep-daily 7 --keep-weekly 4 --keep-monthly 6 /mnt/backup
    strongroom prune --list -a 'laptop-*' --keep-within 2d --keep-daily 14 --keep-yearly -1 /mnt/backup
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to prune")
    parser.add_argument("-n", "--dry-run", action="store_true", help="change nothing")
    parser.add_argument(
        "--list",
        dest="output_list",
        action="store_true",
        help="list what is kept, by which rule, and what not",
    )
    parser.add_argument("-s", "--stats", action="store_true", help="print statistics of the deleted archives")
    parser.add_argument(
        "--quick-stats", action="store_true", help="the same without those of the whole repository"
    )
    parser.add_argument(
        "--force", dest="forced", action="store_true",
        help="leave archives alone whose metadata is damaged, and prune the others",
    )  # fmt: skip
    parser.add_argument("--save-space", action="store_true", help="accepted for compatibility")
    parser.add_argument(
        "-c", "--checkpoint-interval", metavar="SECONDS", type=types.natural, default=1800,
        help="accepted for compatibility: pruning is one step",
    )  # fmt: skip
    add_retention_rules(parser)
    add_archive_filters(parser, sort_by=False, first_last=False, times=False)


def run(session: "Session") -> None:
    from strongroom.commands.info import deleted_sizes, totals
    from strongroom.commands.prune import PruneOptions, plan_prune, prune_archives
    from strongroom.repository.keyfiles import Need

    args, output = session.args, session.output
    options = PruneOptions(
        retention_rules(args), archive_filter(args, session.placeholders), past_damage=args.forced
    )
    options.check()
    with session.open(Need.DELETE) as repository:
        if args.dry_run:
            plan = plan_prune(repository, options, output)
        else:
            plan = prune_archives(repository, options, output)
        if args.output_list:
            _list(session, plan)
        if args.stats or args.quick_stats:
            gone = deleted_sizes(repository, plan.pruned)
            left = totals(repository) if args.stats else None
            lines = reports.deleted_lines(gone, left, iec=args.iec)
            output.block(lines)


def _list(session: "Session", plan: "PrunePlan") -> None:
    """One line for each archive, as Borg words it."""
    number = 0
    for one in plan.judged:
        if one.reason is not None:
            verdict = f"Keeping archive (rule: {one.reason}):"
        elif session.args.dry_run:
            verdict = "Would prune:"
        else:
            number += 1
            verdict = f"Pruning archive ({number}/{len(plan.pruned)}):"
        line = f"{verdict:<44} {printable(archive_line(one.archive))}"
        session.output.emit("info", line, name="strongroom.output.list")
