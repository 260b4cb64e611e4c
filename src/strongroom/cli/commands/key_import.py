"""`strongroom key import`."""

import sys
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.errors import Cancelled, CommandError, KeyInvalid, NotAKeyBackup

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.ids import RepositoryId

_MAX_BYTES = 1 << 20

DESCRIPTION = "Take a key back from the copy that key export wrote."

EPILOG = """
The copy may be a file of any form, or what a QR code held. With --paper you are asked for the
printed lines one after the other, and each is checked as you type it. The passphrase is the one
that the key had when it was exported.

The key goes where the repository keeps it: into the repository, or into a key file below
~/.config/strongroom/keys (STRONGROOM_KEYS_DIR, or the very file STRONGROOM_KEY_FILE).

examples:
    strongroom key import /mnt/backup ~/laptop.key
    strongroom key import --paper /mnt/backup
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository that the key belongs to")
    parser.add_argument(
        "path", metavar="PATH", nargs="?", type=types.path, default=None,
        help="the copy of the key; - is standard input",
    )  # fmt: skip
    parser.add_argument("--paper", action="store_true", help="type a printed copy in")


def run(session: "Session") -> None:
    from strongroom.commands.keys import import_key
    from strongroom.repository.keyfiles import Need

    args = session.args
    session.settle_lone_path(None)
    if args.paper and args.path is not None:
        raise CommandError("With --paper no PATH can be given: the lines are typed in.")
    if not args.paper and args.path is None:
        raise CommandError("Name the file that holds the copy of the key, or - for standard input.")
    with session.open(Need.STRUCTURE) as repository:
        blob = _typed(session, repository.id) if args.paper else _copied(_read(args.path), repository.id)
        where = import_key(repository, blob, session.directories)
    session.output.info(f"The key is stored in {where}.")


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read(_MAX_BYTES)
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_BYTES)
    except FileNotFoundError:
        raise CommandError(f'"{path}" does not exist.') from None


def _copied(data: bytes, repository: "RepositoryId") -> bytes:
    """The key in a file that "key export" wrote, in the text of its QR codes, or in a key file itself."""
    from strongroom.crypto.keyformat import MAGIC
    from strongroom.crypto.keyqr import parse_any

    if data.startswith(MAGIC):
        return data
    if data.startswith((b"BORG_KEY ", b"BORG PAPER KEY")):
        raise NotAKeyBackup(
            "This is the key of a Borg repository: none of strongroom's opens with it. To read that one "
            "(borg:/path), name the file in BORG_KEY_FILE."
        )
    return parse_any(data.decode("utf-8", "replace"), repository)


def _typed(session: "Session", repository: "RepositoryId") -> bytes:
    from strongroom.crypto.keybackup import PaperReader

    reader = PaperReader(repository)
    while not reader.complete:
        session.output.question("prompt", f"{reader.wanted:3d}: ", prompt=True)
        typed = sys.stdin.readline()
        if not typed:
            raise Cancelled("The paper key was not typed in to its end; nothing was imported.")
        if not typed.strip():
            if session.questions.ask("Abort import? [yN]: "):
                raise Cancelled("Nothing was imported.")
            continue
        try:
            reader.feed(typed)
        except KeyInvalid as error:
            session.output.question("invalid_answer", str(error))
    return reader.key()
