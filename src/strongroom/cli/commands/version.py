"""`strongroom version`."""

from typing import TYPE_CHECKING

from strongroom import __version__
from strongroom.cli import identity
from strongroom.cli.arguments import REPOSITORY, Parser

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Show the version of this program, and of the one on the repository's server."

EPILOG = """
The output is CLIENT / SERVER. For a local repository, or none, both are this program.
strongroom --version shows the client's version without a repository.

examples:
    strongroom version
    strongroom version ssh://backup@server/./laptop
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository whose server is asked")


def run(session: "Session") -> None:
    args = session.args
    server = __version__
    if args.location or args.repo or session.environment.get("REPO"):
        server = _server_version(session)
    if identity.is_borg():
        session.output.write(f"{identity.BORG_LEVEL} / {identity.BORG_LEVEL}\n")  # each side follows it
        return
    session.output.write(f"{__version__} / {server}\n")


def _server_version(session: "Session") -> str:
    if not session.location.is_remote:
        return __version__
    from strongroom.commands.opening import open_store
    from strongroom.store.ssh import SshStore

    session.apply_transport()
    store = open_store(session.location.canonical())
    try:
        return store.server_version if isinstance(store, SshStore) else __version__
    finally:
        store.close()
