"""Groups of options that several commands share, and what they resolve to."""

from argparse import SUPPRESS, Action, ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import Parser
from strongroom.cli.options import Option, TakesArguments, add, option

if TYPE_CHECKING:
    from strongroom.archive.options import Attributes
    from strongroom.cli.output import Output
    from strongroom.cli.placeholders import Placeholders
    from strongroom.cli.session import Session
    from strongroom.commands.listing import ArchiveFilter


class _Rule(Action):
    """Keeps patterns in the order of the command line, as ("exclude" | "pattern" | ..., text)."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        namespace.pattern_rules = [*namespace.pattern_rules, (self.const, values)]


def _rule(flags: str, kind: str, metavar: str, words: str) -> Option:
    return option(*flags.split(), metavar=metavar, dest=f"rule_{kind}", action=_Rule, const=kind, help=words)


PATTERNS = (
    _rule("-e --exclude", "exclude", "PATTERN", "exclude paths that match PATTERN"),
    _rule("--exclude-from", "exclude_from", "FILE", "read exclude patterns from FILE, one a line"),
    _rule(
        "--pattern",
        "pattern",
        "PATTERN",
        "include or exclude paths that match PATTERN: +sh:a/**, -*.o, !proc",
    ),
    _rule(
        "--patterns-from", "patterns_from", "FILE", "read include and exclude patterns from FILE, one a line"
    ),
)

TAGS = (
    option(
        "--exclude-caches",
        action="store_true",
        default=False,
        help="exclude folders that hold a CACHEDIR.TAG file",
    ),
    option(
        "--exclude-if-present",
        metavar="NAME",
        action="append",
        default=[],
        help="exclude folders that hold something called NAME",
    ),
    option(
        "--keep-exclude-tags",
        action="store_true",
        default=False,
        help="still back up the tag itself of folders excluded by a tag",
    ),
    option("--keep-tag-files", dest="keep_exclude_tags", action="store_true", help=SUPPRESS),
)


def add_patterns(
    parser: Parser, *, tags: bool = False, strip: bool = False, more: tuple[Option, ...] = ()
) -> None:
    group = parser.add_argument_group("include and exclude options")
    add(group, PATTERNS)
    add(group, TAGS if tags else ())
    add(group, more)
    if strip:
        group.add_argument(
            "--strip-components",
            metavar="NUMBER",
            type=types.natural,
            default=0,
            help="remove so many leading folders from each path; shorter paths are left out",
        )


def add_archive_filters(
    parser: Parser, *, sort_by: bool = True, first_last: bool = True, times: bool = True
) -> None:
    filters = parser.add_argument_group("archive filters", "These choose among the archives of a repository.")
    group = filters.add_mutually_exclusive_group()
    group.add_argument(
        "-P", "--prefix", metavar="PREFIX", action=types.Once, default=None,
        help="only archives whose name begins with PREFIX (deprecated)",
    )  # fmt: skip
    group.add_argument(
        "-a", "--glob-archives", "--match-archives", metavar="GLOB", dest="glob_archives", action=types.Once,
        default=None, help='only archives whose name matches GLOB, see "strongroom help match-archives"',
    )  # fmt: skip
    if sort_by:
        filters.add_argument(
            "--sort-by", metavar="KEYS", type=types.sort_keys, default=["timestamp"],
            help=f"sort by these comma-separated keys: {', '.join(types.SORT_KEYS)} (default: timestamp)",
        )  # fmt: skip
    if first_last:
        group = filters.add_mutually_exclusive_group()
        group.add_argument(
            "--first", metavar="N", type=types.positive, default=None, help="only the first N of them"
        )
        group.add_argument(
            "--last", metavar="N", type=types.positive, default=None, help="only the last N of them"
        )
    if times:
        group = filters.add_mutually_exclusive_group()
        _time_filter(group, "--oldest", "begun within TIME after the oldest one, like 7d or 12m")
        _time_filter(group, "--newest", "begun within TIME before the newest one")
        group = filters.add_mutually_exclusive_group()
        _time_filter(group, "--older", "begun longer than TIME ago")
        _time_filter(group, "--newer", "begun less than TIME ago")


def _time_filter(group: TakesArguments, flag: str, words: str) -> None:
    group.add_argument(
        flag, metavar="TIME", type=types.time_span, default=None, help=f"only archives {words}"
    )


_FILTERS = ("prefix", "glob_archives", "first", "last", "oldest", "newest", "older", "newer")


def has_archive_filter(args: Namespace) -> bool:
    return any(getattr(args, name, None) is not None for name in _FILTERS)


def ignore_statistics(args: Namespace, output: "Output") -> None:
    """Of a dry run that has none, in Borg's words: scripts add --dry-run to what is there."""
    for name in ("stats", "quick_stats"):
        if args.dry_run and getattr(args, name, False):
            flag = "--" + name.replace("_", "-")
            output.log("warning", f"Ignoring {flag}. It is not supported when using --dry-run.")
            setattr(args, name, False)


def ignore_archive_filter(session: "Session") -> None:
    """Where a single archive is named: Borg takes no notice of it, and scripts pass it along."""
    if session.location.archive and has_archive_filter(session.args):
        name = session.location.archive
        session.output.log(
            "warning", f'Only "{name}" is looked at: options that choose archives are ignored.'
        )
        for option_name in _FILTERS:
            setattr(session.args, option_name, None)


def archive_filter(args: Namespace, placeholders: "Placeholders") -> "ArchiveFilter":
    from strongroom.commands.listing import ArchiveFilter

    def filled(text: str | None) -> str | None:
        return None if text is None else placeholders.replace(text)

    return ArchiveFilter(
        prefix=filled(args.prefix),
        glob=filled(args.glob_archives),
        first=getattr(args, "first", None),
        last=getattr(args, "last", None),
        sort_by=getattr(args, "sort_by", ["timestamp"]),
        oldest=getattr(args, "oldest", None),
        newest=getattr(args, "newest", None),
        older=getattr(args, "older", None),
        newer=getattr(args, "newer", None),
    )


def attributes(args: Namespace) -> "Attributes":
    """From --numeric-ids, --noflags and the like, of create and extract."""
    from strongroom.archive.options import Attributes

    return Attributes(
        numeric_ids=args.numeric_ids,
        atime=getattr(args, "atime", False),
        ctime=not getattr(args, "noctime", False),
        birthtime=not getattr(args, "nobirthtime", False),
        xattrs=not args.noxattrs,
        acls=not args.noacls,
        flags=not args.noflags,
    )
