"""`strongroom server init`."""

import shlex
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import Parser

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Make a folder of this machine a place that clients back up to, over ssh."

EPILOG = """
Run it as the user that clients will log in as, on the server. Nothing has to run there but
sshd: it starts "strongroom serve" for each connection. The folder gets mode 0700 and a
policy file, and a key of its own, by which "server prune" and "server compact" sign. Run it again
after strongroom moved or was upgraded, and the clients' entries are renewed.

example:
    strongroom server init /srv/strongroom
"""


def define(parser: Parser) -> None:
    parser.add_argument(
        "server_dir", metavar="DIR", type=types.path, help="the folder; it is made if missing"
    )
    parser.add_argument(
        "--authorized-keys", metavar="FILE", type=types.path, default=None,
        help="the file that sshd looks keys up in (default: ~/.ssh/authorized_keys)",
    )  # fmt: skip
    parser.add_argument(
        "--program", metavar="COMMAND", default=None,
        help="how sshd starts strongroom (default: the program that is running now)",
    )  # fmt: skip


def run(session: "Session") -> None:
    import os

    from strongroom.cli.commands.server import remember
    from strongroom.errors import CommandError
    from strongroom.server import ownkey
    from strongroom.server.provision import init_server

    args = session.args
    try:
        program = shlex.split(args.program) if args.program is not None else None
    except ValueError as error:
        raise CommandError(f"--program {args.program!r} is no command: {error}.") from None
    if program is not None and not program:
        raise CommandError("--program is empty.")
    folder = os.path.abspath(args.server_dir)
    policy = init_server(folder, authorized_keys=args.authorized_keys, program=program)
    own = ownkey.require(folder)
    remember(session, folder)
    session.print_lines(
        [
            f"Clients may back up to {folder}; sshd finds their keys in {policy.authorized_keys}.",
            f"Its own key, which clients' repositories admit at `init`: {own.public().hex()}",
            "Next: strongroom server add-client NAME --key FILE.pub --quota 500G",
        ]
    )
