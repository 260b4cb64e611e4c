"""`strongroom with-lock`."""

import argparse
import contextlib
import subprocess
from typing import TYPE_CHECKING

from strongroom.cli.arguments import REPOSITORY, Parser
from strongroom.cli.exits import SIGNAL_BASE
from strongroom.cli.signals import Interrupted
from strongroom.errors import CommandError

if TYPE_CHECKING:
    from strongroom.cli.session import Session

DESCRIPTION = "Run a command while nobody else writes to a repository; its exit code is passed on."

EPILOG = """
For copying a repository as it is, for instance. Whoever writes to it just now is waited for, for as
long as --lock-wait says; others who want to write meanwhile wait likewise, and give up with an
error. Reading goes on. The passphrase is not passed on to the command.

Locks are kept by agreement: they hold back this program, not others, and no data hangs on them. A
copy that is made of a locked repository is locked, too: see "strongroom break-lock".

examples:
    strongroom with-lock --lock-wait 600 /mnt/backup rsync -a /mnt/backup/ /mnt/second/
    strongroom with-lock :: sh -c 'zfs snapshot tank/backup@today'
"""


def define(parser: Parser) -> None:
    parser.location(REPOSITORY, "repository to lock", required=True)
    # `command` is what the parser itself was asked to run
    parser.add_argument("program", metavar="COMMAND", help="command to run")
    parser.add_argument("arguments", metavar="ARGS", nargs=argparse.REMAINDER, help="its arguments")


def run(session: "Session") -> None:
    from strongroom.repository.keyfiles import Need
    from strongroom.repository.leases import exclusive_lease

    words = [session.args.program, *session.args.arguments]
    with (
        session.open(Need.STRUCTURE) as repository,
        exclusive_lease(repository.store, "with-lock", repository.lock_wait),
    ):
        session.exit_code = _run(session, words)


def _run(session: "Session", words: list[str]) -> int:
    from strongroom.secretless import secretless_environment

    process, stop = None, session.output.stop
    try:
        with session.signals.graceful():  # once it has begun, it must be known to us
            process = subprocess.Popen(words, env=secretless_environment())
        if stop.signal is not None:
            raise Interrupted(stop.signal)
        code = process.wait()
    except (OSError, ValueError) as error:
        raise CommandError(f"{words[0]} cannot be run: {error}.") from error
    except Interrupted as interrupted:
        # The lock must not be given back while the command still runs.
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(interrupted.number)
            process.wait()
        raise
    return code if code >= 0 else SIGNAL_BASE - code
