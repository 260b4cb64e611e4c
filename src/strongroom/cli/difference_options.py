"""The options of `diff` and `compare` about their output, and how it is written."""

import os
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from strongroom.cli.argument_types import Once
from strongroom.cli.formats import CONSTANTS
from strongroom.cli.options import option
from strongroom.cli.printable import without_surrogates

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.commands.diff import Difference

KEYS_HELP = f"""keys for --format, empty where nothing of the kind changed: path, bpath, change (all changes),
  content, link, directory, blkdev, chrdev, fifo, type, mode, owner, user, group, ctime, mtime, isoctime,
  isomtime, xattrs, acl, flags, size_added, size_removed; always: {", ".join(CONSTANTS)}

fields for --sort-by, comma-separated, each with > in front for descending order: path, size_added,
  size_removed, size_diff, size, user, group, uid, gid, ctime, mtime, ctime_diff, mtime_diff"""


def _sort_fields(text: str) -> list[tuple[str, bool]]:
    """As (field, descending)."""
    fields = []
    for word in (part.strip() for part in text.split(",")):
        field = word.removeprefix(">").removeprefix("<") if word[:2] not in ("><", "<>") else word
        if word and field not in _FIELDS:
            raise ArgumentTypeError(f'"{word}" is no sort field: use {", ".join(_FIELDS)}')
        if word:
            fields.append((field, word.startswith(">")))
    if not fields:
        raise ArgumentTypeError("no sort field is given")
    return fields


OUTPUT = (
    option("--sort", action="store_true", help="sort by path (deprecated, use --sort-by path)"),
    option(
        "--sort-by", metavar="FIELDS", type=_sort_fields, action=Once, default=None, help="sort, see below"
    ),
    option("--json-lines", action="store_true", help="print JSON, an object for each line"),
    option("--format", metavar="FORMAT", default=None, help="what to print for each path, see below"),
)


def write_differences(session: "Session", found: "Iterable[Difference]") -> None:
    from strongroom.cli.diff_format import DiffFormatter

    args, output = session.args, session.output
    formatter = DiffFormatter(args.format, iec=args.iec, safe=output.stdout_is_terminal)
    render = formatter.json_line if args.json_lines else formatter.line
    order = args.sort_by or ([("path", False)] if args.sort else [])
    if order:
        found = list(found)
        for field, descending in reversed(order):
            found.sort(key=_FIELDS[field], reverse=descending)
    for one in found:
        output.write(render(one))


def _of_current(name: str, default: object) -> "Callable[[Difference], Any]":
    """An attribute of the newest entry that there is."""

    def value(found: "Difference") -> object:
        entry = found.pair.new or found.pair.old
        stored = getattr(entry, name)
        return default if stored is None else stored

    return value


def _time_shift(name: str) -> "Callable[[Difference], int]":
    def value(found: "Difference") -> int:
        old, new = found.pair.old, found.pair.new
        return (getattr(new, name, None) or 0) - (getattr(old, name, None) or 0)

    return value


_FIELDS: "dict[str, Callable[[Difference], Any]]" = {
    "path": lambda found: without_surrogates(os.fsdecode(found.pair.path)),
    "size_added": lambda found: found.added,
    "size_removed": lambda found: found.removed,
    "size_diff": lambda found: found.added - found.removed,
    "size": lambda found: 0 if found.pair.new is None else found.pair.new.size,
    "user": _of_current("user", ""),
    "group": _of_current("group", ""),
    "uid": _of_current("uid", -1),
    "gid": _of_current("gid", -1),
    "ctime": _of_current("ctime", 0),
    "mtime": _of_current("mtime", 0),
    "ctime_diff": _time_shift("ctime"),
    "mtime_diff": _time_shift("mtime"),
}
