"""`strongroom serve`."""

import sys
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import Parser

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Serve repositories to one client, over standard input and output. sshd starts it."

EPILOG = """
You never type this: it is the forced command of a key in ~/.ssh/authorized_keys on the
server, where "strongroom server add-client" writes it. What it says there holds, whatever
the client asks for; several restrictions together forbid what each of them forbids.

Each refusal is one line on standard error, in the system log, and in --log-file.

example, a line of ~/.ssh/authorized_keys:
    command="cd /srv/strongroom; strongroom serve --append-only \\
    --restrict-to-path /srv/strongroom/laptop --storage-quota 500G",restrict ssh-ed25519 AAAA...
"""


def define(parser: Parser) -> None:
    group = parser.add_argument_group("restrictions")
    group.add_argument(
        "--append-only", action="store_true", help="nothing is deleted or replaced; the log only grows"
    )
    group.add_argument("--read-only", action="store_true", help="nothing is written at all")
    group.add_argument(
        "--write-only", action="store_true",
        help="as --append-only, and what was backed up is not handed out: enough for a backup key",
    )  # fmt: skip
    group.add_argument(
        "--restrict-to-path", metavar="PATH", dest="restrict_to_paths", action="append", type=types.path,
        default=[], help="only repositories in PATH or below it; may be given several times",
    )  # fmt: skip
    group.add_argument(
        "--restrict-to-repository", metavar="PATH", dest="restrict_to_repositories", action="append",
        type=types.path, default=[], help="only the repository at PATH; may be given several times",
    )  # fmt: skip
    group.add_argument(
        "--storage-quota", metavar="QUOTA", type=types.storage_quota, default=None,
        help="QUOTA bytes at most in each restricted path, or else in each repository, e.g. 5G or 1.5T",
    )  # fmt: skip
    parser.add_argument(
        "--server-key", metavar="KEY", type=types.public_key, default=b"",
        help="the owner's public key, offered to clients: see `strongroom server prune`",
    )  # fmt: skip
    log = parser.add_argument_group("log")
    log.add_argument("--client", metavar="NAME", default=None, help="what the log calls this client")
    log.add_argument(
        "--log-file", metavar="FILE", type=types.path, default=None, help="append refusals to FILE, too"
    )


def run(session: "Session") -> None:
    from strongroom.server.host import ServeOptions
    from strongroom.server.policy import Restriction
    from strongroom.server.serve import serve

    args = session.args
    chosen = {
        Restriction.APPEND_ONLY: args.append_only,
        Restriction.READ_ONLY: args.read_only,
        Restriction.WRITE_ONLY: args.write_only,
    }
    code = serve(
        ServeOptions(
            restrictions=frozenset(word for word, given in chosen.items() if given),
            storage_quota=args.storage_quota or None,
            paths=args.restrict_to_paths,
            repositories=args.restrict_to_repositories,
            client=args.client,
            log_file=args.log_file,
            server_key=args.server_key,
        )
    )
    if code:
        sys.exit(code)
