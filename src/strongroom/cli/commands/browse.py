"""`strongroom browse`."""

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

from strongroom.cli.argument_groups import add_archive_filters, archive_filter, has_archive_filter
from strongroom.cli.arguments import EITHER, Parser
from strongroom.errors import BrowseFailed, CommandError
from strongroom.reporting import Notice

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Show archives in a web browser, and to programs that know WebDAV."

EPILOG = """
The address that is printed opens the archives in a browser of this machine: folders, previews, all
versions of a file, a search over all archives, comparisons, downloads. Nothing can be changed there.
It holds a token, new at each start: who has it can read everything that is shown.

The same port serves WebDAV below /dav/, to mount the archives where there is no FUSE; any user name
will do, and the token is the password.

The server takes connections of this machine alone, and Ctrl-C ends it. To look at archives on another
machine, forward the port: ssh -L 8642:127.0.0.1:8642 HOST strongroom browse REPOSITORY

examples:
    strongroom browse /mnt/backup
    strongroom browse --glob-archives 'laptop-*' --last 30 user@host:backup
    strongroom browse --port 0 /mnt/backup::monday
"""

PORT = 8642


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > 65535:
        raise ArgumentTypeError(f'"{text}" is no port: a number from 0 to 65535 is expected')
    return int(text)


def define(parser: Parser) -> None:
    parser.location(EITHER, "repository or archive to show")
    parser.add_argument(
        "--port", metavar="NUMBER", type=_port, default=PORT,
        help=f"port to listen on, 0 for any that is free (default: {PORT})",
    )  # fmt: skip
    parser.add_argument(
        "--listen", metavar="ADDRESS", default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1); others let other machines in, unencrypted",
    )  # fmt: skip
    add_archive_filters(parser, sort_by=False)


def run(session: "Session") -> None:
    from strongroom.repository.keyfiles import Need

    try:
        from strongroom.web.gate import is_loopback
        from strongroom.web.server import browse
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "strongroom":
            raise
        raise BrowseFailed(
            f"browse needs {error.name}, which is not installed: run `pip install 'strongroom[web]'`."
        ) from None
    args, output = session.args, session.output
    if session.location.archive and has_archive_filter(args):
        raise CommandError("Archive filters go with a repository, not with a single archive.")
    if not is_loopback(args.listen):
        what = (
            f"--listen {args.listen} lets other machines in, and the token and all files travel unencrypted."
        )
        output.warn(Notice(what))

    def ready(address: str, token: str) -> None:
        output.write(
            f"Open in a browser:  {address}/?token={token}\n"
            f"Or as WebDAV:       {address}/dav/  (any user name; password: {token})\n"
            "Ctrl-C ends it.\n"
        )
        output.flush()

    with session.open(Need.READ, lasting=True) as repository:
        browse(
            repository,
            session.location.archive or None,
            archive_filter(args, session.placeholders),
            args.listen,
            args.port,
            output,
            ready,
        )
