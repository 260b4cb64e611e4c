"""`strongroom key add`."""

from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.commands.key_export import write_secret
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from strongroom.cli.session import Session

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

The key is written to standard output, or to the file that --output names; take it to its
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
    from strongroom.commands.opening import Need
    from strongroom.crypto.keybackup import export_file

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
    with session.open(Need.ADMIN) as repository:
        passphrase = None if args.no_passphrase else session.passphrases.new(f"key {args.name}")
        blob = add_key(repository, args.name, args.role, passphrase)
        text = export_file(blob, repository.id)
    if args.output == "-":
        session.output.write(text)
    else:
        write_secret(args.output, text)
