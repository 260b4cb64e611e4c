"""`strongroom key export`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Write a copy of the repository's key, to keep in a safe place."

EPILOG = """
Without its key a repository cannot be read by anybody. The copy stays protected by the
passphrase it has now: keep both, and not on this machine.

--paper makes a text to print, and to type in with "key import --paper": each line has a
checksum. --qr-html makes a page to print with the same text and a QR code.

Where STRONGROOM_REPO or -r names the repository, PATH may stand alone.

examples:
    strongroom key export ~/laptop.key
    strongroom key export /mnt/backup ~/laptop.key
    strongroom key export --paper /mnt/backup | lpr
    strongroom key export --qr-html /mnt/backup laptop-key.html
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository whose key is copied")
    parser.add_argument(
        "path", metavar="PATH", nargs="?", type=types.path, default="-",
        help="file to write (default: standard output)",
    )  # fmt: skip
    parser.add_argument("--paper", action="store_true", help="write a text for printing and typing in")
    parser.add_argument("--qr-html", dest="qr", action="store_true", help="write a page with a QR code")


def run(session: "Session") -> None:
    from strongroom.commands.keys import export_key
    from strongroom.crypto.keybackup import export_file, export_paper
    from strongroom.crypto.keyqr import export_html
    from strongroom.repository.keyfiles import Need

    args = session.args
    session.settle_lone_path("-")
    if args.paper and args.qr:
        raise CommandError("--paper and --qr-html exclude each other.")
    form = export_paper if args.paper else export_html if args.qr else export_file
    with session.open(Need.STRUCTURE) as repository:
        blob = export_key(repository, session.directories)
        text = form(blob, repository.id)
    if args.path == "-":
        session.output.write(text)
    else:
        write_secret(args.path, text)


def write_secret(path: str, text: str) -> None:
    """Write a file that only its owner can read: whole and on the disk, or what was there stays.

    A device or a pipe is written to. Raises `CommandError` for a folder, `OSError`.
    """
    from strongroom.repository.keyring import write_key_file

    if os.path.isdir(path):
        raise CommandError(f'"{path}" is a folder: name a file.')
    place = os.path.realpath(path)
    there, named = os.path.exists(path), os.path.exists(place)  # standard output may be a file without a name
    if (named and os.path.isfile(place)) or (not there and os.path.isdir(os.path.dirname(place))):
        write_key_file(Path(place), text.encode(), replace=True)
    else:
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
