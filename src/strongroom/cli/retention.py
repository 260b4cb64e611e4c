"""The options that say what `prune` keeps."""

from argparse import Namespace
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import Parser

if TYPE_CHECKING:
    from strongroom.commands.retention import Rules

_COUNTS = (
    (("--keep-last", "--keep-secondly"), "secondly", "keep the last N archives, one a second"),
    (("--keep-minutely",), "minutely", "keep N archives, one a minute"),
    (("-H", "--keep-hourly"), "hourly", "keep N archives, one an hour"),
    (("-d", "--keep-daily"), "daily", "keep N archives, one a day"),
    (("-w", "--keep-weekly"), "weekly", "keep N archives, one a week"),
    (("-m", "--keep-monthly"), "monthly", "keep N archives, one a month"),
    (("--keep-13weekly",), "quarterly_13weekly", "keep N archives, one a quarter of 13 weeks"),
    (("--keep-3monthly",), "quarterly_3monthly", "keep N archives, one a quarter of 3 months"),
    (("-y", "--keep-yearly"), "yearly", "keep N archives, one a year"),
)


def add_retention_rules(parser: Parser) -> None:
    rules = parser.add_argument_group("retention rules")
    rules.add_argument(
        "--keep-within", metavar="TIME", dest="within", type=types.interval, default=None,
        help="keep all archives begun within TIME from now, like 2d",
    )  # fmt: skip
    quarterly = rules.add_mutually_exclusive_group()
    for flags, rule, words in _COUNTS:
        group = quarterly if rule.startswith("quarterly") else rules
        group.add_argument(*flags, metavar="N", dest=rule, type=int, default=0, help=words)


def retention_rules(args: Namespace) -> "Rules":
    from strongroom.commands.retention import Rules

    return Rules(within=args.within, **{rule: getattr(args, rule) for _, rule, _ in _COUNTS})
