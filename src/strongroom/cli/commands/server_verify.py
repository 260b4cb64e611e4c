"""`strongroom server verify`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import Parser
from strongroom.cli.commands.server import define_folder
from strongroom.cli.printable import printable
from strongroom.reporting import Notice, counted

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.server.verify import Verified

DESCRIPTION = (
    "Verify all that clients store here, byte by byte, without any key of theirs. Nothing is changed."
)

EPILOG = """
Every object is read and compared with its name, which is the hash of what was stored; the log's
chain and signatures are verified, and what it names is there. A log that does not continue what
this server saw the last time is told, too. What only an open key can tell is left to "strongroom
check --verify-data" on a client.

With --max-duration the time is shared out among the repositories, and the next run with it goes on
from where this one came to: so a nightly hour comes round to everything.

The exit code is 1 if anything is wrong, and each finding is printed.

examples:
    strongroom server verify
    strongroom server verify laptop --progress
    strongroom server verify --max-duration 3600
"""


def define(parser: Parser) -> None:
    parser.paths("NAME", "clients to verify (default: all)", dest="names")
    parser.add_argument(
        "--max-duration", metavar="SECONDS", type=types.natural, default=0,
        help="verify part of it, for SECONDS at most (default: no limit)",
    )  # fmt: skip
    define_folder(parser)


def run(session: "Session") -> None:
    from strongroom.cli.commands.server import folder_of
    from strongroom.server.verify import verify

    args, output = session.args, session.output
    found = verify(
        folder_of(session), args.names, session.directories, output, max_duration=args.max_duration or None
    )
    for one in found:
        for problem in one.problems:
            where = (
                problem.object if problem.object == one.kept.name else f"{one.kept.name}: {problem.object}"
            )
            output.warn(Notice(f"{printable(where)}: {printable(problem.what)}", msgid="check"))
    session.print_lines([_line(one) for one in found] or ["There is no repository yet."])


def _line(one: "Verified") -> str:
    verdict = counted(len(one.problems), "problem") if one.problems else "sound"
    if not one.finished:
        verdict += ", as far as the time went"
    what = f"{counted(one.packs, 'pack')}, {counted(one.archives, 'archive')}"
    return f"{printable(one.kept.name):<24} {what}: {verdict}"
