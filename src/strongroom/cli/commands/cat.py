"""`strongroom cat`."""

import os
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import ARCHIVE, Parser
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Write files of an archive to standard output."

EPILOG = """
PATHs are those of the archive, no patterns. Only the folders that lead to them are read, so that this
takes no longer in a large archive. To get all files that match a pattern, use "extract --stdout".

examples:
    strongroom cat ::monday etc/fstab
    strongroom cat ::db-monday backup/all.sql | mysql
"""


def define(parser: Parser) -> None:
    parser.location(ARCHIVE, "archive to read from")
    parser.paths("PATH", "files to write", type=types.path)


def run(session: "Session") -> None:
    from strongroom.repository.keyfiles import Need

    if not session.args.paths:
        raise CommandError("No file is named: give one or more PATHs.")
    paths = [os.fsencode(path) for path in session.args.paths]
    session.expect(Need.READ)
    from strongroom.commands.cat import cat_files

    with session.open(Need.READ) as repository:
        cat_files(repository, session.archive, paths, session.output.stream)
