"""What the commands of the group `server` share: which folder is the server's, and its clients' options."""

import getpass
import os
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import Parser
from strongroom.cli.printable import printable
from strongroom.errors import CommandError
from strongroom.reporting import Notice

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.errors import StrongroomError
    from strongroom.server.kept import Kept
    from strongroom.server.policy import Restriction
    from strongroom.server.provision import ClientAccess

T = TypeVar("T")

_REMEMBERED = "server"  # below the configuration folder: the path that the last `server init` made


def define_folder(parser: Parser) -> None:
    parser.add_argument(
        "--dir", metavar="DIR", dest="server_dir", type=types.path, default=None,
        help="the server's folder (default: STRONGROOM_SERVER_DIR, or that of the last `server init`)",
    )  # fmt: skip


def define_clients(parser: Parser) -> None:
    """For what changes repositories: nobody's by mistake."""
    parser.paths("NAME", "clients whose repositories are meant", dest="names")
    parser.add_argument("--all", dest="all_clients", action="store_true", help="those of all clients")


def chosen_clients(session: "Session") -> list[str]:
    """Empty for all. Raises `CommandError`."""
    names: list[str] = session.args.names
    if bool(names) == session.args.all_clients:
        raise CommandError("Whose repositories? Name one or more clients, or give --all.")
    return names


def only_successes(
    session: "Session", found: "Sequence[tuple[Kept, T | StrongroomError]]"
) -> "list[tuple[Kept, T]]":
    """Warns of each repository that could not be worked on; if there is just one, that is the run's error."""
    from strongroom.errors import StrongroomError

    done = []
    for place, result in found:
        if not isinstance(result, StrongroomError):
            done.append((place, result))
            continue
        text = f"{printable(place.name)}: {printable(str(result))}"
        if len(found) == 1:
            raise type(result)(text)
        session.output.warn(Notice(text, msgid=result.msgid))
    if not found:
        session.print_lines(["There is no repository yet."])
    return done


def define_rights(parser: Parser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--allow-delete", action="store_true", help="let the client delete, too: for trusted ones"
    )
    group.add_argument(
        "--append-only", action="store_true", help="let the client add, and never delete (default)"
    )
    group.add_argument(
        "--write-only", action="store_true",
        help="as --append-only, and do not hand out what was backed up: enough for a backup key",
    )  # fmt: skip
    group.add_argument("--read-only", action="store_true", help="let the client only read")


def rights(session: "Session") -> "frozenset[Restriction] | None":
    """None if the command line says nothing about them."""
    from strongroom.server.policy import Restriction

    args = session.args
    if args.allow_delete:
        return frozenset()
    if args.write_only:
        return frozenset({Restriction.WRITE_ONLY})
    if args.read_only:
        return frozenset({Restriction.READ_ONLY})
    return frozenset({Restriction.APPEND_ONLY}) if args.append_only else None


def remember(session: "Session", folder: str) -> None:
    from strongroom.server import files
    from strongroom.store.disk import make_folder

    place = session.directories.config
    try:
        make_folder(os.path.abspath(place), mode=0o700)
        files.replace(os.fspath(place / _REMEMBERED), os.fsencode(folder) + b"\n")
    except OSError as error:
        session.output.log(
            "warning", f"{place} cannot be written ({error.strerror}): name the server with --dir."
        )
    except CommandError as error:
        session.output.log("warning", f"{error} Name the server with --dir.")


def folder_of(session: "Session") -> str:
    """Raises `CommandError` if nothing says which."""
    named: str | None = session.args.server_dir or session.environment.get("SERVER_DIR")
    if named:
        return named
    try:
        return os.fsdecode((session.directories.config / _REMEMBERED).read_bytes().rstrip(b"\n"))
    except FileNotFoundError:
        raise CommandError(
            "Which server? Make one with `strongroom server init DIR`, or name its folder with --dir."
        ) from None
    except OSError as error:
        raise CommandError(f"{error.filename} cannot be read: {error.strerror}.") from error


def read_key(path: str) -> str:
    """A public key's text; `-` reads standard input. Raises `CommandError`."""
    from strongroom.server.sshkeys import MAX_TEXT

    try:
        if path == "-":
            return sys.stdin.buffer.read(MAX_TEXT + 1).decode("utf-8", "replace")
        with open(path, "rb") as file:
            return file.read(MAX_TEXT + 1).decode("utf-8", "replace")
    except OSError as error:
        raise CommandError(f"The public key {path} cannot be read: {error.strerror}.") from error


def url(access: "ClientAccess") -> str:
    """What the client calls its repository."""
    return f"ssh://{getpass.getuser()}@{socket.getfqdn()}/./{access.name}"


def may(access: "ClientAccess") -> str:
    return ", ".join(access.client.restrictions) or "may delete"


def bytes_text(session: "Session", size: int | None) -> str:
    from strongroom.cli.formats import format_size

    return "none" if size is None else format_size(size, iec=session.args.iec)
