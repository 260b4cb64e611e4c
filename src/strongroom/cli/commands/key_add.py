"""`strongroom key add`."""

import os
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.commands.key_export import write_secret
from strongroom.errors import CommandError, Damaged, KeyProblem, RoleInsufficient

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.repository.repository import Repository

_MOST = 1 << 20  # characters of a key file

ROLES = ("backup", "restore", "admin", "server")

DESCRIPTION = "Make another key of the repository, for a machine, a person or a purpose. Needs an admin key."

EPILOG = """
The role says what the new key can do:

  backup    make archives, but open none, not even its own: for machines. Who steals such a key
            reads nothing, and whatever it writes or deletes can be told apart and taken back.
  restore   read everything, write nothing
  admin     everything
  server    delete archives and compact, for the owner of the server: see "strongroom server prune".
            The key is the server's own: nothing is made or written here. It is the one that the
            server offers over ssh, or --public-key, which "strongroom server init" shows there.

The key is written to standard output, or to the file that --output names (with .new at its end until
the repository knows the key: should this be interrupted, the key is there); take it to its
machine and run "strongroom key import" there. It gets a passphrase of its own, which is asked for
or taken from STRONGROOM_NEW_PASSPHRASE; with --no-passphrase it has none, for a machine that backs
up unattended.

examples:
    strongroom key add --role backup --no-passphrase --output web1.key /mnt/backup web1
    strongroom key add --role server ssh://backup@server/./laptop server
    strongroom key add --role restore -r /mnt/backup --output anna.key anna
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository that the key is for")
    parser.add_argument("name", metavar="NAME", help="what the key is called in lists and logs")
    parser.add_argument(
        "--role",
        metavar="ROLE",
        choices=ROLES,
        default="backup",
        help="backup (default), restore, admin or server",
    )
    parser.add_argument(
        "--output",
        metavar="PATH",
        type=types.path,
        default="-",
        help="file to write (default: stdout)",
    )
    parser.add_argument(
        "--public-key", metavar="KEY", type=types.public_key, default=None,
        help="with --role server: the server's public key, 64 hex digits (default: what the server offers)",
    )  # fmt: skip
    parser.add_argument("--no-passphrase", action="store_true", help="protect the key by no passphrase")


def run(session: "Session") -> None:
    from strongroom.commands.keys import add_key, admit_server
    from strongroom.crypto.keybackup import export_file
    from strongroom.repository.keyfiles import Need

    args = session.args
    if args.role == "server":
        if args.output != "-" or args.no_passphrase:
            raise CommandError(
                "With --role server no key is made here: --output and --no-passphrase do not fit."
            )
        with session.open(Need.ADMIN) as repository:
            admit_server(repository, args.name, args.public_key)
        return
    if args.public_key is not None:
        raise CommandError("--public-key goes with --role server: all other keys are made here.")
    if args.output == "-":
        with session.open(Need.ADMIN) as repository:
            blob = add_key(repository, args.name, args.role, _passphrase(session))
            session.output.write(export_file(blob, repository.id))
    else:
        with session.open(Need.ADMIN) as repository:
            _to_file(session, repository)


def _to_file(session: "Session", repository: "Repository") -> None:
    """Under a name of its own until the log knows the key: whenever this is interrupted, the key is there."""
    from strongroom.commands.keys import add_key
    from strongroom.crypto.keybackup import export_file
    from strongroom.store.disk import sync_folder

    args = session.args
    waiting = f"{args.output}.new"
    if os.path.isdir(args.output):
        raise CommandError(f'"{args.output}" is a folder: name a file.')
    if _is_known(waiting, repository):
        raise CommandError(
            f'"{waiting}" holds a key that the repository knows: an earlier run was interrupted after it had '
            f"made it. Rename the file to use that key, or revoke it and remove the file."
        )

    def keep(blob: bytes) -> None:
        write_secret(waiting, export_file(blob, repository.id))

    try:
        add_key(repository, args.name, args.role, _passphrase(session), keep)
    except (CommandError, RoleInsufficient):  # the log knows nothing of it, for sure
        if os.path.exists(waiting):
            os.unlink(waiting)
        raise
    os.replace(waiting, args.output)
    sync_folder(os.path.dirname(os.path.abspath(args.output)))


def _passphrase(session: "Session") -> str | None:
    args = session.args
    return None if args.no_passphrase else session.passphrases.new(f"key {args.name}")


def _is_known(path: str, repository: "Repository") -> bool:
    from strongroom.crypto import keyformat
    from strongroom.crypto.keybackup import parse_file

    if not os.path.exists(path):
        return False
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            _, blob = parse_file(file.read(_MOST), repository.id)
        return keyformat.parse(blob, path).key_id in repository.state.keys
    except (KeyProblem, Damaged):  # one that was cut short, and that no log knows
        return False
