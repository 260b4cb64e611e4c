"""`strongroom server usage`."""

from typing import TYPE_CHECKING

from strongroom.cli.arguments import Parser
from strongroom.cli.commands.server import bytes_text, define_folder
from strongroom.cli.formats import archive_moment
from strongroom.cli.printable import printable
from strongroom.errors import StrongroomError
from strongroom.reporting import Notice, counted

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.server.kept import Kept
    from strongroom.server.usage import ClientUsage, Regainable

DESCRIPTION = "Show how much each client stores, how much of its quota that is, and what could come back."

EPILOG = """
Counted anew from the disk, as the quota counts: every object takes whole blocks of 4 KiB.

Below a client its repositories: what "strongroom server compact" would free now, what is deleted and still
in quarantine (and until when the first of it), what backup keys ask to delete, and what is kept
of the disk for deletions when it is full. To find out, all lists of chunks are read; --quick leaves that out.

example:
    strongroom server usage
    strongroom server usage --quick
    strongroom server usage laptop --json
"""


def define(parser: Parser) -> None:
    parser.paths("NAME", "clients to show (default: all)", dest="names")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="count the disk, look into no repository")
    define_folder(parser)


def run(session: "Session") -> None:
    from strongroom.cli.commands.server import folder_of
    from strongroom.server.usage import usage

    args = session.args
    found = usage(folder_of(session), args.names, session.directories, quick=args.quick)
    if args.json:
        session.print_json({"clients": [_record(one, quick=args.quick) for one in found]})
    for one in found:
        if not args.json:
            session.print_lines(_lines(session, one))
        for place, result in one.repositories:
            if isinstance(result, StrongroomError):
                text = f"{printable(place.name)}: {printable(str(result))}"
                session.output.warn(Notice(text, msgid=result.msgid))


def _lines(session: "Session", client: "ClientUsage") -> list[str]:
    one = client.usage
    share = "" if one.quota is None else f" ({100 * one.used / one.quota:.1f}%)"
    used, quota = bytes_text(session, one.used), bytes_text(session, one.quota)
    noun = "repository" if one.repositories == 1 else "repositories"
    lines = [f"{one.name:<24} {used:>10} of {quota}{share}, {one.repositories} {noun}"]
    for place, result in client.repositories:
        if not isinstance(result, StrongroomError):
            lines.append(f"  {printable(place.name):<22} {_words(session, result)}")
    return lines


def _words(session: "Session", one: "Regainable") -> str:
    parts = [f"compact would free {bytes_text(session, one.free_now)}"]
    if one.until is not None:
        size = bytes_text(session, one.waiting_bytes)
        parts.append(
            f"in quarantine {size} of {counted(one.waiting, 'archive')}, until {archive_moment(one.until)}"
        )
    parts += [f"{printable(name)} asks to delete {count}" for name, count in sorted(one.requests.items())]
    left, wanted = (bytes_text(session, size) for size in one.reserve)
    parts.append(f"kept for a full disk {left}" + ("" if left == wanted else f" of {wanted}"))
    return "; ".join(parts)


def _record(client: "ClientUsage", *, quick: bool) -> dict[str, object]:
    one = client.usage
    record: dict[str, object] = {
        "name": one.name,
        "used": one.used,
        "quota": one.quota,
        "repositories": one.repositories,
    }
    if not quick:
        record["details"] = [_details(place, result) for place, result in client.repositories]
    return record


def _details(place: "Kept", found: "Regainable | StrongroomError") -> dict[str, object]:
    if isinstance(found, StrongroomError):
        return {"repository": place.name, "problem": str(found)}
    return {
        "repository": place.name,
        "free_now": found.free_now,
        "quarantine": {
            "archives": found.waiting,
            "bytes": found.waiting_bytes,
            "until": None if found.until is None else archive_moment(found.until).iso(),
        },
        "requests": found.requests,
        "reserve": {"kept": found.reserve.left, "wanted": found.reserve.wanted},
    }
