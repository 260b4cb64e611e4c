"""`strongroom du`."""

import json
import os
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import ARCHIVE, Parser
from strongroom.cli.formats import format_size
from strongroom.cli.printable import printable, without_surrogates

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Show how much the folders of an archive take."

EPILOG = """
size     of the files, before compression and deduplication
stored   what their chunks take in the repository, each counted once in each folder that holds it
unique   what of it nothing else uses, no other folder and no other archive: what the repository would
         do without, were the folder not in this archive

Chunks may be shared by folders and by archives: the sizes of subfolders do not add up to the folder's.

examples:
    strongroom du ::monday
    strongroom du --depth 2 --sort-by unique ::monday home/me
    strongroom du --json-lines ::monday
"""

_KEYS = ("path", "size", "stored", "unique", "files")


def define(parser: Parser) -> None:
    parser.location(ARCHIVE, "archive to look at")
    parser.paths("PATH", "folders to show, instead of the whole archive", type=types.path)
    parser.add_argument(
        "-d",
        "--depth",
        metavar="N",
        type=types.natural,
        default=1,
        help="show N levels of folders (default: 1)",
    )
    parser.add_argument("-a", "--all", action="store_true", help="show all levels")
    parser.add_argument(
        "--sort-by",
        choices=_KEYS,
        default="path",
        help="path, or size, stored, unique or files: largest first",
    )
    parser.add_argument("--json-lines", action="store_true", help="print JSON, an object for each folder")


def run(session: "Session") -> None:
    from strongroom.commands.du import disk_usage
    from strongroom.repository.keyfiles import Need

    args, output = session.args, session.output
    with session.open(Need.READ) as repository:
        found = disk_usage(repository, session.archive, args.paths, None if args.all else args.depth)
    if args.sort_by != "path":
        found.sort(key=lambda folder: -getattr(folder, args.sort_by))
    text = printable if output.stdout_is_terminal else without_surrogates
    if not args.json_lines:
        output.write(f"{'size':>10} {'stored':>10} {'unique':>10} {'files':>9}  path\n")
    for folder in found:
        path = os.fsdecode(folder.path)
        if args.json_lines:
            values = {key: getattr(folder, key) for key in _KEYS} | {"path": without_surrogates(path)}
            output.write(json.dumps(values) + "\n")
            continue
        sizes = (format_size(size, iec=args.iec) for size in (folder.size, folder.stored, folder.unique))
        output.write("".join(f"{size:>10} " for size in sizes) + f"{folder.files:>9}  {text(path)}\n")
