"""`strongroom install-borg-alias`."""

import os
import shutil
import sys
from typing import TYPE_CHECKING

from strongroom.cli import argument_types as types
from strongroom.cli.arguments import Parser
from strongroom.cli.identity import BORG, BORG_LEVEL, BORGFS, OWN
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Make this program answer to the name borg too, for tools and scripts that call that."

EPILOG = f"""
In a folder of your PATH (by default the one where strongroom is) it makes a link called borg to this
program. Under that name "borg --version" says "borg {BORG_LEVEL}", the Borg whose command line this program
follows, and messages and help speak of borg. Everything else is the same under both names.

A second link, borgfs, is "borg mount", as mount(8) starts it: for /etc/fstab with the type fuse.borgfs. There
set-id programs and device nodes never work, as mount(8) would ask for both by itself.

A borg or borgfs that is there already, and is not such a link, is left alone. --remove takes the links away.

examples:
    strongroom install-borg-alias
    strongroom install-borg-alias --to ~/bin
    strongroom install-borg-alias --remove --to ~/bin
"""


def define(parser: Parser) -> None:
    parser.add_argument(
        "--to", metavar="DIR", type=types.path, default=None, help="folder to make the link in"
    )
    parser.add_argument("--remove", action="store_true", help="take the link away")


def run(session: "Session") -> None:
    program = _program()
    folder = os.path.expanduser(session.args.to or os.path.dirname(program))
    if not os.path.isdir(folder):
        raise CommandError(f"{folder} is no folder: make it first, or name another one with --to.")
    links = [os.path.join(os.path.abspath(folder), name) for name in (BORG, BORGFS)]
    for link in links:
        if os.path.lexists(link) and not _is_ours(link):
            raise CommandError(
                f"{link} is there already and no link to strongroom: name another folder with --to."
            )
    if session.args.remove:
        _remove(session, links)
        return
    for link in links:
        _make(program, link)
    session.output.write(
        f"{links[0]} is now strongroom, and says that it is borg {BORG_LEVEL}.\n"
        f"{links[1]} is its mount, for fstab.\n"
    )
    first = shutil.which(BORG)
    if first is None or os.path.realpath(first) != os.path.realpath(links[0]):
        what = f"finds {first} first" if first else "does not find it"
        session.output.log("warning", f"Your PATH {what}: put {os.path.dirname(links[0])} in front of it.")


def _program() -> str:
    """The executable that was started, or that belongs to this interpreter."""
    started = shutil.which(sys.argv[0])
    beside = os.path.join(os.path.dirname(sys.executable), OWN)
    for path in (started, beside):
        if path is not None and os.path.basename(path) == OWN and os.path.isfile(path):
            return os.path.abspath(path)
    if started is not None and _is_ours(started):  # called by the name that this made
        return os.path.join(os.path.dirname(os.path.abspath(started)), os.readlink(started))
    raise CommandError(
        f"There is no executable called {OWN} to link to: install the package with pip or uv first."
    )


def _is_ours(path: str) -> bool:
    return os.path.islink(path) and os.path.basename(os.readlink(path)) == OWN


def _make(program: str, link: str) -> None:
    folder = os.path.dirname(link)
    target = OWN if os.path.dirname(program) == folder else program
    temporary = os.path.join(folder, f".{BORG}-{os.getpid()}")
    os.symlink(target, temporary)
    try:
        if os.path.lexists(link):
            os.replace(temporary, link)
        else:
            os.link(temporary, link, follow_symlinks=False)  # fails where another borg came in between
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)


def _remove(session: "Session", links: list[str]) -> None:
    there = [link for link in links if os.path.lexists(link)]
    if not there:
        raise CommandError(f"There is no {links[0]} to remove.")
    for link in there:
        os.unlink(link)
        session.output.write(f"{link} is gone.\n")
