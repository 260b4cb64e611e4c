"""`strongroom config`."""

from argparse import ArgumentTypeError
from contextlib import closing
from typing import TYPE_CHECKING

from strongroom.cli.argument_types import size
from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from strongroom.cli.session import Session
    from strongroom.repository.repository import Repository

DESCRIPTION = "Show the configuration of a repository, in Borg's words."

EPILOG = """
What a repository is was signed when it was made, so that no server and no machine can change it
unnoticed. Setting a key to the value that it has is accepted. What Borg's keys are about is done so:

  append_only            by the server: "strongroom server set", or "serve --append-only"
  storage_quota          by the server: "strongroom server set --quota", or "serve --storage-quota"
  additional_free_space  bytes that are kept for a full disk: of a local repository it can be set, on a
                         server it is .reserve/size in the repository
  max_segment_size       fixed; segments_per_dir and last_segment_checked have no meaning

examples:
    strongroom config --list /mnt/backup
    strongroom config /mnt/backup id
"""

_HOW = {
    "append_only": "a server enforces it: see strongroom server set, and serve --append-only",
    "storage_quota": "a server enforces another: see strongroom server set --quota, serve --storage-quota",
    "additional_free_space": "write the bytes to keep for a full disk into .reserve/size in the repository",
    "max_segment_size": "the size of packs was fixed when the repository was made",
    "id": "it is the hash of what was signed when the repository was made",
    "version": "there is one format",
}
_IGNORED = ("segments_per_dir", "last_segment_checked")


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository whose configuration is shown")
    parser.add_argument("name", metavar="NAME", nargs="?", default=None, help="key to show")
    parser.add_argument("value", metavar="VALUE", nargs="?", default=None, help="value that it must have")
    parser.add_argument(
        "-c", "--cache", action="store_true", help="of this machine's cache, not the repository"
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-d", "--delete", action="store_true", help="an error: nothing can be deleted")
    group.add_argument("-l", "--list", action="store_true", help="list the whole configuration")


def run(session: "Session") -> None:
    from strongroom.commands.opening import Need

    args = session.args
    if not args.list and args.name is None:
        raise CommandError("No key is named: give NAME, or --list.")
    with session.open(Need.STRUCTURE) as repository:
        section, known = _known(repository, cache=args.cache)
    if args.list:
        session.print_lines([f"[{section}]", *(f"{key} = {value}" for key, value in known.items())])
        return
    named, _, name = args.name.rpartition(".")
    if named not in ("", section) or (name not in known and name not in _IGNORED):
        raise CommandError(f'"{args.name}" is no key of the configuration: {", ".join(known)}.')
    if args.delete:
        raise CommandError(f"{name} cannot be deleted: {_HOW.get(name, 'it has no meaning here')}.")
    if args.value is None:
        session.output.write(f"{known.get(name, '')}\n")
    elif name in _IGNORED:
        session.output.log("warning", f"{name} has no meaning in a strongroom repository: nothing was set.")
    elif name == "additional_free_space" and not args.cache and not session.location.is_remote:
        _keep(session, args.value)
    elif args.value != known[name]:
        how = _HOW.get(name, "it follows from where the repository is")
        raise CommandError(f"{name} is {known[name]} and cannot be set to {args.value}: {how}.")


def _keep(session: "Session", words: str) -> None:
    """Nobody signed it: it says how much of the disk is spared, and nothing of what is in the repository."""
    from strongroom.store.local import LocalStore

    try:
        wanted = size(words)
    except ArgumentTypeError as error:
        raise CommandError(f"additional_free_space: {error}") from error
    with closing(LocalStore(session.location.path)) as store:
        kept = store.keep_reserve(wanted)
    if kept < wanted:
        session.output.log("warning", f"The disk has room to keep {kept} bytes of {wanted} now.")


def _known(repository: "Repository", *, cache: bool) -> tuple[str, dict[str, str]]:
    """The section's name, its keys and their values."""
    if cache:
        return "cache", {"repository": repository.id.hex(), "previous_location": repository.store.describe()}
    founding = repository.founding
    return "repository", {
        "version": "1",
        "max_segment_size": str(founding.pack_target),
        "storage_quota": str(founding.storage_quota or 0),
        "additional_free_space": str(repository.store.reserve().wanted),
        "append_only": "1" if founding.append_only else "0",
        "id": repository.id.hex(),
    }
